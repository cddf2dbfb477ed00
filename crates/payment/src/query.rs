//! The questions that the payment service answers.
//!
//! The two sides of the totals are the same when nothing is pending. Amounts of all currencies are
//! added up, on both sides alike.

#[cfg(test)]
mod tests;

use engine::{Queries, QueryError, documents};
use events::id::OrderId;
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Payments, provider,
    store::{self, PaymentRow, Totals},
};

/// What the payment service can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The payment of an order.
    Payment(OrderId),
    /// The shop's money, by our log and by the provider's own ledger.
    Totals,
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The payment of an order.
    Payment {
        /// The order.
        order_id: OrderId,
        /// Its payment.
        row: PaymentRow,
    },
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
            Question::Payment(order_id) => {
                let row = documents::get::<PaymentRow>(db, shop, order_id).await?;
                Ok(row.map(|row| Found::Payment { order_id, row }))
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
