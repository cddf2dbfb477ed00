//! Reconciliation: the provider's own list beside our log.
//!
//! What the provider has done and we do not know of, what we hold for done and the provider does not
//! list, and amounts that differ. The time of a transaction is that when it was carried out, by the
//! provider's clock, and that when we learned of it, by ours. Operations that are pending are no difference:
//! they are looked up. What an operator did elsewhere is not expected in the list; what he has given up is,
//! if the provider has done it after all.
//!
//! One comparison holds at most [`MAX_COMPARED`] transactions of each side. Where there are more it ends at
//! an earlier time, and the next one begins there.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use engine::{QueryError, documents};
use events::money::Money;
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;

use crate::{
    domain::{
        DONE_ELSEWHERE, DifferenceKind, GIVEN_UP, Operation, Payment, PaymentRow,
        Transaction as OurTransaction, TransactionStatus,
    },
    provider::{List, Provider, ProviderError, Transaction},
    store,
};

/// The most transactions of each side that one comparison holds.
pub(crate) const MAX_COMPARED: usize = 50_000;
/// How many are asked for at once.
const PAGE_LENGTH: usize = 1_000;

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
    /// When it was carried out, if the provider lists it.
    pub occurred_at: Option<Timestamp>,
}

/// What came of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// How many transactions of the provider were compared.
    pub compared: u64,
    /// The differences, by the provider's time and then by our payments.
    pub differences: Vec<Difference>,
    /// Before which time was compared: earlier than asked for when there was more than fits.
    pub until: Timestamp,
}

/// Compares what the provider did for a shop in that time with the shop's payments.
pub(crate) async fn reconcile(
    provider: &Provider,
    db: &AnyPool,
    shop: &Shop,
    from: Timestamp,
    until: Timestamp,
) -> Result<Reconciliation, QueryError> {
    let mut comparison = Comparison::new(from, until, MAX_COMPARED);
    list(provider, shop, &mut comparison).await?;
    let mut after = String::new();
    loop {
        let page = store::changed_since(db, shop, from, &after, PAGE_LENGTH as u32).await?;
        let Some(last) = page.last() else { break };
        after = last.payment.id.to_string();
        for row in page {
            comparison.add_ours(&row.payment);
        }
    }
    // What has not changed since can only be compared with what the provider lists.
    for operation_id in comparison.unmatched() {
        let Ok((payment_id, _)) = Operation::parse_id(&operation_id) else { continue };
        if let Some(row) = documents::get::<PaymentRow>(db, shop, payment_id).await? {
            comparison.add_ours(&row.payment);
        }
    }
    let unlisted = comparison.unlisted();
    for ids in unlisted.chunks(PAGE_LENGTH) {
        for transaction in provider.listed(shop, ids).await.map_err(unreachable)? {
            comparison.add_listed(transaction);
        }
    }
    Ok(comparison.finish())
}

/// Reads the provider's list.
async fn list(
    provider: &Provider,
    shop: &Shop,
    comparison: &mut Comparison,
) -> Result<(), QueryError> {
    let Comparison { from, until, .. } = *comparison;
    let limit = PAGE_LENGTH as u32;
    let mut asked = List { shop: shop.clone(), from, until, after: None, limit };
    while !comparison.is_full() {
        let page = provider.transactions(&asked).await.map_err(unreachable)?;
        let Some(last) = page.last() else { break };
        asked.after = Some((last.at, last.operation_id.clone()));
        for transaction in page {
            comparison.add_theirs(transaction);
        }
    }
    Ok(())
}

/// That the provider does not answer is no failure of ours.
pub(crate) fn unreachable(error: ProviderError) -> QueryError {
    let system = format!("the payment provider {}", Provider::NAME);
    QueryError::Unreachable { system, source: error.into() }
}

/// Both sides of a comparison.
#[derive(Debug)]
struct Comparison {
    from: Timestamp,
    until: Timestamp,
    limit: usize,
    /// What the provider lists in that time, in its order.
    theirs: Vec<Transaction>,
    /// What our log says of what either lists, by idempotency keys.
    ours: BTreeMap<String, Ours>,
    /// What the provider listed in that time, or at another one when it was asked for it.
    listed: BTreeMap<String, Transaction>,
}

/// An operation of our log.
#[derive(Debug, Clone, Copy)]
struct Ours {
    state: OurState,
    amount: Money,
    /// When its outcome became known.
    ended_at: Option<Timestamp>,
}

/// What a difference of an operation may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OurState {
    /// The provider did it.
    Done,
    /// Its outcome is not known, or an operator did it elsewhere.
    Open,
    /// The provider said that it did not.
    NotDone,
    /// An operator has given it up, whatever the provider did.
    GivenUp,
}

impl Comparison {
    fn new(from: Timestamp, until: Timestamp, limit: usize) -> Self {
        let (theirs, ours, listed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { from, until, limit, theirs, ours, listed }
    }

    /// Whether there is no room for more of the provider's list. It ends between two times.
    fn is_full(&mut self) -> bool {
        let Some(next) = self.theirs.get(self.limit) else { return false };
        let (next, first) = (next.at, self.theirs.first().map(|it| it.at));
        if first == Some(next) {
            return false;
        }
        self.end_at(next);
        true
    }

    /// Compares no more than what is before that time.
    fn end_at(&mut self, until: Timestamp) {
        let until = until.min(self.until);
        self.until = until;
        self.theirs.retain(|it| it.at < until);
    }

    fn add_theirs(&mut self, transaction: Transaction) {
        self.listed.insert(transaction.operation_id.clone(), transaction.clone());
        self.theirs.push(transaction);
    }

    /// Takes what the provider lists at another time.
    fn add_listed(&mut self, transaction: Transaction) {
        self.listed.insert(transaction.operation_id.clone(), transaction);
    }

    /// Takes those operations of a payment that are compared.
    fn add_ours(&mut self, payment: &Payment) {
        for transaction in &payment.transactions {
            let id = transaction.operation.id(payment.id);
            let ours = Ours {
                state: OurState::of(transaction),
                amount: payment.money(transaction.amount),
                ended_at: transaction.ended_at_ms.map(Timestamp::from_millis),
            };
            if self.listed.contains_key(&id) || self.is_looked_up(&ours) {
                self.ours.insert(id, ours);
            }
        }
        if self.ours.len() > 2 * self.limit {
            self.drop_late_ours();
        }
    }

    /// Whether the provider should list it, or may though we do not expect it, and it is not in the list.
    fn is_looked_up(&self, ours: &Ours) -> bool {
        let is_in_time = ours.ended_at.is_some_and(|at| self.from <= at && at < self.until);
        is_in_time && matches!(ours.state, OurState::Done | OurState::GivenUp)
    }

    /// Ends the comparison where ours would be too many.
    fn drop_late_ours(&mut self) {
        let ended = self.ours.values().filter(|it| self.is_looked_up(it));
        let mut ended: Vec<_> = ended.filter_map(|ours| ours.ended_at).collect();
        ended.sort_unstable();
        let Some(next) = ended.get(self.limit) else { return };
        if ended.first() == Some(next) {
            return;
        }
        self.end_at(*next);
        let mut ours = std::mem::take(&mut self.ours);
        let in_list: BTreeSet<_> = self.theirs.iter().map(|it| &it.operation_id).collect();
        ours.retain(|id, it| in_list.contains(id) || self.is_looked_up(it));
        self.ours = ours;
    }

    /// What the provider lists and no payment of ours has said anything of.
    fn unmatched(&self) -> Vec<String> {
        let ids = self.theirs.iter().map(|it| &it.operation_id);
        ids.filter(|id| !self.ours.contains_key(*id)).cloned().collect()
    }

    /// What the provider did not list in that time and is to be asked for.
    fn unlisted(&self) -> Vec<String> {
        let looked_up = self.ours.iter().filter(|(_, ours)| self.is_looked_up(ours));
        let ids = looked_up.map(|(id, _)| id);
        ids.filter(|id| !self.listed.contains_key(*id)).cloned().collect()
    }

    fn finish(self) -> Reconciliation {
        let mut differences: Vec<_> =
            self.theirs.iter().filter_map(|it| self.of_theirs(it)).collect();
        differences.extend(self.ours.iter().filter_map(|(id, ours)| self.of_ours(id, ours)));
        Reconciliation { compared: self.theirs.len() as u64, differences, until: self.until }
    }

    fn of_theirs(&self, listed: &Transaction) -> Option<Difference> {
        let ours = self.ours.get(&listed.operation_id);
        let kind = match ours.map(|ours| ours.state) {
            Some(OurState::Open) => return None,
            Some(OurState::Done) if ours.is_some_and(|it| it.amount == listed.amount) => {
                return None;
            }
            Some(OurState::Done) => DifferenceKind::AmountDiffers,
            Some(OurState::NotDone | OurState::GivenUp) | None => DifferenceKind::UnknownToUs,
        };
        Some(Difference::listed(kind, listed))
    }

    /// What the provider did not list in that time.
    fn of_ours(&self, operation_id: &str, ours: &Ours) -> Option<Difference> {
        if !self.is_looked_up(ours) {
            return None;
        }
        match (ours.state, self.listed.get(operation_id)) {
            // Listed at another time: compared there, but for what was still open then.
            (OurState::GivenUp, Some(listed)) => {
                let is_in_list = (self.from..self.until).contains(&listed.at);
                (!is_in_list).then(|| Difference::listed(DifferenceKind::UnknownToUs, listed))
            }
            (OurState::Done, None) => Some(Difference {
                kind: DifferenceKind::UnknownToProvider,
                operation_id: operation_id.to_owned(),
                amount: ours.amount,
                provider_reference: String::new(),
                occurred_at: None,
            }),
            (OurState::Done | OurState::Open | OurState::NotDone, Some(_))
            | (OurState::Open | OurState::NotDone | OurState::GivenUp, None) => None,
        }
    }
}

impl OurState {
    fn of(transaction: &OurTransaction) -> Self {
        let detail = &*transaction.detail;
        match transaction.status {
            TransactionStatus::Done if detail == DONE_ELSEWHERE => Self::Open,
            TransactionStatus::Done => Self::Done,
            TransactionStatus::Pending
            | TransactionStatus::Uncertain
            | TransactionStatus::Stuck => Self::Open,
            TransactionStatus::Refused | TransactionStatus::Failed if detail == GIVEN_UP => {
                Self::GivenUp
            }
            TransactionStatus::Refused | TransactionStatus::Failed => Self::NotDone,
            TransactionStatus::GivenUp => Self::GivenUp,
        }
    }
}

impl Difference {
    fn listed(kind: DifferenceKind, listed: &Transaction) -> Self {
        Self {
            kind,
            operation_id: listed.operation_id.clone(),
            amount: listed.amount,
            provider_reference: listed.provider_reference.clone(),
            occurred_at: Some(listed.at),
        }
    }

    /// Whether it is mended by voiding or paying back: what the provider has set aside or taken, and we do
    /// not know of.
    pub fn is_mendable(&self) -> bool {
        let operation = Operation::parse_id(&self.operation_id);
        self.kind == DifferenceKind::UnknownToUs
            && operation.is_ok_and(|(_, operation)| operation.is_given_back())
    }
}
