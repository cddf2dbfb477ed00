//! The questions that the payment service answers.
//!
//! The two sides of the totals are the same when nothing is pending.

#[cfg(test)]
mod tests;

use ::metrics::Gauge;
use engine::{Queries, QueryError, Revision, documents};
use events::{
    id::{OrderId, PaymentId},
    questions::first,
};
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;

use crate::{
    Payments,
    domain::{PaymentRow, TroubleKind},
    metrics, provider,
    reconcile::{Reconciliation, reconcile, unreachable},
    store::{self, PaymentPage, Totals},
};

/// What the payment service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A payment.
    Payment(PaymentId),
    /// The payments of an order.
    PaymentsOf(OrderId),
    /// A page of the payments of the shop.
    Payments(PaymentPage),
    /// The payments with an operation in that trouble, by id.
    InTrouble {
        /// The trouble.
        trouble: TroubleKind,
        /// The payment after which the page begins; empty for the first page.
        after: String,
        /// How many at most.
        limit: u32,
    },
    /// The shop's money, by our log and by the provider's own ledger.
    Totals,
    /// What the provider has done for the shop in that time, beside our log.
    Reconcile {
        /// From that time on.
        from: Timestamp,
        /// Before that time.
        until: Timestamp,
    },
    /// The shops that have payments, by name.
    Shops {
        /// The shop after which the page begins; empty for the first page.
        after: String,
        /// How many at most.
        limit: u32,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A payment, and its shop.
    Payment(String, Box<PaymentRow>),
    /// Payments.
    Payments {
        /// Each with its shop.
        payments: Vec<(String, PaymentRow)>,
        /// Whether others follow.
        has_more: bool,
    },
    /// A page of payments.
    Listed {
        /// The payments, by when they were begun.
        payments: Vec<PaymentRow>,
        /// Whether others follow.
        has_more: bool,
    },
    /// What came of a reconciliation.
    Reconciled(Reconciliation),
    /// A page of shops, by name.
    Shops(Vec<String>),
    /// The shop's money.
    Totals {
        /// By our log.
        ours: Totals,
        /// By the provider's ledger, by currency.
        theirs: Vec<provider::Totals>,
    },
}

impl Queries for Payments {
    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Payment(payment_id) => {
                if *shop == Shop::unknown() {
                    let found = store::of_any_shop(db, payment_id).await?;
                    return Ok(found.map(|(shop, row)| Found::Payment(shop, Box::new(row))));
                }
                let row = documents::get::<PaymentRow>(db, shop, payment_id).await?;
                Ok(row.map(|row| Found::Payment(shop.to_string(), Box::new(row))))
            }
            Question::PaymentsOf(order_id) => {
                let rows = store::of_order(db, shop, order_id).await?;
                let payments = rows.into_iter().map(|row| (shop.to_string(), row)).collect();
                Ok(Some(Found::Payments { payments, has_more: false }))
            }
            Question::Payments(page) => {
                let wanted = PaymentPage { limit: page.limit + 1, ..page.clone() };
                let rows = store::list(db, shop, &wanted).await?;
                let (payments, has_more) = first(rows, page.limit);
                Ok(Some(Found::Listed { payments, has_more }))
            }
            Question::InTrouble { trouble, after, limit } => {
                let rows = store::in_trouble(db, shop, trouble, &after, limit + 1).await?;
                let (payments, has_more) = first(rows, limit);
                Ok(Some(Found::Payments { payments, has_more }))
            }
            Question::Shops { after, limit } => {
                Ok(Some(Found::Shops(store::shops(db, &after, limit).await?)))
            }
            Question::Reconcile { from, until } => {
                let found = reconcile(&self.provider, db, shop, from, until).await?;
                Ok(Some(Found::Reconciled(found)))
            }
            Question::Totals => {
                let ours = store::totals(db, shop).await?;
                let theirs = self.provider.totals(shop).await;
                let theirs = theirs.map_err(unreachable)?;
                Ok(Some(Found::Totals { ours, theirs }))
            }
        }
    }

    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let row = documents::get::<PaymentRow>(db, shop, id).await?;
        Ok(row.map(|row| row.revision))
    }

    async fn count(&self, db: &AnyPool, partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        let (uncertain, stuck) = store::count_trouble(db, partition).await?;
        Ok(vec![
            (metrics::of_partition(&metrics::UNCERTAIN, partition), uncertain),
            (metrics::of_partition(&metrics::STUCK, partition), stuck),
        ])
    }
}
