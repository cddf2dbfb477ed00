//! The questions that the payment service answers.
//!
//! The two sides of the totals are the same when nothing is pending. Amounts of all currencies are
//! added up, on both sides alike.

#[cfg(test)]
mod tests;

use engine::{Queries, QueryError, documents};
use events::id::{OrderId, PaymentId};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Payments, provider,
    store::{self, PaymentRow, Totals},
};

/// What the payment service can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A payment.
    Payment(PaymentId),
    /// The payments of an order.
    PaymentsOf(OrderId),
    /// The shop's money, by our log and by the provider's own ledger.
    Totals,
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A payment.
    Payment(PaymentRow),
    /// The payments of an order, by number.
    Payments(Vec<PaymentRow>),
    /// The shop's money.
    Totals {
        /// By our log.
        ours: Totals,
        /// By the provider's ledger.
        theirs: provider::Totals,
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
                let row = documents::get::<PaymentRow>(db, shop, payment_id).await?;
                Ok(row.map(Found::Payment))
            }
            Question::PaymentsOf(order_id) => {
                Ok(Some(Found::Payments(store::of_order(db, shop, order_id).await?)))
            }
            Question::Totals => {
                let ours = store::totals(db, shop).await?;
                let theirs = self.provider.totals(shop).await;
                let theirs = theirs.map_err(|error| QueryError::Outside(error.into()))?;
                Ok(Some(Found::Totals { ours, theirs }))
            }
        }
    }
}
