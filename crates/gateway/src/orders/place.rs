//! `POST /orders`: places an order and, if the client asks for that, waits until it is paid or
//! cancelled.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::Watch;
use events::{
    answer::{LineProblem, LineProblemCode, PlaceOrderAnswer},
    id::{CustomerId, OrderId, Quantity, Reference, Sku},
    money::{MAX_ORDER_TOTAL, Money},
    proto::{self, command::Body},
    view::{Charge, OrderLine, OrderStatus, OrderView},
};
use protocol::{subject::Lane, time::Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::{location, pending, read, view};
use crate::{
    body::JsonBytes,
    extract::RequestContext,
    problem::{Code, FieldError, Problem},
    services::{Answer, Reply},
    state::AppState,
    trace::new_id,
};

static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `POST /orders`.
///
/// Answers as soon as the order is placed; with `Prefer: wait` as soon as it is paid or cancelled.
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let order = read::place_order(&bytes)?;
    let mut command = context.command(None, &bytes, Body::PlaceOrder(order.clone()));
    let id = order_id(&command, context.is_keyed());
    if let Some(Body::PlaceOrder(order)) = &mut command.body {
        order.order_id = id.to_string();
    }
    let command_id = command.id.clone();

    // The watch begins before the command is sent, so that it misses no event of the order.
    let watch = match context.wait {
        Some(_) => Some(state.services.watch_order(&context.shop, id).await?),
        None => None,
    };
    match state.services.send(Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending => Ok(pending(&context.shop, id, &command_id)),
        Reply::Answered(answer) => {
            let placing =
                Placing { state: &state, context: &context, command_id, chosen: id, order };
            Ok(answer.mark(placing.respond(&answer, watch).await))
        }
    }
}

/// The id of a new order. The same request under the same idempotency key gets the same id, even
/// when the response to the first one was lost.
fn order_id(command: &proto::Command, is_keyed: bool) -> OrderId {
    if !is_keyed {
        return OrderId(new_id());
    }
    let name = format!("tradewind:order:{}:{}", command.id, command.fingerprint);
    OrderId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
}

/// A command whose answer from the order service has come.
struct Placing<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    command_id: String,
    /// The id that this request chose for the order.
    chosen: OrderId,
    /// The order as the client requested it.
    order: proto::order::PlaceOrder,
}

impl Placing<'_> {
    async fn respond(
        &self,
        answer: &Answer<PlaceOrderAnswer>,
        watch: Option<Watch>,
    ) -> Result<Response, Problem> {
        match &answer.body {
            PlaceOrderAnswer::Placed { order_id, total, unit_prices, placed_at } => {
                let placed = placed_view(&self.order, *order_id, *total, unit_prices, *placed_at);
                Ok(self.placed(*order_id, answer, placed, watch).await)
            }
            PlaceOrderAnswer::PlacedBefore { order_id } => {
                Ok(self.placed(*order_id, answer, None, watch).await)
            }
            PlaceOrderAnswer::ReferenceTaken { order_id } => {
                let detail = "another order of the shop has this reference: use a different one";
                let error = FieldError { field: "reference".to_owned(), detail: detail.to_owned() };
                Err(Problem::new(Code::ReferenceTaken, detail)
                    .naming(vec![error])
                    .with("order_id", order_id.to_string())
                    .at(&location(&self.context.shop, *order_id)))
            }
            PlaceOrderAnswer::Refused { problems } => Err(refused(problems)),
            PlaceOrderAnswer::TotalOutOfRange => {
                let detail = format!("the sum of lines and charges must be 0 to {MAX_ORDER_TOTAL}");
                let errors = ["lines", "charges"]
                    .map(|field| FieldError { field: field.to_owned(), detail: detail.clone() });
                Err(Problem::new(Code::TotalOutOfRange, detail).naming(errors.into()))
            }
        }
    }

    /// Responds with the order. The order is placed whatever happens here, so this does not fail:
    /// if the order cannot be read, the response is 202 with its location. An order that was placed
    /// just now has the status `placed`, and need not be read.
    async fn placed(
        &self,
        id: OrderId,
        answer: &Answer<PlaceOrderAnswer>,
        placed: Option<Value>,
        watch: Option<Watch>,
    ) -> Response {
        let shop = &self.context.shop;
        let shown = match (watch, self.context.wait, placed) {
            (Some(watch), Some(wait), _) => self.settled(id, answer, watch, wait).await,
            (_, _, Some(placed)) if !answer.replayed => Ok(Some(placed)),
            _ => view(self.state, shop, id, answer.sequence).await,
        };
        let Ok(Some(order)) = shown else {
            tracing::warn!(order.id = %id, "an order is placed and cannot be read yet");
            return pending(shop, id, &self.command_id);
        };
        let location = [(header::LOCATION, location(shop, id))];
        let preference = self.context.wait.and_then(preference_applied);
        (StatusCode::CREATED, location, preference, Json(order)).into_response()
    }

    /// The order once it is paid or cancelled, or as it is when the wait is over.
    async fn settled(
        &self,
        id: OrderId,
        answer: &Answer<PlaceOrderAnswer>,
        watch: Watch,
        wait: Duration,
    ) -> Result<Option<Value>, Problem> {
        let Self { state, context, chosen, .. } = self;
        let watch = if id == *chosen {
            watch
        } else {
            state.services.watch_order(&context.shop, id).await?
        };
        if answer.replayed {
            // Its final event may have come before the watch began.
            let order = view(state, &context.shop, id, answer.sequence).await?;
            if order.as_ref().is_some_and(is_final) {
                return Ok(order);
            }
        }
        let rest = wait.saturating_sub(context.received.elapsed());
        let final_event = tokio::select! {
            sequence = watch.wait(rest) => sequence,
            () = state.shutdown.cancelled() => None,
        };
        view(state, &context.shop, id, final_event.unwrap_or(answer.sequence)).await
    }
}

/// The header that says for how long at most the response was delayed (RFC 7240).
fn preference_applied(wait: Duration) -> Option<[(HeaderName, HeaderValue); 1]> {
    let value = format!("wait={}", wait.as_secs());
    Some([(PREFERENCE_APPLIED.clone(), HeaderValue::from_str(&value).ok()?)])
}

/// An order that has just been placed: the request, with what the order service decided. `None` when
/// the two do not match; then the order has to be read.
fn placed_view(
    order: &proto::order::PlaceOrder,
    id: OrderId,
    total: Money,
    unit_prices: &[i64],
    placed_at: Timestamp,
) -> Option<Value> {
    if order.lines.len() != unit_prices.len() {
        return None;
    }
    let line = |(line, unit_price): (&proto::order::RequestedLine, &i64)| {
        let sku = Sku::parse(&line.sku).ok()?;
        let quantity = Quantity::parse(line.quantity).ok()?;
        Some(OrderLine { sku, quantity, unit_price: *unit_price })
    };
    let charge =
        |charge: &proto::order::Charge| Charge { code: charge.code.clone(), amount: charge.amount };
    let view = OrderView {
        id,
        reference: Reference::parse(&order.reference).ok(),
        status: OrderStatus::Placed,
        customer_id: CustomerId::parse(&order.customer_id).ok(),
        country: order.country.clone(),
        lines: order.lines.iter().zip(unit_prices).map(line).collect::<Option<_>>()?,
        charges: order.charges.iter().map(charge).collect(),
        total: total.minor,
        currency: total.currency,
        cancellation: None,
        placed_at,
        updated_at: placed_at,
        version: 1,
    };
    serde_json::to_value(view).ok()
}

fn is_final(order: &Value) -> bool {
    let status = order.get("status").and_then(Value::as_str).and_then(OrderStatus::parse);
    status.is_some_and(OrderStatus::is_final)
}

fn refused(problems: &[LineProblem]) -> Problem {
    let errors = problems.iter().map(line_error).collect();
    let detail = "correct the lines that errors names, or update their products";
    Problem::new(Code::LinesRefused, detail).naming(errors)
}

fn line_error(problem: &LineProblem) -> FieldError {
    let LineProblem { line, sku, code } = problem;
    let detail = match code {
        LineProblemCode::UnknownSku => format!("the catalogue has no product {sku}"),
        LineProblemCode::Discontinued => format!("{sku} is no longer sold"),
        LineProblemCode::OtherCurrency => {
            format!("the price of {sku} is in another currency than the order")
        }
    };
    FieldError { field: format!("lines[{line}].sku"), detail }
}

#[cfg(test)]
mod tests {
    use events::money::Currency;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_keyed_request_has_the_same_order_id() {
        let command = |id: &str, fingerprint: &str| proto::Command {
            id: id.to_owned(),
            fingerprint: fingerprint.to_owned(),
            ..Default::default()
        };
        let keyed = |id, fingerprint| order_id(&command(id, fingerprint), true);
        assert_eq!(keyed("1", "a"), keyed("1", "a"));
        assert_ne!(keyed("1", "a"), keyed("2", "a"));
        assert_ne!(keyed("1", "a"), keyed("1", "b"));
        assert_ne!(order_id(&command("1", "a"), false), order_id(&command("1", "a"), false));
    }

    #[test]
    fn an_order_that_was_just_placed_is_the_request_with_its_prices() {
        let order = proto::order::PlaceOrder {
            reference: "PO 1".to_owned(),
            country: "France".to_owned(),
            currency: "GBP".to_owned(),
            lines: vec![proto::order::RequestedLine {
                sku: "A".to_owned(),
                quantity: 2,
                unit_price: None,
            }],
            charges: vec![proto::order::Charge { code: "POST".to_owned(), amount: 300 }],
            payment_method: "card".to_owned(),
            ..Default::default()
        };
        let id = OrderId::parse("0197b0a1-0000-7000-8000-000000000001").expect("is a UUID");
        let total = Money { minor: 800, currency: Currency::parse("GBP").expect("is one") };
        let placed_at = Timestamp::from_millis(1_300_000_000_001);
        let shown = |unit_prices| placed_view(&order, id, total, unit_prices, placed_at);
        let expected = json!({
            "id": id,
            "reference": "PO 1",
            "status": "placed",
            "country": "France",
            "lines": [{"sku": "A", "quantity": 2, "unit_price": 250}],
            "charges": [{"code": "POST", "amount": 300}],
            "total": 800,
            "currency": "GBP",
            "placed_at": "2011-03-13T07:06:40.001Z",
            "updated_at": "2011-03-13T07:06:40.001Z",
            "version": 1,
        });
        assert_eq!(shown(&[250]), Some(expected));
        assert_eq!(shown(&[250, 1]), None, "other prices than lines");
    }

    #[test]
    fn each_refused_line_is_named() {
        let problem = |line, code| LineProblem { line, sku: Sku::parse("A").unwrap(), code };
        let error = |line, code| line_error(&problem(line, code));
        assert_eq!(error(0, LineProblemCode::UnknownSku).field, "lines[0].sku");
        assert_eq!(error(7, LineProblemCode::Discontinued).field, "lines[7].sku");
        assert_eq!(error(7, LineProblemCode::Discontinued).detail, "A is no longer sold");
        assert_eq!(
            error(1, LineProblemCode::OtherCurrency).detail,
            "the price of A is in another currency than the order"
        );
    }

    #[test]
    fn paid_and_cancelled_are_final() {
        for status in OrderStatus::ALL {
            assert_eq!(is_final(&json!({"status": status})), status.is_final(), "{status:?}");
        }
        assert!(!is_final(&json!({})));
    }
}
