//! Orders at a fixed rate, each tried until it is accepted; and which of them were settled, when.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use client::{Client, Error};
use engine::Engine;
use events::{
    names::{ORDER_SETTLING_EVENTS, event_name},
    proto,
    shop::Settings,
};
use protocol::id::{CommandId, Shop};
use serde_json::json;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is sold.
const SKU: &str = "FAILOVER-1";
/// The units of it: enough for any run.
const UNITS: i64 = 500_000_000;
/// The pause before an order is sent again, under the same key.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long an order is tried.
const ORDER_TIMEOUT: Duration = Duration::from_mins(2);
/// How long nothing may be settled at the end before the rest counts as lost.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Creates the shop, and puts the product and its stock there.
pub(super) async fn stock(client: &Client) -> Result<()> {
    client.create_shop(&Settings::default()).await?;
    let product = json!({"sku": SKU, "title": "Product",
        "price": {"minor": 1_250, "currency": "GBP"}});
    let stock = json!({"type": "count", "sku": SKU, "quantity": UNITS, "sequence": 1,
        "connector": "failover", "document": "OPEN-1"});
    for (path, line) in [("products", product), ("inventory", stock)] {
        let bulk = client.push(path, format!("{line}\n")).await?;
        ensure!(bulk.rejected == 0, "{path}: {:?}", bulk.results);
    }
    Ok(())
}

/// Orders that are placed until [`Load::stop`].
pub(super) struct Load {
    stopping: CancellationToken,
    placing: JoinHandle<Result<HashSet<String>>>,
}

impl Load {
    pub(super) fn start(client: Client, shop: Shop, rate: u32) -> Self {
        let stopping = CancellationToken::new();
        let placing = tokio::spawn(place_all(client, shop, rate, stopping.clone()));
        Self { stopping, placing }
    }

    /// Places no more; returns the command ids of all that were accepted.
    pub(super) async fn stop(self) -> Result<HashSet<String>> {
        self.stopping.cancel();
        self.placing.await.context("place orders")?
    }
}

async fn place_all(
    client: Client,
    shop: Shop,
    rate: u32,
    stopping: CancellationToken,
) -> Result<HashSet<String>> {
    let mut next = interval(Duration::from_secs(1) / rate);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut placing = JoinSet::new();
    let mut accepted = HashSet::new();
    let mut number = 0_u64;
    while stopping.run_until_cancelled(next.tick()).await.is_some() {
        number += 1;
        let key = format!("order-{number}");
        let id = CommandId::from_key(&shop, &key).to_string();
        let client = client.clone();
        placing.spawn(async move { place(&client, &key).await.map(|()| id) });
        while let Some(placed) = placing.try_join_next() {
            accepted.insert(placed.context("place an order")??);
        }
    }
    while let Some(placed) = placing.join_next().await {
        accepted.insert(placed.context("place an order")??);
    }
    Ok(accepted)
}

/// Places an order; as often as is necessary, as a shop would.
async fn place(client: &Client, key: &str) -> Result<()> {
    let order = json!({"reference": key, "customer_id": "C-1", "country": "GB",
        "currency": "GBP", "lines": [{"sku": SKU, "quantity": 1}]});
    let deadline = Instant::now() + ORDER_TIMEOUT;
    loop {
        let problem = match client.place(&order, key, None).await {
            Ok(response) if response.status.is_success() => return Ok(()),
            Ok(response) if !response.status.is_server_error() => {
                bail!("order {key} was answered {}: {}", response.status, response.body)
            }
            Ok(response) => format!("{}: {}", response.status, response.body),
            Err(error @ Error::Setup(_)) => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < deadline, "order {key} was never accepted: {problem}");
        sleep(RETRY_PAUSE).await;
    }
}

/// The orders that were settled.
pub(super) struct Settled {
    orders: Arc<Mutex<Orders>>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Orders {
    /// The ids of the commands that placed them.
    settled: HashSet<String>,
    /// When, one after the other.
    times: Vec<Instant>,
}

impl Settled {
    /// Follows the log of the orders from now on.
    pub(super) async fn follow(engine: &Engine, partition: u32) -> Result<Self> {
        let after = engine.log_end("order", partition).await?;
        let stop = CancellationToken::new();
        let mut log = engine.follow_log::<proto::Event>(
            "order",
            partition,
            &ORDER_SETTLING_EVENTS,
            after,
            &stop,
        );
        let orders: Arc<Mutex<Orders>> = Arc::default();
        let noted = orders.clone();
        tokio::spawn(async move {
            while let Some(logged) = log.recv().await {
                let mut orders = lock(&noted);
                orders.settled.insert(logged.event.correlation_id);
                orders.times.push(Instant::now());
            }
        });
        Ok(Self { orders, _stop: stop.drop_guard() })
    }

    /// The longest time without a settled order that touches the time from `from` to `to`.
    pub(super) fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        longest_pause(&lock(&self.orders).times, from, to)
    }

    /// How long after `from` the next order was settled, as far as is known at `to`.
    pub(super) fn next_after(&self, from: Instant, to: Instant) -> Duration {
        let orders = lock(&self.orders);
        let next = orders.times.partition_point(|time| *time < from);
        orders.times.get(next).copied().unwrap_or(to).saturating_duration_since(from)
    }

    /// Waits until all of these are settled.
    pub(super) async fn wait_for(&self, accepted: &HashSet<String>) -> Result<()> {
        let mut last = (usize::MAX, Instant::now());
        loop {
            let open = {
                let orders = lock(&self.orders);
                accepted.iter().filter(|order| !orders.settled.contains(*order)).count()
            };
            if open == 0 {
                return Ok(());
            }
            if open < last.0 {
                last = (open, Instant::now());
            }
            ensure!(last.1.elapsed() < SETTLE_TIMEOUT, "{open} orders were never settled");
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// How often the log says of each order that it is settled.
pub(super) async fn read_settled(engine: &Engine, partition: u32) -> Result<HashMap<String, u32>> {
    let mut times = HashMap::new();
    let count = |logged: engine::Logged<proto::Event>| {
        let kind = logged.event.body.as_ref().and_then(event_name);
        if kind.is_some_and(|kind| ORDER_SETTLING_EVENTS.contains(&kind)) {
            *times.entry(logged.event.correlation_id).or_insert(0) += 1;
        }
    };
    engine.read_log("order", partition, count).await.context("read the orders' log")?;
    Ok(times)
}

fn longest_pause(times: &[Instant], from: Instant, to: Instant) -> Duration {
    let first = times.partition_point(|time| *time <= from);
    let start = first.checked_sub(1).map_or(from, |before| times[before]);
    let within = times[first..].iter().copied().take_while(|time| *time < to);
    let ends = within.clone().chain([to]);
    let starts = [start].into_iter().chain(within);
    starts.zip(ends).map(|(start, end)| end.duration_since(start)).max().unwrap_or_default()
}

fn lock(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_from_the_last_order_before_and_to_the_end() {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        let times = [at(1), at(2), at(9), at(10), at(11)];
        let pause = |from, to| longest_pause(&times, at(from), at(to)).as_secs();
        assert_eq!(pause(3, 12), 7, "from 2 to 9");
        assert_eq!(pause(9, 12), 1);
        assert_eq!(pause(10, 20), 9, "none since 11");
        assert_eq!(longest_pause(&[], at(1), at(4)).as_secs(), 3);
    }
}
