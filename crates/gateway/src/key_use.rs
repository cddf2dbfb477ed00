//! When API keys were used: reported to the shop service by many at once, and for each key once an hour.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use events::proto::{
    self, command,
    shop::{KeyUse, NoteKeyUse},
};
use prost::Message;
use protocol::{
    actor::ActorKind,
    command::OutgoingCommand,
    id::{Shop, fingerprint},
    subject::Lane,
    time::Timestamp,
};
use tokio::{sync::Notify, time::sleep};

use crate::{problem::Problem, state::AppState, trace::new_id};

/// How much later a key must be used for that to be reported again, in milliseconds.
const INTERVAL_MS: i64 = 3_600_000;
/// How long further uses are gathered before they are reported.
const GATHER_INTERVAL: Duration = Duration::from_secs(1);
/// The most keys of a command.
const MAX_USES: usize = 500;
/// The most keys of which it is remembered that they were used; beyond it, those that were reported
/// are forgotten.
const MAX_KEYS: usize = 10_000;
/// How long the answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The uses of keys.
#[derive(Debug, Default)]
pub(crate) struct KeyUses {
    by_key: Mutex<HashMap<String, LastUse>>,
    has_news: Notify,
}

/// The use of a key that was reported last, or is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastUse {
    at: Timestamp,
    is_reported: bool,
}

impl KeyUses {
    /// Notes that a key is used `now`, of which the shop service knows the last use.
    pub(crate) fn note(&self, id: &str, last_used_at: Option<Timestamp>, now: Timestamp) {
        let is_due = |last: Timestamp| now.millis().saturating_sub(last.millis()) >= INTERVAL_MS;
        if !last_used_at.is_none_or(is_due) {
            return;
        }
        let mut by_key = self.lock();
        if by_key.get(id).is_some_and(|last| !last.is_reported || !is_due(last.at)) {
            return;
        }
        if by_key.len() >= MAX_KEYS && !by_key.contains_key(id) {
            by_key.retain(|_, last| !last.is_reported);
            if by_key.len() >= MAX_KEYS {
                return;
            }
        }
        by_key.insert(id.to_owned(), LastUse { at: now, is_reported: false });
        self.has_news.notify_one();
    }

    /// Takes what is to be reported.
    fn take(&self) -> Vec<(String, Timestamp)> {
        let mut by_key = self.lock();
        let waiting = by_key.iter_mut().filter(|(_, last)| !last.is_reported).take(MAX_USES);
        let taken = waiting.map(|(id, last)| {
            last.is_reported = true;
            (id.clone(), last.at)
        });
        taken.collect()
    }

    /// Notes that these could not be reported: the next use of each is.
    fn give_back(&self, uses: &[(String, Timestamp)]) {
        let mut by_key = self.lock();
        for (id, _) in uses {
            by_key.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, LastUse>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports uses to the shop service, until the gateway stops.
pub(crate) async fn report(state: Arc<AppState>) {
    let uses = &state.managed_keys.uses;
    let next = async || {
        uses.has_news.notified().await;
        sleep(GATHER_INTERVAL).await;
    };
    while state.shutdown.run_until_cancelled(next()).await.is_some() {
        loop {
            let taken = uses.take();
            if taken.is_empty() {
                break;
            }
            if let Err(problem) = send(&state, &taken).await {
                tracing::warn!(?problem, "the last use of API keys could not be noted");
                uses.give_back(&taken);
                break;
            }
        }
    }
}

async fn send(state: &AppState, uses: &[(String, Timestamp)]) -> Result<(), Problem> {
    let uses =
        uses.iter().map(|(id, at)| KeyUse { key_id: id.clone(), used_at: Some((*at).into()) });
    let note = command::Body::NoteKeyUse(NoteKeyUse { uses: uses.collect() });
    let content = proto::Command { body: Some(note), ..Default::default() };
    let command = proto::Command {
        id: new_id().to_string(),
        shop: Shop::installation().to_string(),
        time: Some(state.clock.now().into()),
        fingerprint: fingerprint(&content.encode_to_vec()),
        actor: Some(ActorKind::Service.actor("gateway")),
        ..content
    };
    let command = OutgoingCommand::try_from(command).map_err(|error| Problem::internal(&error))?;
    let sent = state.services.client().send(Lane::Live, command, ANSWER_TIMEOUT).await;
    sent.map(|_| ()).map_err(|error| Problem::unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_300_000_000_000 + hours * INTERVAL_MS)
    }

    #[test]
    fn a_use_is_reported_once_an_hour() {
        let uses = KeyUses::default();
        let taken = |uses: &KeyUses| uses.take().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        uses.note("a", None, at(0));
        uses.note("a", None, at(0));
        assert_eq!(taken(&uses), ["a"]);
        // The shop service has not said yet that it knows.
        uses.note("a", None, Timestamp::from_millis(at(1).millis() - 1));
        assert_eq!(taken(&uses), [""; 0]);
        uses.note("a", Some(at(0)), at(1));
        assert_eq!(taken(&uses), ["a"]);
        uses.note("b", Some(at(1)), Timestamp::from_millis(at(2).millis() - 1));
        assert_eq!(taken(&uses), [""; 0]);
    }

    #[test]
    fn what_could_not_be_reported_is_reported_with_the_next_use() {
        let uses = KeyUses::default();
        uses.note("a", None, at(0));
        let taken = uses.take();
        uses.give_back(&taken);
        assert_eq!(uses.take(), []);
        uses.note("a", None, at(0));
        assert_eq!(uses.take(), taken);
    }

    #[test]
    fn no_more_keys_are_remembered_than_there_may_be() {
        let uses = KeyUses::default();
        for number in 0..MAX_KEYS + 5 {
            uses.note(&number.to_string(), None, at(0));
        }
        assert_eq!(uses.lock().len(), MAX_KEYS);
        assert_eq!(uses.take().len(), MAX_USES);
        uses.note("one more", None, at(0));
        assert_eq!(uses.lock().len(), MAX_KEYS - MAX_USES + 1);
    }
}
