//! The questions that the payment service answers.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `payment` | `order_id` | the payment of the order, or nothing |
//! | `totals` | – | the shop's money, by our log and by the provider's own ledger |
//!
//! The two sides of `totals` are the same when nothing is pending. Amounts of all currencies are
//! added up, on both sides alike.

#[cfg(test)]
mod tests;

use engine::{Queries, QueryError, Service, documents};
use events::{id::OrderId, money::Currency, view::PaymentTotals};
use protocol::id::Shop;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::AnyPool;

use crate::{
    Payments,
    domain::{Charge, Payment},
    store::{self, PaymentRow},
};

#[derive(Deserialize)]
struct OfOrder {
    order_id: OrderId,
}

/// The payment of an order; amounts in minor units.
#[derive(Serialize)]
struct PaymentView<'a> {
    order_id: OrderId,
    status: &'a str,
    /// What the order owes; absent when the payment never began, as the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider_reference: &'a str,
    captured: i64,
    refunded: i64,
    /// Counts the events of the payment, from 1.
    version: u64,
}

impl<'a> PaymentView<'a> {
    fn new(order_id: OrderId, row: &'a PaymentRow) -> Self {
        let PaymentRow { version, payment } = row;
        let abandoned = Self {
            order_id,
            status: payment.status(),
            amount: None,
            currency: None,
            provider_reference: "",
            captured: 0,
            refunded: 0,
            version: *version,
        };
        match payment {
            Payment::Abandoned => abandoned,
            Payment::Begun(Charge { amount, provider_reference, captured, refunded, .. }) => Self {
                amount: Some(amount.minor),
                currency: Some(amount.currency),
                provider_reference,
                captured: *captured,
                refunded: *refunded,
                ..abandoned
            },
        }
    }
}

impl Queries for Payments {
    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        match name {
            "payment" => {
                let OfOrder { order_id } = serde_json::from_value(parameters)?;
                let row: Option<PaymentRow> = documents::get(db, shop, order_id).await?;
                let view = row.as_ref().map(|row| PaymentView::new(order_id, row));
                Ok(view.map(serde_json::to_value).transpose()?)
            }
            "totals" => {
                let ours = store::totals(db, shop).await?;
                let theirs = self.provider.totals(shop).await;
                let theirs = theirs.map_err(|error| QueryError::Outside(error.into()))?;
                let totals =
                    PaymentTotals { provider_net: theirs.net, provider_held: theirs.held, ..ours };
                Ok(Some(serde_json::to_value(totals)?))
            }
            _ => Err(QueryError::Unknown { service: Payments::NAME, name: name.to_owned() }),
        }
    }
}
