//! Which aggregates have something parked.

use foldhash::HashMap;
use protocol::id::Shop;

/// What is parked, by id, and the aggregates whose later inputs are parked behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Blocked {
    by_id: HashMap<String, (Shop, String)>,
    aggregates: HashMap<(Shop, String), usize>,
}

impl Blocked {
    pub(crate) fn insert(&mut self, id: String, aggregate: (Shop, String)) {
        if self.by_id.insert(id, aggregate.clone()).is_none() {
            *self.aggregates.entry(aggregate).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(aggregate) = self.by_id.remove(id)
            && let Some(count) = self.aggregates.get_mut(&aggregate)
        {
            *count -= 1;
            if *count == 0 {
                self.aggregates.remove(&aggregate);
            }
        }
    }

    /// Whether that is parked.
    pub(crate) fn contains_id(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(crate) fn contains(&self, shop: &Shop, aggregate: &str) -> bool {
        !self.aggregates.is_empty()
            && self.aggregates.contains_key(&(shop.clone(), aggregate.to_owned()))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
