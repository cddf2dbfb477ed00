//! Which rows of a projection are in memory: what a batch needs is loaded, what none has used lately
//! is evicted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::id::Shop;

use super::{Projection, panic_text};
use crate::{
    Service, State, StoreError,
    projection::{documents, in_time::in_time},
};

impl<S: Service> Projection<S> {
    /// Begins a batch: what it uses stays in memory longest.
    pub(crate) fn begin_batch(&mut self) -> u64 {
        self.batch += 1;
        for state in self.states.values_mut() {
            state.tables().into_iter().for_each(|rows| rows.begin_batch(self.batch));
        }
        self.batch
    }

    /// Whether all rows that there are are in memory.
    pub(crate) fn has_all_rows(&self) -> bool {
        self.complete && !self.has_evicted
    }

    /// Whether a rule looked for a row of any shop that is not in memory.
    pub(crate) fn is_any_missing(&mut self) -> bool {
        let states = self.states.values_mut();
        states.into_iter().any(|state| state.tables().into_iter().any(|rows| rows.is_missing()))
    }

    /// Removes rows from memory that the batch at hand has not used.
    pub(crate) fn evict_all_before_this_batch(&mut self) {
        self.evict(self.batch);
    }

    /// Whether a rule looked for a row of the shop that is not in memory.
    pub(crate) fn is_missing(&mut self, shop: &Shop) -> bool {
        self.state(shop).tables().into_iter().any(|rows| rows.is_missing())
    }

    /// Why a database would refuse a row that the input at hand changed, or a row's own function
    /// that panics; `None` when it takes all of them.
    pub(crate) fn refusal(&mut self, shop: &Shop, may_hold_nul: bool) -> Option<String> {
        let tables = self.state(shop).tables();
        let refusal = || tables.iter().find_map(|rows| rows.refusal(may_hold_nul));
        let refusal = catch_unwind(AssertUnwindSafe(refusal));
        refusal.unwrap_or_else(|panic| Some(panic_text(&*panic)))
    }

    /// Fetches what is missing; true when something was.
    pub(crate) async fn load_missing(&mut self, pool: &sqlx::AnyPool) -> Result<bool, StoreError> {
        if !self.is_any_missing() {
            return Ok(false);
        }
        let mut db = pool.acquire().await?;
        let loaded = in_time(documents::load_missing(&mut db, &mut self.states)).await;
        if loaded.is_err() {
            // It may hang: given back to the pool, it would be waited for there.
            db.close_on_drop();
        }
        loaded
    }

    /// The number of rows in memory.
    pub(crate) fn rows_in_memory(&mut self) -> usize {
        let states = self.states.values_mut();
        states.map(|state| state.tables().iter().map(|rows| rows.len()).sum::<usize>()).sum()
    }

    /// Removes rows from memory that no batch since `batch` has used.
    pub(crate) fn evict(&mut self, batch: u64) {
        self.has_evicted = true;
        for state in self.states.values_mut() {
            state.tables().into_iter().for_each(|rows| rows.evict(batch));
        }
    }
}
