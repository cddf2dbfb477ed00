//! The lanes of a process, by shop and endpoint. One that is idle is dropped: all that it holds is in
//! the log and the database by then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::id::Shop;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::lane::Lane;

/// How long a lane is kept that nobody uses.
const IDLE: Duration = Duration::from_mins(1);
/// How long a lane is kept that nobody uses when it holds outcomes that may not be in the log: without
/// them these deliveries are repeated. Longer than most outages of a broker or a database. As long for
/// an endpoint that cannot be sent to: longer than until it is looked at again.
const UNCONFIRMED_TTL: Duration = Duration::from_mins(20);

/// The lanes of a process.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<(Shop, String), Open>>);

struct Open {
    lane: Arc<AsyncMutex<Lane>>,
    partition: u32,
    used: Instant,
    /// Why its endpoint cannot be sent to.
    problem: Option<String>,
}

impl Lanes {
    /// The lane of an endpoint of a shop that is in this partition.
    pub(super) fn open(&self, shop: &Shop, id: &str, partition: u32) -> Arc<AsyncMutex<Lane>> {
        let used = Instant::now();
        let new = || Open { lane: Arc::default(), partition, used, problem: None };
        let mut lanes = self.lock();
        let open = lanes.entry((shop.clone(), id.to_owned())).or_insert_with(new);
        open.used = used;
        open.lane.clone()
    }

    /// Notes why an endpoint cannot be sent to; `None` when it can.
    pub(super) fn note(&self, shop: &Shop, id: &str, problem: Option<String>) {
        if let Some(open) = self.lock().get_mut(&(shop.clone(), id.to_owned())) {
            open.problem = problem;
        }
    }

    /// Drops the lanes that are idle at that time.
    pub(super) fn sweep(&self, now: Instant) {
        self.lock().retain(|_, open| {
            let idle = now.saturating_duration_since(open.used);
            if idle < IDLE {
                return true;
            }
            let Some(lane) = Arc::get_mut(&mut open.lane) else {
                // An attempt has it.
                open.used = now;
                return true;
            };
            let lane = lane.get_mut();
            lane.is_sending()
                || idle < UNCONFIRMED_TTL && (lane.is_unconfirmed() || open.problem.is_some())
        });
    }

    /// How many there are for a partition, and why endpoints of it cannot be sent to: each reason with
    /// how many.
    pub(super) fn count(&self, partition: u32) -> (u64, HashMap<String, u64>) {
        let (mut count, mut problems) = (0, HashMap::new());
        for open in self.lock().values().filter(|open| open.partition == partition) {
            count += 1;
            if let Some(problem) = &open.problem {
                *problems.entry(problem.clone()).or_default() += 1;
            }
        }
        (count, problems)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Shop, String), Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_is_dropped_when_it_is_idle_and_nothing_is_lost_by_it() {
        let (lanes, now) = (Lanes::default(), Instant::now());
        let shop = Shop::parse("acme").expect("valid");
        let open = |id| lanes.open(&shop, id, 0);
        open("idle");
        let used = open("used");
        open("sending").lock().await.in_flight.spawn(std::future::pending());
        open("unconfirmed").lock().await.behind.push((1, "a".to_owned()));
        open("unusable");
        lanes.note(&shop, "unusable", Some("there are no keys".to_owned()));
        lanes.open(&shop, "elsewhere", 1);
        assert_eq!((lanes.count(0).0, lanes.count(1).0), (5, 1));
        assert_eq!(lanes.count(0).1, HashMap::from([("there are no keys".to_owned(), 1)]));

        let kept = || {
            let mut ids: Vec<_> = lanes.lock().keys().map(|(_, id)| id.clone()).collect();
            ids.sort();
            ids
        };
        lanes.sweep(now);
        assert_eq!(kept().len(), 6);
        lanes.sweep(now + 2 * IDLE);
        assert_eq!(kept(), ["sending", "unconfirmed", "unusable", "used"]);
        drop(used);
        lanes.sweep(now + 2 * UNCONFIRMED_TTL);
        assert_eq!(kept(), ["sending"]);
    }
}
