//! The questions that the payment service answers.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `payment` | `order_id` | the payment of the order, or nothing |
//! | `totals` | – | the shop's money, by our log and by the provider's own ledger |
//!
//! The two sides of `totals` are the same when nothing is pending. Amounts of all currencies are
//! added up, on both sides alike.

use engine::QueryError;
use events::{
    id::{OrderId, Shop},
    money::Currency,
    view::PaymentTotals,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::AnyPool;

use crate::{
    domain::{Charge, Payment, Row},
    provider::Provider,
    store,
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
    fn new(order_id: OrderId, row: &'a Row) -> Self {
        let version = row.version;
        match &row.payment {
            Payment::Abandoned => Self {
                order_id,
                status: store::ABANDONED,
                amount: None,
                currency: None,
                provider_reference: "",
                captured: 0,
                refunded: 0,
                version,
            },
            Payment::Begun(charge) => {
                let Charge { status, amount, provider_reference, .. } = charge;
                Self {
                    order_id,
                    status: status.as_str(),
                    amount: Some(amount.minor),
                    currency: Some(amount.currency),
                    provider_reference,
                    captured: charge.captured,
                    refunded: charge.refunded,
                    version,
                }
            }
        }
    }
}

/// Answers the question `name` about a shop; `None` when there is nothing of that name.
pub(crate) async fn answer(
    db: &AnyPool,
    provider: &Provider,
    shop: &Shop,
    name: &str,
    parameters: Value,
) -> Result<Option<Value>, QueryError> {
    match name {
        "payment" => {
            let OfOrder { order_id } = serde_json::from_value(parameters)?;
            let row = store::of_order(db, shop, order_id).await?;
            let view = row.as_ref().map(|row| PaymentView::new(order_id, row));
            Ok(view.map(serde_json::to_value).transpose()?)
        }
        "totals" => {
            let ours = store::totals(db, shop).await?;
            let theirs =
                provider.totals(shop).await.map_err(|error| QueryError::Outside(error.into()))?;
            let totals =
                PaymentTotals { provider_net: theirs.net, provider_held: theirs.held, ..ours };
            Ok(Some(serde_json::to_value(totals)?))
        }
        unknown => Err(QueryError::Unknown { service: "payment", name: unknown.to_owned() }),
    }
}
