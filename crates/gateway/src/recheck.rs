//! What a gateway remembers of another service's things, for as long as it may rely on it: shops, API
//! keys.
//!
//! | an entry | a request |
//! |---|---|
//! | that was looked up less than [`Timing::recheck_after`] ago | relies on it |
//! | that is older | one request of them asks again; none relies on what is older than [`Timing::max_age`] |
//! | of which the service said nothing when it was asked last | relies on it, for [`Timing::max_silence`] |
//! | that is not known | asks |

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// For how long what was found is relied on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// After how long an entry is looked up again, by one request.
    pub(crate) recheck_after: Duration,
    /// How old an entry may be, unless the service does not answer.
    pub(crate) max_age: Duration,
    /// How old it may be while the service does not answer.
    pub(crate) max_silence: Duration,
    /// The most entries; above it, the one that was looked up longest ago is forgotten.
    pub(crate) max_entries: usize,
}

/// Entries, and since when they are known.
#[derive(Debug)]
pub(crate) struct Rechecked<K, V> {
    timing: Timing,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    version: u64,
    /// When the service said so.
    since: Instant,
    /// When it was last asked.
    asked: Instant,
    /// Whether it did not answer then.
    is_silent: bool,
}

/// What to do about an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<V> {
    /// It is known well enough.
    Known(V),
    /// It is to be looked up again.
    Old(V),
    /// It is not known.
    Unknown,
}

impl<K: Clone + Eq + Hash, V: Clone> Rechecked<K, V> {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, entries: Mutex::default() }
    }

    /// Remembers what the service has said. An answer that was slower than a later one does not undo
    /// it.
    pub(crate) fn remember(&self, key: &K, version: u64, value: V, now: Instant) {
        let mut entries = self.lock();
        if entries.get(key).is_some_and(|known| known.version > version) {
            return;
        }
        if entries.len() >= self.timing.max_entries && !entries.contains_key(key) {
            let oldest = entries.iter().min_by_key(|(_, known)| known.since);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| entries.remove(&key));
        }
        let entry = Entry { value, version, since: now, asked: now, is_silent: false };
        entries.insert(key.clone(), entry);
    }

    /// Looks an entry up. Who finds it old is expected to ask the service: the next ones rely on that.
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Found<V>
    where
        K: Borrow<Q>,
    {
        let Timing { recheck_after, max_age, max_silence, .. } = self.timing;
        let mut entries = self.lock();
        let Some(known) = entries.get_mut(key) else { return Found::Unknown };
        let (age, asked) = (now.duration_since(known.since), now.duration_since(known.asked));
        if age >= max_silence {
            return Found::Unknown;
        }
        let relies_on_another = asked < recheck_after && (age < max_age || known.is_silent);
        if age < recheck_after || relies_on_another {
            return Found::Known(known.value.clone());
        }
        known.asked = now;
        Found::Old(known.value.clone())
    }

    /// Notes that the service did not answer.
    pub(crate) fn note_silence<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(known) = self.lock().get_mut(key) {
            known.is_silent = true;
        }
    }

    /// Forgets an entry: there is no such thing.
    pub(crate) fn forget<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        recheck_after: Duration::from_secs(10),
        max_age: Duration::from_secs(15),
        max_silence: Duration::from_mins(15),
        max_entries: 100,
    };

    fn empty() -> (Rechecked<String, bool>, Instant) {
        (Rechecked::new(TIMING), Instant::now())
    }

    #[test]
    fn an_entry_is_known_until_it_is_to_be_looked_up_again_by_one_request() {
        let (entries, start) = empty();
        let acme = "acme".to_owned();
        assert_eq!(entries.find("acme", start), Found::Unknown);
        entries.remember(&acme, 1, false, start);
        assert_eq!(entries.find("acme", start + TIMING.recheck_after / 2), Found::Known(false));
        assert_eq!(entries.find("other", start), Found::Unknown);

        let later = start + TIMING.recheck_after;
        assert_eq!(entries.find("acme", later), Found::Old(false));
        assert_eq!(entries.find("acme", later), Found::Known(false), "another asks");
        entries.remember(&acme, 2, true, later);
        assert_eq!(entries.find("acme", later), Found::Known(true));
    }

    #[test]
    fn nobody_relies_on_what_is_too_old() {
        let (entries, start) = empty();
        entries.remember(&"acme".to_owned(), 1, false, start);
        for _ in 0..2 {
            assert_eq!(entries.find("acme", start + TIMING.max_age), Found::Old(false));
        }
    }

    #[test]
    fn what_is_known_holds_for_a_time_while_the_service_does_not_answer() {
        let (entries, start) = empty();
        entries.remember(&"acme".to_owned(), 1, true, start);
        let later = start + 10 * TIMING.max_age;
        assert_eq!(entries.find("acme", later), Found::Old(true));
        entries.note_silence("acme");
        assert_eq!(entries.find("acme", later), Found::Known(true));
        assert_eq!(entries.find("acme", later + TIMING.recheck_after), Found::Old(true));
        assert_eq!(entries.find("acme", start + TIMING.max_silence), Found::Unknown);
    }

    #[test]
    fn a_slow_answer_does_not_undo_a_later_one() {
        let (entries, now) = empty();
        entries.remember(&"acme".to_owned(), 3, true, now);
        entries.remember(&"acme".to_owned(), 2, false, now);
        assert_eq!(entries.find("acme", now), Found::Known(true));
    }

    #[test]
    fn the_entry_that_was_looked_up_longest_ago_is_forgotten() {
        let (entries, start) = empty();
        for number in 0..=TIMING.max_entries {
            let at = start + Duration::from_millis(number as u64);
            entries.remember(&format!("shop-{number}"), 1, true, at);
        }
        assert_eq!(entries.find("shop-0", start), Found::Unknown);
        assert_eq!(entries.find("shop-1", start), Found::Known(true));
        assert_eq!(entries.lock().len(), TIMING.max_entries);
    }
}
