//! A simulated payment provider that behaves like a real one.
//!
//! It is a system of its own: its ledger is a database file that nobody else reads, it goes on
//! whatever happens to us, and several processes may connect to it at once. It sets money aside,
//! takes it (or takes it in one step), lets it go and pays it back; it keeps idempotency keys for good (the same key with the
//! same parameters gets the same answer, with other parameters an error); and it can be asked what
//! became of a key.
//!
//! What a customer pays with decides how it behaves. A payment method that does not begin with
//! `sim:`, for example `card`, is approved. Otherwise:
//!
//! | payment method | behaviour |
//! |---|---|
//! | `sim:approve` | approves |
//! | `sim:decline:<code>` | declines with that code |
//! | `sim:slow:<ms>` | approves at once, answers that much later |
//! | `sim:lost` | approves, and the answer is lost: the first call never returns |
//! | `sim:action:<n>` | asks for an action of the customer, who has done it at the `n`-th look-up; declines after 15 minutes |
//! | `sim:late:<ms>` | never answers the call, and approves that much later |
//! | `sim:error:<n>` | fails `n` times, doing nothing, before it approves |
//! | `sim:outage:<n>` | cannot be reached by the first `n` calls, queries included |
//!
//! These are about the authorisation, or the charge of a method that is taken in one step; what follows is
//! approved. `sim:charge_…`, `sim:capture_…`, `sim:void_…` and `sim:refund_…` approve what comes before and behave
//! so in that operation, for example `sim:capture_decline:expired`; with `sim:void_forget` and the like the provider has forgotten by then
//! what it authorised. Another `sim:` is declined as `invalid_payment_method`.
//!
//! How a call flows: a [`Simulator`] sends it to the one task of its process that owns the
//! connection to the ledger. That takes all calls that wait, reads what they touch, lets [`state`]
//! decide on each in its turn, writes all changes in one transaction, and then answers. So a query
//! sees everything that was sent before it.

mod authorization;
mod ledger;
mod rule;
mod state;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use protocol::{id::Shop, time::Timestamp};
use sqlx::{Connection as _, SqliteConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use self::state::{Delivery, Reply};
use crate::provider_api::{DatedAnswer, List, ProviderError, Request, Totals, Transaction};

/// Calls that wait for the ledger; callers beyond that wait.
const MAX_WAITING_CALLS: usize = 1_024;
/// The most calls in one transaction: enough to make its cost vanish, few enough to answer soon.
const MAX_BATCH_CALLS: usize = 500;

/// A connection to the simulated provider; cheap to clone. The provider's task ends with the last.
#[derive(Debug, Clone)]
pub(crate) struct Simulator {
    calls: mpsc::Sender<Call>,
    latency: Duration,
}

/// What a caller wants, and where the answer goes.
enum Call {
    Perform(Request, oneshot::Sender<Result<Reply, ProviderError>>),
    Find(Request, oneshot::Sender<Result<Option<DatedAnswer>, ProviderError>>),
    Totals(Shop, oneshot::Sender<Result<Vec<Totals>, ProviderError>>),
    List(List, oneshot::Sender<Result<Vec<Transaction>, ProviderError>>),
    Listed(Shop, Vec<String>, oneshot::Sender<Result<Vec<Transaction>, ProviderError>>),
    Shops(oneshot::Sender<Result<Vec<Shop>, ProviderError>>),
}

impl Call {
    fn request(&self) -> Option<&Request> {
        match self {
            Self::Perform(request, _) | Self::Find(request, _) => Some(request),
            Self::Totals(..) | Self::List(..) | Self::Listed(..) | Self::Shops(..) => None,
        }
    }

    /// Whether it sees what the provider does when nobody asks for it.
    fn is_report(&self) -> bool {
        matches!(self, Self::Totals(..) | Self::List(..) | Self::Listed(..))
    }
}

impl Simulator {
    /// Connects to the provider whose ledger is this file, which is made if it is not there. Each
    /// answer to an operation takes at least `latency`.
    pub(crate) async fn open(file: &Path, latency: Duration) -> Result<Self, sqlx::Error> {
        let ledger = ledger::open(file).await?;
        let (calls, queue) = mpsc::channel(MAX_WAITING_CALLS);
        tokio::spawn(work(ledger, queue));
        Ok(Self { calls, latency })
    }

    /// The provider's own clock.
    #[expect(clippy::disallowed_methods, reason = "the provider is a system of its own")]
    fn now() -> Timestamp {
        Timestamp::now()
    }

    /// Does what is asked, once for each key.
    pub(crate) async fn perform(&self, request: &Request) -> Result<DatedAnswer, ProviderError> {
        let Reply { answer, delivery } =
            self.call(|reply| Call::Perform(request.clone(), reply)).await?;
        let delay = match delivery {
            Delivery::AtOnce => self.latency,
            Delivery::Late(delay) => self.latency + delay,
            Delivery::Lost => std::future::pending().await,
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        Ok(answer)
    }

    /// Tells what became of what was asked under that key; `None` when nothing did.
    pub(crate) async fn find(
        &self,
        request: &Request,
    ) -> Result<Option<DatedAnswer>, ProviderError> {
        self.call(|reply| Call::Find(request.clone(), reply)).await
    }

    /// The totals of a shop, by currency.
    pub(crate) async fn totals(&self, shop: &Shop) -> Result<Vec<Totals>, ProviderError> {
        self.call(|reply| Call::Totals(shop.clone(), reply)).await
    }

    /// What was done for a shop, by the time when it was carried out; a page of it.
    pub(crate) async fn transactions(
        &self,
        list: &List,
    ) -> Result<Vec<Transaction>, ProviderError> {
        self.call(|reply| Call::List(list.clone(), reply)).await
    }

    /// Those of the operations of a shop that were done.
    pub(crate) async fn listed(
        &self,
        shop: &Shop,
        operation_ids: &[String],
    ) -> Result<Vec<Transaction>, ProviderError> {
        let operation_ids = operation_ids.to_vec();
        self.call(|reply| Call::Listed(shop.clone(), operation_ids, reply)).await
    }

    /// The shops for which something was done.
    pub(crate) async fn shops(&self) -> Result<Vec<Shop>, ProviderError> {
        self.call(Call::Shops).await
    }

    async fn call<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, ProviderError>>) -> Call,
    ) -> Result<T, ProviderError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| ProviderError::Unreachable)?;
        answer.await.map_err(|_| ProviderError::Failed)?
    }
}

/// Answers calls until nobody is connected any more.
async fn work(mut ledger: SqliteConnection, mut queue: mpsc::Receiver<Call>) {
    let mut calls = Vec::with_capacity(MAX_BATCH_CALLS);
    while queue.recv_many(&mut calls, MAX_BATCH_CALLS).await > 0 {
        if let Err(error) = answer(&mut ledger, &mut calls).await {
            // Dropping the calls drops their reply channels: each caller gets `ProviderError::Failed`.
            tracing::error!(%error, "the ledger of the simulated provider failed");
            calls.clear();
        }
    }
}

/// Answers what waits, in one transaction.
async fn answer(ledger: &mut SqliteConnection, calls: &mut Vec<Call>) -> Result<(), sqlx::Error> {
    // Immediate: what is read stays true until it is written, whoever else is connected.
    let mut transaction = ledger.begin_with("begin immediate").await?;
    let now = Simulator::now();
    let due = if calls.iter().any(Call::is_report) {
        ledger::due(&mut transaction, now).await?
    } else {
        vec![]
    };
    let touched = calls.iter().filter_map(Call::request).chain(&due);
    let mut state = ledger::load(&mut transaction, touched).await?;
    state.now = now;
    for request in &due {
        state.find(request).ok();
    }
    let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::with_capacity(calls.len());
    let (mut totals, mut lists) = (Vec::new(), Vec::new());
    let (mut looked_up, mut shops) = (Vec::new(), Vec::new());
    for call in calls.drain(..) {
        match call {
            Call::Perform(request, caller) => {
                let reply = state.perform(&request);
                answers.push(Box::new(move || _ = caller.send(reply)));
            }
            Call::Find(request, caller) => {
                let found = state.find(&request);
                answers.push(Box::new(move || _ = caller.send(found)));
            }
            Call::Totals(shop, caller) => totals.push((shop, caller)),
            Call::List(list, caller) => lists.push((list, caller)),
            Call::Listed(shop, ids, caller) => looked_up.push((shop, ids, caller)),
            Call::Shops(caller) => shops.push(caller),
        }
    }
    ledger::save(&mut transaction, &state).await?;
    for (shop, caller) in totals {
        let totals = ledger::totals(&mut transaction, &shop).await?;
        answers.push(Box::new(move || _ = caller.send(Ok(totals))));
    }
    for (list, caller) in lists {
        let listed = ledger::transactions(&mut transaction, &list).await?;
        answers.push(Box::new(move || _ = caller.send(Ok(listed))));
    }
    for (shop, ids, caller) in looked_up {
        let listed = ledger::listed(&mut transaction, &shop, &ids).await?;
        answers.push(Box::new(move || _ = caller.send(Ok(listed))));
    }
    for caller in shops {
        let found = ledger::shops(&mut transaction).await?;
        answers.push(Box::new(move || _ = caller.send(Ok(found))));
    }
    transaction.commit().await?;
    for answer in answers {
        answer();
    }
    Ok(())
}
