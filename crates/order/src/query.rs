//! The questions that this service answers, straight from the projection.
//!
//! `order {id}`, `by_reference {reference}`, `history {id}`, `totals {}`.

use engine::{QueryError, Service};
use events::id::{OrderId, Reference, Shop};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::AnyPool;

use crate::{Orders, store::view};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: OrderId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByReference {
    reference: Reference,
}

/// Answers the question `name` about a shop.
pub(crate) async fn answer(
    db: &AnyPool,
    shop: &Shop,
    name: &str,
    parameters: Value,
) -> Result<Option<Value>, QueryError> {
    match name {
        "order" => {
            let ById { id } = serde_json::from_value(parameters)?;
            json(view::order(db, shop, id).await?)
        }
        "by_reference" => {
            let ByReference { reference } = serde_json::from_value(parameters)?;
            // What a reference stands for never changes, so that two statements see one order.
            match view::order_of_reference(db, shop, &reference).await? {
                Some(id) => json(view::order(db, shop, id).await?),
                None => Ok(None),
            }
        }
        "history" => {
            let ById { id } = serde_json::from_value(parameters)?;
            let steps = view::history(db, shop, id).await?;
            json((!steps.is_empty()).then_some(steps))
        }
        "totals" => json(Some(view::totals(db, shop).await?)),
        _ => Err(QueryError::Unknown { service: Orders::NAME, name: name.to_owned() }),
    }
}

fn json(view: Option<impl Serialize>) -> Result<Option<Value>, QueryError> {
    Ok(view.map(serde_json::to_value).transpose()?)
}
