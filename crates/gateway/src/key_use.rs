//! When API keys were used: noted for each key once an hour, until it is reported.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::time::Timestamp;
use tokio::sync::Notify;

/// How much later a key must be used for that to be reported again, in milliseconds.
const INTERVAL_MS: i64 = 3_600_000;
/// The most keys of a command.
const MAX_USES: usize = 500;
/// The most keys of which it is remembered that they were used; beyond it, those that were reported
/// are forgotten.
const MAX_KEYS: usize = 10_000;
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

    /// Waits until something is to be reported.
    pub(crate) async fn wait(&self) {
        self.has_news.notified().await;
    }

    /// Takes what is to be reported, of as many keys as a command takes.
    pub(crate) fn take(&self) -> Vec<(String, Timestamp)> {
        let mut by_key = self.lock();
        let waiting = by_key.iter_mut().filter(|(_, last)| !last.is_reported).take(MAX_USES);
        let taken = waiting.map(|(id, last)| {
            last.is_reported = true;
            (id.clone(), last.at)
        });
        taken.collect()
    }

    /// Notes that these could not be reported: the next use of each is.
    pub(crate) fn give_back(&self, uses: &[(String, Timestamp)]) {
        let mut by_key = self.lock();
        for (id, _) in uses {
            by_key.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, LastUse>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
