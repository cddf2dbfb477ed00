//! One order of the events of several logs. No I/O.
//!
//! Each log keeps its order. Of the first events of the logs that are left, the one that was decided
//! earliest is next, and of those decided at the same time the one of the service whose name comes
//! first. An event whose cause is read and not given out yet waits for it, whatever the clocks say.
//!
//! What is given out is a **consistent cut**: with an event, its cause. For that a log ends twice. What
//! was in a log at the first look (`end`) is given out. The second look (`known_end`) follows when all
//! logs were looked at once: the cause of an event that the first look saw was stored before it, so the
//! second sees it. An event whose cause only the second look saw is held back until the next round.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use uuid::Uuid;

/// An event as it is in a log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogEvent {
    pub(crate) position: u64,
    pub(crate) content: Content,
}

/// What is at a position of a log, on a subject of the shop.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// An event.
    Event(Facts, Bytes),
    /// A message that is no event of this log.
    Unreadable,
    /// An event of a type that this version does not know.
    Newer,
}

/// What the order depends on, and the type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) id: Uuid,
    /// `<service>.<event>`.
    pub(crate) event_type: String,
    /// When it was decided: seconds since 1970, and nanoseconds.
    pub(crate) time: (i64, i32),
    /// The event that led to it, if one did: its id, and the service that wrote it.
    pub(crate) cause: Option<(Uuid, String)>,
}

/// A log that is read in parts.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) service: &'static str,
    /// All up to here was given out, or is not of the shop.
    from: u64,
    /// Where the log ended at the first look: no event behind it is given out.
    end: u64,
    /// Where it ended at the second look.
    known_end: u64,
    /// All up to here was read.
    read_to: u64,
    /// What was read and is not given out, in the order of the log.
    events: VecDeque<LogEvent>,
    /// The id of the last event that was read.
    last_id: Uuid,
}

impl Log {
    pub(crate) fn new(service: &'static str, from: u64) -> Self {
        Self {
            service,
            from,
            end: from,
            known_end: from,
            read_to: from,
            events: VecDeque::new(),
            last_id: Uuid::nil(),
        }
    }

    /// Notes where the log ended when it was looked at for the first and the second time. What a server
    /// says that has fallen behind changes nothing.
    pub(crate) fn note_ends(&mut self, end: u64, known_end: u64) {
        self.end = self.end.max(end);
        self.known_end = self.known_end.max(self.end).max(known_end);
    }

    /// Adds what follows what was read before, up to `to`.
    pub(crate) fn add(&mut self, events: Vec<LogEvent>, to: u64) {
        self.read_to = to;
        if let Some(Content::Event(facts, _)) = events.last().map(|event| &event.content) {
            self.last_id = facts.id;
        }
        self.events.extend(events);
    }

    /// The part of the log that is to be read next, when few events are left.
    pub(crate) fn unread(&self, few: usize) -> Option<(u64, u64)> {
        let is_wanted = !self.is_complete() && self.events.len() < few;
        is_wanted.then_some((self.read_to, self.known_end))
    }

    /// All up to here was given out, or is not of the shop.
    pub(crate) fn position(&self) -> u64 {
        self.events.front().map_or(self.read_to, |next| next.position - 1).max(self.from)
    }

    fn is_complete(&self) -> bool {
        self.read_to >= self.known_end
    }

    /// The next event of the log, if it may be given out by now.
    fn head(&self) -> Option<&LogEvent> {
        self.events.front().filter(|event| event.position <= self.end)
    }
}

/// The logs, and what of them waits.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) logs: Vec<Log>,
    /// The ids of what was read and is not given out.
    waiting: HashSet<Uuid>,
}

impl Merge {
    pub(crate) fn new(logs: Vec<Log>) -> Self {
        Self { logs, waiting: HashSet::new() }
    }

    /// Adds what follows in a log.
    pub(crate) fn add(&mut self, log: usize, events: Vec<LogEvent>, to: u64) {
        self.waiting.extend(events.iter().filter_map(|event| match &event.content {
            Content::Event(facts, _) => Some(facts.id),
            Content::Unreadable | Content::Newer => None,
        }));
        self.logs[log].add(events, to);
    }

    /// The bytes of what was read and is not given out.
    pub(crate) fn bytes(&self) -> usize {
        let events = self.logs.iter().flat_map(|log| &log.events);
        let bytes = events.map(|event| match &event.content {
            Content::Event(_, bytes) => bytes.len(),
            Content::Unreadable | Content::Newer => 0,
        });
        bytes.sum()
    }

    /// Whether more must be read before the next event is known.
    pub(crate) fn needs_more(&self) -> bool {
        self.logs.iter().any(|log| log.events.is_empty() && !log.is_complete())
    }

    /// Whether all is given out that was read, and all was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.logs.iter().all(|log| log.events.is_empty() && log.is_complete())
    }

    /// The log whose event is next; `None` when more must be read, or none may be given out.
    pub(crate) fn next(&self) -> Option<usize> {
        if self.needs_more() {
            return None;
        }
        self.earliest(|event| !self.waits(event))
    }

    /// The same without regard to causes: for logs whose events name causes in a circle, which no worker
    /// writes.
    pub(crate) fn next_in_spite_of_causes(&self) -> Option<usize> {
        self.earliest(|_| true)
    }

    /// Gives out the next event of a log.
    pub(crate) fn take(&mut self, log: usize) -> Option<LogEvent> {
        let event = self.logs[log].events.pop_front()?;
        if let Content::Event(facts, _) = &event.content {
            self.waiting.remove(&facts.id);
        }
        Some(event)
    }

    /// The next event of a log, which stays there.
    pub(crate) fn peek(&self, log: usize) -> Option<&Content> {
        self.logs[log].events.front().map(|event| &event.content)
    }

    fn earliest(&self, may: impl Fn(&LogEvent) -> bool) -> Option<usize> {
        let heads = self.logs.iter().enumerate();
        let heads = heads.filter_map(|(index, log)| {
            log.head().filter(|event| may(event)).map(|event| (event.time(), log.service, index))
        });
        heads.min().map(|(_, _, index)| index)
    }

    /// Whether the cause of an event comes later.
    fn waits(&self, event: &LogEvent) -> bool {
        let Content::Event(Facts { cause: Some((cause, service)), .. }, _) = &event.content else {
            return false;
        };
        // Ids of one writer ascend with time. So a cause behind the last event that was read of a log
        // has not been read yet, and one before it was given out or waits.
        let is_unread =
            |log: &Log| log.service == service && !log.is_complete() && *cause > log.last_id;
        self.waiting.contains(cause) || self.logs.iter().any(is_unread)
    }
}

impl LogEvent {
    fn time(&self) -> (i64, i32) {
        match &self.content {
            Content::Event(facts, _) => facts.time,
            Content::Unreadable | Content::Newer => (i64::MIN, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event `<position>` of a log, at a time, caused by an event of another.
    fn event(service: &str, position: u64, time: i64, cause: Option<(&str, u64)>) -> LogEvent {
        let cause = cause.map(|(service, position)| (id(service, position), service.to_owned()));
        let event_type = format!("{service}.happened");
        let facts = Facts { id: id(service, position), event_type, time: (time, 0), cause };
        LogEvent { position, content: Content::Event(facts, Bytes::new()) }
    }

    fn id(service: &str, position: u64) -> Uuid {
        let service = service.bytes().map(u64::from).sum();
        Uuid::from_u64_pair(position, service)
    }

    /// Two logs, `a` and `b`, read up to their ends.
    fn merge(a: Vec<LogEvent>, b: Vec<LogEvent>, ends: [(u64, u64); 2]) -> Merge {
        let mut merge = Merge::new(vec![Log::new("a", 0), Log::new("b", 0)]);
        for (index, events) in [a, b].into_iter().enumerate() {
            let (end, known_end) = ends[index];
            merge.logs[index].note_ends(end, known_end);
            merge.add(index, events, known_end);
        }
        merge
    }

    /// What is given out, such as `a1 b1`.
    fn all(merge: &mut Merge) -> String {
        let mut given = Vec::new();
        while let Some(log) = merge.next() {
            let event = merge.take(log).expect("it has one");
            given.push(format!("{}{}", merge.logs[log].service, event.position));
        }
        given.join(" ")
    }

    #[test]
    fn events_are_in_the_order_of_their_times_and_then_of_the_names() {
        let a = vec![event("a", 1, 1, None), event("a", 4, 5, None)];
        let b = vec![event("b", 2, 1, None), event("b", 3, 3, None)];
        let mut merge = merge(a, b, [(9, 9), (3, 3)]);
        assert_eq!(all(&mut merge), "a1 b2 b3 a4");
        assert!(merge.is_at_end());
        assert_eq!(merge.logs.iter().map(Log::position).collect::<Vec<_>>(), [9, 3]);
    }

    #[test]
    fn a_log_keeps_its_order_though_its_clock_went_back() {
        let a = vec![event("a", 1, 9, None), event("a", 2, 1, None)];
        let b = vec![event("b", 1, 5, None)];
        assert_eq!(all(&mut merge(a, b, [(2, 2), (1, 1)])), "b1 a1 a2");
    }

    #[test]
    fn an_effect_waits_for_its_cause_though_its_clock_is_behind() {
        let a = vec![event("a", 1, 1, Some(("b", 2))), event("a", 2, 1, None)];
        let b = vec![event("b", 1, 5, None), event("b", 2, 6, None), event("b", 3, 7, None)];
        assert_eq!(all(&mut merge(a, b, [(2, 2), (3, 3)])), "b1 b2 a1 a2 b3");
    }

    #[test]
    fn an_effect_is_held_back_whose_cause_only_the_second_look_saw() {
        let a = vec![event("a", 1, 1, None), event("a", 2, 2, Some(("b", 2)))];
        let b = vec![event("b", 1, 3, None), event("b", 2, 3, None)];
        let mut merge = merge(a, b, [(2, 2), (1, 2)]);
        assert_eq!(all(&mut merge), "a1 b1");
        assert!(!merge.is_at_end());
        assert_eq!(merge.logs.iter().map(Log::position).collect::<Vec<_>>(), [1, 1]);
        merge.logs[1].note_ends(2, 2);
        assert_eq!(all(&mut merge), "b2 a2");
    }

    #[test]
    fn nothing_is_given_out_before_a_log_of_which_more_must_be_read() {
        let mut merge =
            merge(vec![event("a", 1, 1, None)], vec![event("b", 1, 9, None)], [(1, 4), (1, 1)]);
        merge.logs[0].read_to = 1;
        merge.logs[0].note_ends(4, 4);
        assert_eq!(all(&mut merge), "a1");
        assert!(merge.needs_more());
        merge.add(0, vec![event("a", 3, 2, None)], 4);
        assert_eq!(all(&mut merge), "a3 b1");
    }

    #[test]
    fn an_effect_waits_for_a_cause_that_is_not_read_yet_though_its_clock_is_behind() {
        let a = vec![event("a", 1, 5, None)];
        let b = vec![event("b", 1, 1, Some(("a", 3)))];
        let mut merge = merge(a, b, [(1, 1), (1, 1)]);
        merge.logs[0].note_ends(4, 4);
        assert_eq!(all(&mut merge), "a1", "b1 is the effect of a3");
        merge.add(0, vec![event("a", 3, 6, None)], 4);
        assert_eq!(all(&mut merge), "a3 b1");
    }

    #[test]
    fn causes_in_a_circle_hold_nothing_up_for_ever() {
        let a = vec![event("a", 1, 1, Some(("b", 1)))];
        let b = vec![event("b", 1, 2, Some(("a", 1)))];
        let mut merge = merge(a, b, [(1, 1), (1, 1)]);
        assert_eq!(merge.next(), None);
        let log = merge.next_in_spite_of_causes().expect("one of them");
        assert_eq!(merge.take(log).expect("it has one").position, 1);
        assert_eq!(all(&mut merge), "b1");
    }
}
