//! When operations are attempted: not before they are due, and no more at a time than there are slots.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use protocol::{id::Shop, time::Timestamp};

/// Attempts that run at the same time, in one partition.
const MAX_RUNNING: usize = 512;
/// Of those, how many may run for one destination of one shop.
const MAX_RUNNING_PER_LANE: usize = 64;

/// A destination of a shop: what waits for it takes turns with the others.
pub(super) type Lane = (Shop, String);

/// The operations that are not being attempted, by their ids, and the slots that are taken.
#[derive(Default)]
pub(super) struct Schedule {
    /// What waits for its time.
    due: BTreeSet<(Timestamp, String)>,
    /// What waits for a free slot; the lanes take turns.
    ready: BTreeMap<Lane, VecDeque<String>>,
    /// The lane that was served last.
    last_lane: Option<Lane>,
    /// The slots that are taken, in all and of each lane.
    running: usize,
    running_by_lane: HashMap<Lane, usize>,
}

impl Schedule {
    /// Lets an operation wait for a time.
    pub(super) fn wait(&mut self, due: Timestamp, id: String) {
        self.due.insert((due, id));
    }

    /// Takes back that an operation waits for a time.
    pub(super) fn cancel(&mut self, due: Timestamp, id: String) {
        self.due.remove(&(due, id));
    }

    /// Takes the operation that is due first, if it is.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<String> {
        self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first().map(|(_, id)| id)
    }

    /// Lets an operation that is due wait for a slot of its lane.
    pub(super) fn ready(&mut self, lane: Lane, id: String) {
        self.ready.entry(lane).or_default().push_back(id);
    }

    /// Takes the operation whose turn it is, if there is a slot for it, and the slot with it.
    pub(super) fn next_ready(&mut self) -> Option<(Lane, String)> {
        if self.running >= MAX_RUNNING {
            return None;
        }
        let lane = self.next_lane()?;
        let queue = self.ready.get_mut(&lane)?;
        let id = queue.pop_front()?;
        if queue.is_empty() {
            self.ready.remove(&lane);
        }
        self.running += 1;
        *self.running_by_lane.entry(lane.clone()).or_default() += 1;
        self.last_lane = Some(lane.clone());
        Some((lane, id))
    }

    /// The lane whose turn it is: the first with a free slot after the one that was served last.
    fn next_lane(&self) -> Option<Lane> {
        let has_slot = |lane: &Lane| {
            self.running_by_lane.get(lane).is_none_or(|running| *running < MAX_RUNNING_PER_LANE)
        };
        let after = self.last_lane.as_ref();
        let later = self.ready.keys().filter(|lane| after.is_none_or(|last| *lane > last));
        let first = self.ready.keys();
        later.chain(first).find(|lane| has_slot(lane)).cloned()
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, lane: &Lane) {
        if let Some(running) = self.running_by_lane.get_mut(lane) {
            self.running -= 1;
            *running -= 1;
            if *running == 0 {
                self.running_by_lane.remove(lane);
            }
        }
    }

    /// How many wait for a slot.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.values().map(VecDeque::len).sum()
    }

    /// How many wait for their time.
    pub(super) fn waiting_len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);

    fn lane(shop: &str, destination: &str) -> Lane {
        (Shop::parse(shop).expect("a shop"), destination.to_owned())
    }

    fn ready(schedule: &mut Schedule, lane: &Lane, count: usize) {
        for index in 0..count {
            schedule.ready(lane.clone(), format!("{}-{index}", lane.1));
        }
    }

    #[test]
    fn what_is_due_later_waits() {
        let mut schedule = Schedule::default();
        schedule.wait(Timestamp::from_millis(1_001), "later".to_owned());
        schedule.wait(START, "now".to_owned());
        schedule.wait(START, "never".to_owned());
        schedule.cancel(START, "never".to_owned());
        assert_eq!(schedule.next_due(START).as_deref(), Some("now"));
        assert_eq!(schedule.next_due(START), None);
        assert_eq!(schedule.waiting_len(), 1);
    }

    #[test]
    fn lanes_take_turns() {
        let (one, other) = (lane("acme", "a"), lane("acme", "b"));
        let mut schedule = Schedule::default();
        ready(&mut schedule, &one, 2);
        ready(&mut schedule, &other, 2);
        let served: Vec<_> = std::iter::from_fn(|| schedule.next_ready()).map(|it| it.1).collect();
        assert_eq!(served, ["a-0", "b-0", "a-1", "b-1"]);
    }

    #[test]
    fn a_lane_takes_no_more_than_its_slots_and_leaves_the_others_theirs() {
        let (slow, good) = (lane("acme", "slow"), lane("zeta", "good"));
        let mut schedule = Schedule::default();
        ready(&mut schedule, &slow, MAX_RUNNING_PER_LANE + 1);
        for _ in 0..MAX_RUNNING_PER_LANE {
            assert!(schedule.next_ready().is_some());
        }
        assert_eq!(schedule.next_ready(), None);
        ready(&mut schedule, &good, 1);
        assert_eq!(schedule.next_ready().map(|(lane, _)| lane), Some(good));
        schedule.release(&slow);
        assert_eq!(schedule.next_ready().map(|(lane, _)| lane), Some(slow));
    }

    #[test]
    fn all_lanes_together_take_no_more_than_all_slots() {
        let mut schedule = Schedule::default();
        for index in 0..=MAX_RUNNING / MAX_RUNNING_PER_LANE {
            ready(&mut schedule, &lane("acme", &index.to_string()), MAX_RUNNING_PER_LANE);
        }
        let served: Vec<_> = std::iter::from_fn(|| schedule.next_ready()).collect();
        assert_eq!(served.len(), MAX_RUNNING);
        schedule.release(&served[0].0);
        assert!(schedule.next_ready().is_some());
    }
}
