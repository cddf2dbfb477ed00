//! Slots for work that takes a while, which the shops take in turn.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::id::Shop;
use tokio::sync::oneshot;

use crate::turns::Turns;

/// A number of slots.
#[derive(Debug)]
pub(crate) struct Slots {
    max_of_shop: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// By shop: the slots that it holds.
    held: HashMap<Shop, usize>,
    waiting: Turns<oneshot::Sender<Slot>>,
}

/// A slot; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// Whose it is; absent once it is given back.
    shop: Option<Shop>,
}

impl Slots {
    /// `count` slots, of which one shop holds `max_of_shop` at most.
    pub(crate) fn new(count: usize, max_of_shop: usize) -> Arc<Self> {
        let state = State { free: count, held: HashMap::new(), waiting: Turns::default() };
        Arc::new(Self { max_of_shop, state: Mutex::new(state) })
    }

    /// Waits for a slot.
    pub(crate) async fn acquire(self: &Arc<Self>, shop: &Shop) -> Slot {
        let (give, slot) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.push(shop.clone(), give);
            self.give_out(&mut state);
        }
        // Whoever gives slots out keeps the sender until it gives one.
        slot.await.unwrap_or_else(|_| Slot { slots: self.clone(), shop: None })
    }

    fn give_out(self: &Arc<Self>, state: &mut State) {
        while state.free > 0 {
            let State { free, held, waiting } = &mut *state;
            let may = |shop: &Shop| held.get(shop).is_none_or(|held| *held < self.max_of_shop);
            let Some((shop, waiter)) = waiting.pop(may) else { return };
            let slot = Slot { slots: self.clone(), shop: Some(shop.clone()) };
            match waiter.send(slot) {
                Ok(()) => {
                    *free -= 1;
                    *held.entry(shop).or_default() += 1;
                }
                // Nobody waits any longer; it was not counted.
                Err(mut slot) => slot.shop = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(shop) = self.shop.take() else { return };
        let mut state = self.slots.state();
        state.free += 1;
        if let Some(held) = state.held.get_mut(&shop) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&shop);
            }
        }
        self.slots.give_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("it is one")
    }

    #[tokio::test]
    async fn a_shop_with_many_questions_leaves_slots_to_the_others() {
        let (slots, a, b) = (Slots::new(3, 2), shop("a"), shop("b"));
        let held = [slots.acquire(&a).await, slots.acquire(&a).await];
        assert!(slots.acquire(&a).now_or_never().is_none(), "it holds its share");
        let other = slots.acquire(&b).now_or_never().expect("one is free");
        drop((held, other));
        assert!(slots.acquire(&a).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_slot_that_is_free_again_goes_to_the_shop_whose_turn_it_is() {
        let (slots, a, b) = (Slots::new(1, 1), shop("a"), shop("b"));
        let first = slots.acquire(&a).await;
        let mut of_a = Box::pin(slots.acquire(&a));
        let mut of_b = Box::pin(slots.acquire(&b));
        assert!((&mut of_a).now_or_never().is_none() && (&mut of_b).now_or_never().is_none());
        drop(first);
        let second = (&mut of_a).now_or_never().expect("it was first");
        drop(second);
        (&mut of_b).now_or_never().expect("it is its turn");
    }

    #[tokio::test]
    async fn who_no_longer_waits_costs_no_slot() {
        let (slots, a) = (Slots::new(1, 1), shop("a"));
        let first = slots.acquire(&a).await;
        let mut gone = Box::pin(slots.acquire(&a));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(slots.acquire(&a).now_or_never().is_some());
        assert_eq!(slots.state().free, 1);
    }
}
