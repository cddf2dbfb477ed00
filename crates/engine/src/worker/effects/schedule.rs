//! When operations are attempted: not before they are due, and no more at a time than there are slots.
//!
//! Slots are shared by shop first, and within a shop by destination: how many destinations a shop has says
//! nothing about its share. A shop takes no more than [`SHARE`] slots for each that is free. So one that
//! is alone has nearly all, those who have many of them leave some to who comes next, and who has none
//! gets one as long as there is any.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
};

use protocol::{id::Shop, time::Timestamp};

/// Attempts that run at the same time, in one partition.
const MAX_RUNNING: usize = 512;
/// Of those, how many may run for one destination of one shop.
const MAX_RUNNING_PER_LANE: usize = 64;
/// How many slots a shop may have for each that is free: one that is alone leaves 64 of 512, two leave 34.
const SHARE: usize = 7;

/// A destination of a shop: what waits for it takes turns with the others.
pub(super) type Lane = (Shop, String);

/// The operations that are not being attempted, by their ids, and the slots that are taken.
#[derive(Default)]
pub(super) struct Schedule {
    /// What waits for its time.
    due: BTreeSet<(Timestamp, String)>,
    /// What waits for a free slot; the shops take turns.
    ready: BTreeMap<Shop, ReadyOfShop>,
    /// The shop that was served last.
    last: Option<Shop>,
    /// The slots that are taken in all.
    running: usize,
    running_by_shop: HashMap<Shop, RunningOfShop>,
}

/// What waits for a free slot of one shop; its destinations take turns.
#[derive(Default)]
struct ReadyOfShop {
    by_destination: BTreeMap<String, VecDeque<String>>,
    /// The destination that was served last.
    last: Option<String>,
}

/// The slots that a shop has taken.
#[derive(Default)]
struct RunningOfShop {
    all: usize,
    by_destination: HashMap<String, usize>,
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
    pub(super) fn ready(&mut self, (shop, destination): Lane, id: String) {
        let of_shop = self.ready.entry(shop).or_default();
        of_shop.by_destination.entry(destination).or_default().push_back(id);
    }

    /// Takes the operation whose turn it is, if there is a slot for it, and the slot with it.
    pub(super) fn next_ready(&mut self) -> Option<(Lane, String)> {
        if self.running >= MAX_RUNNING {
            return None;
        }
        let (shop, destination) = self.next_lane()?;
        let of_shop = self.ready.get_mut(&shop)?;
        let queue = of_shop.by_destination.get_mut(&destination)?;
        let id = queue.pop_front()?;
        if queue.is_empty() {
            of_shop.by_destination.remove(&destination);
        }
        of_shop.last = Some(destination.clone());
        if of_shop.by_destination.is_empty() {
            self.ready.remove(&shop);
        }
        self.running += 1;
        let running = self.running_by_shop.entry(shop.clone()).or_default();
        running.all += 1;
        *running.by_destination.entry(destination.clone()).or_default() += 1;
        self.last = Some(shop.clone());
        Some(((shop, destination), id))
    }

    /// The lane whose turn it is: of the first shop with a free slot after the one that was served
    /// last, the first destination with one.
    fn next_lane(&self) -> Option<Lane> {
        let max_of_shop = SHARE * (MAX_RUNNING - self.running);
        after(&self.ready, self.last.as_ref()).find_map(|(shop, ready)| {
            let running = self.running_by_shop.get(shop);
            if running.is_some_and(|running| running.all >= max_of_shop) {
                return None;
            }
            let has_slot = |destination: &str| {
                let running = running.and_then(|running| running.by_destination.get(destination));
                running.is_none_or(|running| *running < MAX_RUNNING_PER_LANE)
            };
            let mut destinations = after(&ready.by_destination, ready.last.as_ref());
            let (destination, _) = destinations.find(|(destination, _)| has_slot(destination))?;
            Some((shop.clone(), destination.clone()))
        })
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, (shop, destination): &Lane) {
        let Some(of_shop) = self.running_by_shop.get_mut(shop) else { return };
        let Some(running) = of_shop.by_destination.get_mut(destination) else { return };
        *running -= 1;
        if *running == 0 {
            of_shop.by_destination.remove(destination);
        }
        of_shop.all -= 1;
        if of_shop.all == 0 {
            self.running_by_shop.remove(shop);
        }
        self.running -= 1;
    }

    /// How many wait for a slot.
    pub(super) fn ready_len(&self) -> usize {
        let queues = self.ready.values().flat_map(|of_shop| of_shop.by_destination.values());
        queues.map(VecDeque::len).sum()
    }

    /// How many wait for their time.
    pub(super) fn waiting_len(&self) -> usize {
        self.due.len()
    }
}

/// The entries in the order of their turns: those behind the last one that was served, then the others.
fn after<'a, K: Ord, V>(
    entries: &'a BTreeMap<K, V>,
    last: Option<&'a K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let later = entries.range::<K, _>((last.map_or(Unbounded, Excluded), Unbounded));
    later.chain(last.into_iter().flat_map(|last| entries.range::<K, _>(..=last)))
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

    /// Operations of a shop, one for each destination.
    fn ready_everywhere(schedule: &mut Schedule, shop: &str, destinations: usize) {
        for index in 0..destinations {
            ready(schedule, &lane(shop, &format!("{shop}-{index}")), 1);
        }
    }

    /// Takes all that may be taken now.
    fn take(schedule: &mut Schedule) -> Vec<(Lane, String)> {
        std::iter::from_fn(|| schedule.next_ready()).collect()
    }

    /// How many of them are of the shop.
    fn of(shop: &str, taken: &[(Lane, String)]) -> usize {
        taken.iter().filter(|((of, _), _)| of.as_str() == shop).count()
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
    fn the_destinations_of_a_shop_take_turns() {
        let (one, other) = (lane("acme", "a"), lane("acme", "b"));
        let mut schedule = Schedule::default();
        ready(&mut schedule, &one, 2);
        ready(&mut schedule, &other, 2);
        let served: Vec<_> = take(&mut schedule).into_iter().map(|it| it.1).collect();
        assert_eq!(served, ["a-0", "b-0", "a-1", "b-1"]);
    }

    #[test]
    fn shops_take_turns_however_many_destinations_they_have() {
        let mut schedule = Schedule::default();
        ready_everywhere(&mut schedule, "many", 1_000);
        ready(&mut schedule, &lane("one", "a"), 20);
        ready_everywhere(&mut schedule, "two", 20);
        let taken: Vec<_> = (0..60).filter_map(|_| schedule.next_ready()).collect();
        assert_eq!([of("many", &taken), of("one", &taken), of("two", &taken)], [20, 20, 20]);
        let destinations: BTreeSet<_> = taken.iter().map(|(lane, _)| lane).collect();
        assert_eq!(destinations.len(), 41, "each has its turn before the first has a second");
    }

    #[test]
    fn a_lane_takes_no_more_than_its_slots_and_leaves_the_others_theirs() {
        let (slow, good) = (lane("acme", "slow"), lane("zeta", "good"));
        let mut schedule = Schedule::default();
        ready(&mut schedule, &slow, MAX_RUNNING_PER_LANE + 1);
        assert_eq!(take(&mut schedule).len(), MAX_RUNNING_PER_LANE);
        ready(&mut schedule, &good, 1);
        assert_eq!(schedule.next_ready().map(|(lane, _)| lane), Some(good));
        schedule.release(&slow);
        assert_eq!(schedule.next_ready().map(|(lane, _)| lane), Some(slow));
    }

    #[test]
    fn a_shop_whose_destinations_all_hang_leaves_slots_for_the_others() {
        let mut schedule = Schedule::default();
        for index in 0..16 {
            ready(&mut schedule, &lane("slow", &index.to_string()), MAX_RUNNING_PER_LANE);
        }
        let slow = take(&mut schedule);
        assert_eq!(slow.len(), 448, "alone, it has all but a reserve");
        ready(&mut schedule, &lane("good", "a"), 40);
        assert_eq!(of("good", &take(&mut schedule)), 40);
        ready(&mut schedule, &lane("third", "a"), 10);
        assert_eq!(of("third", &take(&mut schedule)), 10);
        // Nothing more for the shop that has so many, before many of them are free.
        schedule.release(&slow[0].0);
        assert_eq!(take(&mut schedule), []);
    }

    #[test]
    fn shops_that_want_everything_get_as_much_each() {
        let mut schedule = Schedule::default();
        for shop in ["a", "b", "c"] {
            ready_everywhere(&mut schedule, shop, 1_000);
        }
        let taken = take(&mut schedule);
        let counts = ["a", "b", "c"].map(|shop| of(shop, &taken));
        assert!(counts.iter().all(|count| (160..=164).contains(count)), "{counts:?}");
        ready(&mut schedule, &lane("late", "a"), 1);
        assert_eq!(of("late", &take(&mut schedule)), 1);
    }

    #[test]
    fn all_shops_together_take_no_more_than_all_slots() {
        let mut schedule = Schedule::default();
        for index in 0..2 * MAX_RUNNING {
            ready(&mut schedule, &lane(&format!("shop-{index}"), "a"), 1);
        }
        let served = take(&mut schedule);
        assert_eq!(served.len(), MAX_RUNNING);
        schedule.release(&served[0].0);
        assert_eq!(take(&mut schedule).len(), 1);
        assert_eq!(schedule.ready_len(), MAX_RUNNING - 1);
    }
}
