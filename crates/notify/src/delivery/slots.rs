//! The requests of a process, shared among shops.
//!
//! A shop takes a further slot only if it has fewer than are left, and an eighth of all slots is left to shops that have
//! none: one greedy shop alone has less than half of them, ten have a twelfth each once what they had before has ended,
//! and one that has none finds a slot. So endpoints that hang, however many a shop has, hold up no other shop. And half
//! of all slots are never used by what was attempted before: retries and replays hold up no first attempt.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::id::Shop;
use tokio::sync::oneshot;

/// The slots of a process.
#[derive(Debug)]
pub(super) struct Slots {
    all: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Of those, how many are retries or replays.
    again: usize,
    /// Shops that have slots, or wait for some.
    shops: HashMap<Shop, OfShop>,
}

#[derive(Debug, Default)]
struct OfShop {
    taken: usize,
    /// Who waits, in order, and whether it was attempted before. As many at most as its endpoints send at a time.
    waiting: VecDeque<(bool, oneshot::Sender<Slot>)>,
}

/// A slot, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// Absent once it was given back.
    slots: Option<Arc<Slots>>,
    shop: Shop,
    is_again: bool,
}

impl Slots {
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, state: Mutex::default() })
    }

    /// Takes a slot as soon as the shop may have one; `is_again`: for what was attempted before. It waits no longer
    /// than the requests that are under way take, each of which has a timeout.
    pub(super) async fn take(self: &Arc<Self>, shop: &Shop, is_again: bool) -> Option<Slot> {
        let waits = {
            let mut state = self.lock();
            let (sender, waits) = oneshot::channel();
            let of_shop = state.shops.entry(shop.clone()).or_default();
            of_shop.waiting.push_back((is_again, sender));
            self.give(&mut state);
            waits
        };
        waits.await.ok()
    }

    /// Gives out what is free: to the shop first that has the fewest.
    fn give(self: &Arc<Self>, state: &mut State) {
        loop {
            let (free, may_again) = (self.all - state.taken, state.again < self.all / 2);
            let free_of_others = free.saturating_sub(self.all / 8);
            let next = |of_shop: &OfShop| {
                let may = match of_shop.taken {
                    0 => free > 0,
                    taken => taken < free_of_others,
                };
                // Who waits no more is passed over: its turn costs nothing.
                let is_next = |(is_again, it): &(bool, oneshot::Sender<Slot>)| {
                    it.is_closed() || may && (may_again || !is_again)
                };
                of_shop.waiting.iter().position(is_next)
            };
            let shops = state.shops.iter();
            let waiting = shops.filter_map(|(shop, it)| Some((it.taken, shop, next(it)?)));
            let Some((_, shop, index)) = waiting.min_by_key(|(taken, ..)| *taken) else { return };
            let shop = shop.clone();
            let Some(of_shop) = state.shops.get_mut(&shop) else { return };
            let Some((is_again, sender)) = of_shop.waiting.remove(index) else { return };
            if sender.is_closed() {
                state.forget_idle(&shop);
                continue;
            }
            of_shop.taken += 1;
            state.taken += 1;
            state.again += usize::from(is_again);
            let slot = Slot { slots: Some(self.clone()), shop, is_again };
            if let Err(mut slot) = sender.send(slot) {
                // It has just ceased to wait.
                slot.slots = None;
                slot.give_back(state);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_idle(&mut self, shop: &Shop) {
        let is_idle = |it: &OfShop| it.taken == 0 && it.waiting.is_empty();
        if self.shops.get(shop).is_some_and(is_idle) {
            self.shops.remove(shop);
        }
    }
}

impl Slot {
    fn give_back(&self, state: &mut State) {
        state.taken -= 1;
        state.again -= usize::from(self.is_again);
        if let Some(of_shop) = state.shops.get_mut(&self.shop) {
            of_shop.taken -= 1;
        }
        state.forget_idle(&self.shop);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(slots) = self.slots.take() else { return };
        let mut state = slots.lock();
        self.give_back(&mut state);
        slots.give(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("valid")
    }

    #[track_caller]
    fn assert_idle(slots: &Slots) {
        let State { taken, again, shops } = &*slots.lock();
        assert_eq!((*taken, *again, shops.len()), (0, 0, 0));
    }

    /// Takes as many as there are for the shop.
    fn take_all(slots: &Arc<Slots>, name: &str, is_again: bool) -> Vec<Slot> {
        let now = || slots.take(&shop(name), is_again).now_or_never().flatten();
        std::iter::from_fn(now).collect()
    }

    #[test]
    fn a_shop_whose_endpoints_hang_leaves_slots_for_the_others() {
        let slots = Slots::new(1_024);
        let greedy = take_all(&slots, "greedy", false);
        assert_eq!(greedy.len(), 448);
        let second = take_all(&slots, "second", false);
        assert_eq!(second.len(), 224);
        let mut others = Vec::new();
        for n in 0..100 {
            let slot = take_all(&slots, &format!("shop-{n}"), false);
            assert!(!slot.is_empty(), "the shop {n} finds one");
            others.push(slot);
        }
        drop((greedy, second, others));
        assert_idle(&slots);
    }

    #[test]
    fn retries_leave_half_of_the_slots_for_first_attempts() {
        let slots = Slots::new(64);
        let retries: Vec<_> =
            (0..64).flat_map(|n| take_all(&slots, &format!("shop-{n}"), true)).collect();
        assert_eq!(retries.len(), 32);
        assert!(!take_all(&slots, "shop-1", false).is_empty());
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_the_shop_that_has_the_fewest() {
        let slots = Slots::new(8);
        let mut greedy = take_all(&slots, "greedy", false);
        let mut second = take_all(&slots, "second", false);
        let mut third = take_all(&slots, "third", false);
        assert_eq!((greedy.len(), second.len(), third.len()), (4, 2, 1));
        let (greedy_shop, second_shop, third_shop) =
            (shop("greedy"), shop("second"), shop("third"));
        let mut of_greedy = Box::pin(slots.take(&greedy_shop, false));
        let mut of_second = Box::pin(slots.take(&second_shop, false));
        let mut of_third = Box::pin(slots.take(&third_shop, false));
        assert!((&mut of_greedy).now_or_never().is_none());
        assert!((&mut of_second).now_or_never().is_none());
        assert!((&mut of_third).now_or_never().is_none());
        greedy.truncate(2);
        third.push(of_third.now_or_never().flatten().expect("it has the fewest"));
        assert!((&mut of_second).now_or_never().is_none());
        greedy.clear();
        greedy.push(of_greedy.now_or_never().flatten().expect("it has none now"));
        assert!((&mut of_second).now_or_never().is_none());
        third.clear();
        second.push(of_second.now_or_never().flatten().expect("there is room"));
        drop((greedy, second, third));
        assert_idle(&slots);
    }

    #[tokio::test]
    async fn who_waits_no_more_gets_none() {
        let slots = Slots::new(2);
        let first = slots.take(&shop("acme"), false).await.expect("it is free");
        let acme = shop("acme");
        let mut waits = Box::pin(slots.take(&acme, false));
        assert!((&mut waits).now_or_never().is_none());
        drop(waits);
        drop(first);
        assert_eq!(slots.lock().taken, 0);
        assert!(slots.take(&shop("acme"), false).now_or_never().flatten().is_some());
    }
}
