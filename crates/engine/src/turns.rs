//! Things that wait, of which the shops take one each in turn.

use std::collections::{HashMap, VecDeque};

use protocol::id::Shop;

/// What waits, by shop: the things of one shop in their order, the shops in turn.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    waiting: HashMap<Shop, VecDeque<T>>,
    /// The shops of which something waits, in the order of their turns.
    order: VecDeque<Shop>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), len: 0 }
    }
}

impl<T> Turns<T> {
    /// How many things wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, shop: Shop, thing: T) {
        let waiting = self.waiting.entry(shop.clone()).or_default();
        if waiting.is_empty() {
            self.order.push_back(shop);
        }
        waiting.push_back(thing);
        self.len += 1;
    }

    /// Takes the next thing of the shop whose turn it is, among those that `may` have one.
    pub(crate) fn pop(&mut self, may: impl Fn(&Shop) -> bool) -> Option<(Shop, T)> {
        let next = self.order.iter().position(may)?;
        let shop = self.order.remove(next)?;
        let waiting = self.waiting.get_mut(&shop)?;
        let thing = waiting.pop_front()?;
        self.len -= 1;
        if waiting.is_empty() {
            self.waiting.remove(&shop);
        } else {
            self.order.push_back(shop.clone());
        }
        Some((shop, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("it is one")
    }

    fn turns(things: &[(&str, i32)]) -> Turns<i32> {
        let mut turns = Turns::default();
        for (name, thing) in things {
            turns.push(shop(name), *thing);
        }
        turns
    }

    #[test]
    fn shops_take_turns_and_keep_their_own_order() {
        let mut turns = turns(&[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)]);
        let taken: Vec<_> = std::iter::from_fn(|| turns.pop(|_| true)).map(|(_, it)| it).collect();
        assert_eq!(taken, [1, 4, 5, 2, 6, 3]);
        assert_eq!((turns.len(), turns.waiting.len(), turns.order.len()), (0, 0, 0));
    }

    #[test]
    fn a_shop_that_may_not_have_its_turn_now_keeps_it() {
        let mut turns = turns(&[("a", 1), ("b", 2), ("b", 3)]);
        let other = |of: &Shop| *of != shop("a");
        assert_eq!(turns.pop(other).map(|(_, it)| it), Some(2));
        assert_eq!(turns.pop(|_| true).map(|(_, it)| it), Some(1));
        assert_eq!(turns.pop(other).map(|(_, it)| it), Some(3));
        assert_eq!(turns.pop(other), None);
    }
}
