//! Which deliveries have a request under way in this process, for people who look. Nothing is decided from it, and it is
//! gone with the process: what was under way then waits again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::id::Shop;

/// An endpoint of a shop.
type Key = (Shop, String);

/// The deliveries that have a request under way, by endpoint: each with how many it has. It has two for a moment when what
/// is under way is dropped and sent anew.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Key, BTreeMap<u64, u32>>>);

/// A request that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWayGuard {
    under_way: Arc<UnderWay>,
    key: Key,
    seq: u64,
}

impl UnderWay {
    /// A request for a delivery begins.
    pub(super) fn begin(
        self: &Arc<Self>,
        shop: &Shop,
        endpoint_id: &str,
        seq: u64,
    ) -> UnderWayGuard {
        let key = (shop.clone(), endpoint_id.to_owned());
        *self.lock().entry(key.clone()).or_default().entry(seq).or_default() += 1;
        UnderWayGuard { under_way: Arc::clone(self), key, seq }
    }

    /// The deliveries of an endpoint that have a request under way.
    pub(crate) fn of(&self, shop: &Shop, endpoint_id: &str) -> BTreeSet<u64> {
        let key = (shop.clone(), endpoint_id.to_owned());
        self.lock().get(&key).map(|seqs| seqs.keys().copied().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<u64, u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWayGuard {
    fn drop(&mut self) {
        let mut all = self.under_way.lock();
        let Some(seqs) = all.get_mut(&self.key) else { return };
        if let Some(count) = seqs.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                seqs.remove(&self.seq);
            }
        }
        if seqs.is_empty() {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_under_way_as_long_as_one_of_its_requests_is() {
        let under_way = Arc::new(UnderWay::default());
        let shop = Shop::parse("acme").expect("valid");
        let [first, again, other] = [1, 1, 2].map(|seq| under_way.begin(&shop, "ep", seq));
        let of = |id: &str| Vec::from_iter(under_way.of(&shop, id));
        assert_eq!((of("ep"), of("another")), (vec![1, 2], vec![]));
        drop(first);
        assert_eq!(of("ep"), [1, 2]);
        drop((again, other));
        assert!(of("ep").is_empty() && under_way.lock().is_empty());
    }
}
