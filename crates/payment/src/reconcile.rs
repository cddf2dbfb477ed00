//! Reconciliation: the provider's own list beside our log.
//!
//! What the provider has done and we do not know of, what we hold for done and the provider does not
//! list, and amounts that differ. Operations that are pending are no difference: they are looked up.
//! What an operator did elsewhere is not expected in the list.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use engine::QueryError;
use events::{id::PaymentId, money::Money};
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;

use crate::{
    domain::{DONE_ELSEWHERE, Operation, OperationKind, Payment, TransactionStatus},
    provider::{List, Provider, Transaction},
    store,
};

/// The most transactions of the provider that one reconciliation compares.
pub(crate) const MAX_COMPARED: usize = 200_000;
/// How many are asked for at once.
const PAGE_LENGTH: u32 = 1_000;

/// A difference between the provider's list and our log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub kind: DifferenceKind,
    /// The idempotency key.
    pub operation_id: String,
    /// The amount by the provider's list; by our log when the provider does not list it.
    pub amount: Money,
    /// The provider's name for the authorisation; empty when the provider does not list it.
    pub provider_reference: String,
}

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The provider has done what we do not know of.
    UnknownToUs,
    /// The provider does not list what we hold for done.
    UnknownToProvider,
    /// The amounts differ.
    AmountDiffers,
}

/// What came of a reconciliation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// How many transactions of the provider were compared.
    pub compared: u64,
    /// The differences, by the provider's time and then by our payments.
    pub differences: Vec<Difference>,
}

/// Compares what the provider did for a shop in that time with the shop's payments.
pub(crate) async fn reconcile(
    provider: &Provider,
    db: &AnyPool,
    shop: &Shop,
    from: Timestamp,
    until: Timestamp,
) -> Result<Reconciliation, QueryError> {
    let theirs = list(provider, shop, from, until).await?;
    let mut ours = Ours::default();
    let mut after = String::new();
    loop {
        let page = store::page(db, shop, &after, PAGE_LENGTH).await?;
        let Some(last) = page.last() else { break };
        after = last.payment.id.to_string();
        for row in page {
            ours.add(&row.payment, from, until);
        }
    }
    Ok(ours.compare(&theirs))
}

async fn list(
    provider: &Provider,
    shop: &Shop,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Transaction>, QueryError> {
    let mut all: Vec<Transaction> = Vec::new();
    let mut asked = List { shop: shop.clone(), from, until, after: None, limit: PAGE_LENGTH };
    while all.len() < MAX_COMPARED {
        let page = provider.transactions(&asked).await;
        let page = page.map_err(|error| QueryError::Outside(error.into()))?;
        let Some(last) = page.last() else { break };
        asked.after = Some((last.at, last.operation_id.clone()));
        all.extend(page);
    }
    Ok(all)
}

/// What our log says of the operations of some payments.
#[derive(Debug, Default)]
struct Ours {
    /// Those that are done: the amount. By their idempotency keys.
    done: BTreeMap<String, Done>,
    /// Those whose outcome is not known, or that an operator has settled.
    open: BTreeSet<String>,
}

/// An operation that our log has as done.
#[derive(Debug)]
struct Done {
    amount: Money,
    /// Whether it was decided in the time that is compared.
    is_in_time: bool,
}

impl Ours {
    fn add(&mut self, payment: &Payment, from: Timestamp, until: Timestamp) {
        for transaction in &payment.transactions {
            let id = transaction.operation.id(payment.id);
            let amount = payment.money(transaction.amount);
            match transaction.status {
                TransactionStatus::Done if transaction.detail == DONE_ELSEWHERE => {
                    self.open.insert(id);
                }
                TransactionStatus::Done => {
                    let time = from.millis()..until.millis();
                    let is_in_time = time.contains(&transaction.at_ms);
                    self.done.insert(id, Done { amount, is_in_time });
                }
                TransactionStatus::Pending
                | TransactionStatus::Uncertain
                | TransactionStatus::Stuck => {
                    self.open.insert(id);
                }
                TransactionStatus::Refused
                | TransactionStatus::Failed
                | TransactionStatus::GivenUp => {}
            }
        }
    }

    fn compare(mut self, theirs: &[Transaction]) -> Reconciliation {
        let mut differences = vec![];
        for transaction in theirs {
            let Transaction { operation_id, amount, provider_reference, .. } = transaction;
            let kind = match self.done.remove(operation_id) {
                Some(done) if done.amount == *amount => continue,
                Some(_) => DifferenceKind::AmountDiffers,
                None if self.open.contains(operation_id) => continue,
                None => DifferenceKind::UnknownToUs,
            };
            differences.push(Difference {
                kind,
                operation_id: operation_id.clone(),
                amount: *amount,
                provider_reference: provider_reference.clone(),
            });
        }
        let unlisted = self.done.into_iter().filter(|(_, done)| done.is_in_time);
        differences.extend(unlisted.map(|(operation_id, done)| Difference {
            kind: DifferenceKind::UnknownToProvider,
            operation_id,
            amount: done.amount,
            provider_reference: String::new(),
        }));
        Reconciliation { compared: theirs.len() as u64, differences }
    }
}

impl Difference {
    /// What is to be voided or paid back, if that mends it: what the provider has set aside or taken,
    /// and we do not know of.
    pub fn mendable(&self) -> Option<(PaymentId, Operation)> {
        let (payment_id, operation) = Operation::parse_id(&self.operation_id).ok()?;
        let takes = matches!(operation.kind, OperationKind::Authorize | OperationKind::Capture);
        (self.kind == DifferenceKind::UnknownToUs && takes).then_some((payment_id, operation))
    }
}
