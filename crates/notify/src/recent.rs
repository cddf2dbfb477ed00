//! The events that were read lately, so that what is sent at once is not read again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::domain::PublishedEvent;

/// The most bytes of events that are kept.
const MAX_BYTES: usize = 32 << 20;

/// Events by where they are. What an event says never changes, so nothing here can be out of date.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<EventCache>);

#[derive(Debug, Default)]
struct EventCache {
    events: HashMap<Position, Bytes>,
    /// In the order in which they came.
    order: VecDeque<Position>,
    bytes: usize,
}

/// The shop, the service that wrote the event, and the position in its log.
type Position = (String, String, u64);

impl Recent {
    /// Keeps an event; the oldest ones leave when there are too many.
    pub(crate) fn put(&self, service: &str, event: &PublishedEvent) {
        let position = (event.shop.clone(), service.to_owned(), event.position);
        let mut kept = self.kept();
        if kept.events.insert(position.clone(), event.bytes.clone()).is_some() {
            return;
        }
        kept.bytes += event.bytes.len();
        kept.order.push_back(position);
        while kept.bytes > MAX_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let dropped = kept.events.remove(&oldest);
            kept.bytes -= dropped.map_or(0, |bytes| bytes.len());
        }
    }

    /// The event there, if it was kept.
    pub(crate) fn get(&self, shop: &str, service: &str, position: u64) -> Option<Bytes> {
        self.kept().events.get(&(shop.to_owned(), service.to_owned(), position)).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, EventCache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_leave_when_there_are_too_many() {
        let recent = Recent::default();
        for position in 1..=3 {
            let bytes = Bytes::from(vec![0; MAX_BYTES / 2]);
            let event_type = "order.paid".to_owned();
            let event = PublishedEvent { shop: "acme".to_owned(), position, event_type, bytes };
            recent.put("order", &event);
            recent.put("order", &event);
        }
        let kept = |position| recent.get("acme", "order", position).is_some();
        assert_eq!([kept(1), kept(2), kept(3)], [false, true, true]);
        assert!(recent.get("other", "order", 3).is_none());
    }
}
