//! The connection to the payment provider.
//!
//! There is one kind so far, the simulated one. A second becomes a second arm in [`Provider`].

use std::time::Duration;

use protocol::id::Shop;
use tokio::time::timeout;

pub(crate) use crate::provider_api::{
    Answer, DatedAnswer, List, ProviderError, Request, Task, Totals, Transaction,
};
use crate::simulator::Simulator;

/// A connection to the provider; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    simulator: Simulator,
    timeout: Duration,
}

impl Provider {
    /// Its name, as operators know it.
    pub(crate) const NAME: &'static str = "simulator";

    /// A connection that waits for `timeout` for each answer.
    pub(crate) fn new(simulator: Simulator, timeout: Duration) -> Self {
        Self { simulator, timeout }
    }

    /// Asks for an operation.
    pub(crate) async fn perform(&self, request: &Request) -> Result<DatedAnswer, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.perform(request));
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks what became of an operation; `None` when the provider has done nothing under its key.
    /// That is certain for every request that this process has sent before, answered or not.
    pub(crate) async fn find(
        &self,
        request: &Request,
    ) -> Result<Option<DatedAnswer>, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.find(request));
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks for a page of what the provider has done.
    pub(crate) async fn transactions(
        &self,
        list: &List,
    ) -> Result<Vec<Transaction>, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.transactions(list));
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks which of these operations the provider lists as done, by their idempotency keys; whenever it
    /// was. At most as many as a page has.
    pub(crate) async fn listed(
        &self,
        shop: &Shop,
        operation_ids: &[String],
    ) -> Result<Vec<Transaction>, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.listed(shop, operation_ids));
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks for the shops for which it has done something.
    pub(crate) async fn shops(&self) -> Result<Vec<Shop>, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.shops());
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks for the provider's own totals of a shop, by currency.
    pub(crate) async fn totals(&self, shop: &Shop) -> Result<Vec<Totals>, ProviderError> {
        let answer = timeout(self.timeout, self.simulator.totals(shop));
        answer.await.unwrap_or(Err(ProviderError::Timeout))
    }
}
