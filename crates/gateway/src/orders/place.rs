//! `POST /orders`: places an order and, if the client asks for that, waits until it is paid or
//! cancelled, or waits for its customer.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::Watch;
use events::{
    http::{OrderStatus, OrderView, PaymentStatus},
    id::OrderId,
    money::{MAX_ORDER_TOTAL, Money},
    proto::{
        self,
        command::Body,
        order::{LineProblem, LineProblemCode, PlaceOrderAnswer, place_order_answer::Outcome},
    },
};
use protocol::{id::ParseError, subject::Lane};
use uuid::Uuid;

use super::{find_order, find_owner, location, new_order, pending, read};
use crate::{
    accepted::Accepted,
    api_key::Scope,
    body::JsonBytes,
    extract::RequestContext,
    fields::Path,
    openapi::bodies::NewOrder,
    problem::{Code, FieldError, Problem},
    sealing::{Owner, Part},
    services::{Answer, AnswerError, Reply},
    state::AppState,
    trace::new_id,
    view::ViewError,
};

static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Places an order.
///
/// Answers as soon as the order is placed; with `Prefer: wait` as soon as it is paid or cancelled, its
/// payment has failed, or the customer must do something. Where it is paid later, that it is confirmed
/// is enough. An order that says what it costs (`unit_price`, `discounts`, a charge below 0) needs the scope
/// `prices-as-sold`.
#[utoipa::path(
    post,
    path = "/shops/{shop}/orders",
    operation_id = "place_order",
    tag = "Orders",
    params(("Prefer" = Option<String>, Header, pattern = "^wait=[0-9]{1,9}$",
        description = "`wait=N`: waits up to N seconds, 60 at most, until the order is paid or cancelled, or its customer must do something.")),
    request_body = NewOrder,
    responses((status = 201, description = "The order is placed.", body = OrderView, headers(
        ("Location" = String, description = "Where the order is."),
        ("Preference-Applied" = String, description = "How long it may have waited."),
    ))),
    extensions(("x-problems" = json!(["reference_taken", "lines_refused", "total_out_of_range",
        "total_mismatch", "on_account_refused", "currency_refused", "country_refused", "no_person_keys"]))),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let order = read::place_order(&bytes, context.shop_facts.tax_basis)?;
    if order.has_prices() {
        context.require(Scope::PricesAsSold, "the order says what it costs")?;
    }
    let mut command = context.command(None, Body::PlaceOrder(order.command()));
    let plaintext = order.personal();
    if let Some(plaintext) = &plaintext {
        state.sealing.fingerprint(&mut command, plaintext).await?;
    }
    let id = order_id(&command, context.is_keyed());
    let personal = match &plaintext {
        Some(plaintext) => Some(seal(&state, &context, id, &order, plaintext).await?),
        None => None,
    };
    if let Some(Body::PlaceOrder(order)) = &mut command.body {
        order.order_id = id.to_string();
        order.personal = personal;
    }
    let command_id = command.id.clone();

    // The watch begins before the command is sent, so that it misses no event of the order.
    let watch = match context.wait {
        Some(_) => {
            let is_paid_later = order.is_paid_later(context.shop_facts.capture);
            Some(state.services.watch_order(&context.shop, id, is_paid_later).await?)
        }
        None => None,
    };
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending(accepted) => Ok(pending(id, accepted)),
        Reply::Answered(answer) => {
            let placing =
                Placing { state: &state, context: &context, command_id, chosen: id, order };
            Ok(answer.mark(placing.respond(&answer, watch).await))
        }
    }
}

/// Seals what is personal in a new order. The request may be a repeated one: when its order was placed
/// before and the person was erased since, what was erased does not come back by it.
async fn seal(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
    order: &new_order::NewOrder,
    plaintext: &[u8],
) -> Result<proto::Sealed, Problem> {
    let (sealing, shop) = (&state.sealing, &context.shop);
    let customer_id = order.customer_id().cloned();
    let mut owner = Owner { order_id: id, customer_id, placed_at: None };
    if context.is_keyed()
        && sealing.last_erasure(shop, &owner).await?.is_some()
        && let Some(placed) = find_owner(state, context, id).await?
    {
        owner.placed_at = placed.placed_at;
    }
    sealing.seal(shop, &owner, Part::Personal, plaintext).await
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
    order: new_order::NewOrder,
}

impl Placing<'_> {
    async fn respond(
        &self,
        answer: &Answer<PlaceOrderAnswer>,
        watch: Option<Watch>,
    ) -> Result<Response, Problem> {
        match answer.body.outcome.as_ref().ok_or(AnswerError::Unknown)? {
            Outcome::Placed(placed) => {
                let id = parsed(OrderId::parse(&placed.order_id))?;
                let shown = parsed(self.order.placed(placed))?;
                Ok(self.placed(id, answer, shown, watch).await)
            }
            Outcome::PlacedBefore(before) => {
                let id = parsed(OrderId::parse(&before.order_id))?;
                Ok(self.placed(id, answer, None, watch).await)
            }
            Outcome::ReferenceTaken(taken) => {
                let id = parsed(OrderId::parse(&taken.order_id))?;
                let detail = "another order of the shop has this reference: use a different one";
                let error = FieldError::of_member("reference", detail);
                Err(Problem::new(Code::ReferenceTaken, detail)
                    .naming(vec![error])
                    .with("order_id", id.to_string())
                    .at(&location(&self.context.shop, id)))
            }
            Outcome::Refused(refused) => Err(lines_refused(&refused.problems)),
            Outcome::TotalOutOfRange(_) => {
                let detail = format!("the sum of lines and charges must be 0 to {MAX_ORDER_TOTAL}");
                let errors =
                    ["lines", "charges"].map(|field| FieldError::of_member(field, &*detail));
                Err(Problem::new(Code::TotalOutOfRange, detail).naming(errors.into()))
            }
            Outcome::TotalMismatch(mismatch) => {
                let expected = parsed(Money::parse(mismatch.expected.as_ref()))?;
                let total = parsed(Money::parse(mismatch.total.as_ref()))?;
                let detail =
                    "show the buyer the total, and send the order with it as expected_total";
                let error = FieldError::of_member("expected_total", detail);
                Err(Problem::new(Code::TotalMismatch, detail)
                    .naming(vec![error])
                    .with("expected_total", expected.minor)
                    .with("total", total.minor)
                    .with("currency", total.currency.as_str()))
            }
            Outcome::OnAccountRefused(_) => {
                let detail = "the shop sells nothing on account: use another payment method";
                let error = FieldError::of_member("payment_method", detail);
                Err(Problem::new(Code::OnAccountRefused, detail).naming(vec![error]))
            }
            Outcome::CurrencyRefused(refused) => {
                let currency = &refused.currency;
                let detail = format!("the shop sells in {currency}: send the order in it");
                let error = FieldError::of_member("currency", &*detail);
                Err(Problem::new(Code::CurrencyRefused, detail)
                    .naming(vec![error])
                    .with("currency", currency.as_str()))
            }
            Outcome::CountryRefused(_) => {
                let detail = "the shop does not sell to this country: its settings name those";
                let error = FieldError::of_member("country", detail);
                Err(Problem::new(Code::CountryRefused, detail).naming(vec![error]))
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
        placed: Option<OrderView>,
        watch: Option<Watch>,
    ) -> Response {
        let shop = &self.context.shop;
        let shown = match (watch, self.context.wait, placed) {
            (Some(watch), Some(wait), _) => self.settled(id, answer, watch, wait).await,
            (_, _, Some(placed)) if !answer.replayed => Ok(Some(placed)),
            _ => find_order(self.state, self.context, id).await,
        };
        let Ok(Some(order)) = shown else {
            tracing::warn!(order.id = %id, "an order is placed and cannot be read yet");
            return pending(id, Accepted::new(shop, "order", self.command_id.clone()));
        };
        let location = [(header::LOCATION, location(shop, id))];
        let preference = self.context.wait.and_then(preference_applied);
        (StatusCode::CREATED, location, preference, Json(order)).into_response()
    }

    /// The order once it is settled or waits for its customer, or as it is when the wait is over.
    async fn settled(
        &self,
        id: OrderId,
        answer: &Answer<PlaceOrderAnswer>,
        watch: Watch,
        wait: Duration,
    ) -> Result<Option<OrderView>, Problem> {
        let Self { state, context, chosen, .. } = self;
        let is_paid_later = self.order.is_paid_later(context.shop_facts.capture);
        let watch = if id == *chosen {
            watch
        } else {
            state.services.watch_order(&context.shop, id, is_paid_later).await?
        };
        let is_settled = |order: &OrderView| {
            let waits = [PaymentStatus::Failed, PaymentStatus::ActionRequired];
            order.is_settled()
                || waits.iter().any(|waiting| order.payment_status == *waiting)
                || is_paid_later && order.status == OrderStatus::Confirmed
        };
        if !is_new(answer) {
            // Its final event may have come before the watch began.
            let order = find_order(state, context, id).await?;
            if order.as_ref().is_some_and(is_settled) {
                return Ok(order);
            }
        }
        let rest = wait.saturating_sub(context.received.elapsed());
        let final_event = tokio::select! {
            sequence = watch.wait(rest) => sequence,
            () = state.shutdown.cancelled() => None,
        };
        if let Some(sequence) = final_event {
            context.seen.note("order", state.services.partition(&context.shop), sequence);
        }
        find_order(state, context, id).await
    }
}

/// Whether the order was placed by this very request, so that its events are yet to come.
fn is_new(answer: &Answer<PlaceOrderAnswer>) -> bool {
    !answer.replayed && matches!(answer.body.outcome, Some(Outcome::Placed(_)))
}

/// The header that says for how long at most the response was delayed (RFC 7240).
fn preference_applied(wait: Duration) -> Option<[(HeaderName, HeaderValue); 1]> {
    let value = format!("wait={}", wait.as_secs());
    Some([(PREFERENCE_APPLIED.clone(), HeaderValue::from_str(&value).ok()?)])
}

/// A value of an answer. A service that writes another one is broken.
fn parsed<T>(value: Result<T, ParseError>) -> Result<T, Problem> {
    value.map_err(|error| ViewError::from(error).into())
}

fn lines_refused(problems: &[LineProblem]) -> Problem {
    let errors = problems.iter().map(line_error).collect();
    let detail = "correct the lines that errors names, or update their products";
    Problem::new(Code::LinesRefused, detail).naming(errors)
}

fn line_error(problem: &LineProblem) -> FieldError {
    let LineProblem { line, sku, .. } = problem;
    let detail = match problem.code() {
        LineProblemCode::UnknownSku => format!("the catalogue has no product {sku}"),
        LineProblemCode::Discontinued => format!("{sku} is no longer sold"),
        LineProblemCode::OtherCurrency => {
            format!("the price of {sku} is in another currency than the order")
        }
        LineProblemCode::OtherTaxBasis => {
            format!("the price of {sku} is on another tax_basis than the order")
        }
        LineProblemCode::DiscountTooLarge => {
            format!("the discounts of {sku} are more than the line costs")
        }
        LineProblemCode::TaxMismatch => {
            format!("the amount of the tax of {sku} does not follow from its rate")
        }
        LineProblemCode::Unspecified => format!("{sku} cannot be sold"),
    };
    let lines = Path::Member(&Path::BODY, "lines");
    let line = Path::Item(&lines, *line as usize);
    let field = match problem.code() {
        LineProblemCode::DiscountTooLarge => "discounts",
        LineProblemCode::TaxMismatch => {
            return FieldError::at(&Path::Member(&Path::Member(&line, "tax"), "amount"), detail);
        }
        LineProblemCode::UnknownSku
        | LineProblemCode::Discontinued
        | LineProblemCode::OtherCurrency
        | LineProblemCode::OtherTaxBasis
        | LineProblemCode::Unspecified => "sku",
    };
    FieldError::at(&Path::Member(&line, field), detail)
}

#[cfg(test)]
mod tests {
    use events::proto::order::place_order_answer::{Placed, PlacedBefore};

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
    fn an_order_that_was_placed_before_is_not_new() {
        let answer = |outcome, replayed| Answer {
            body: PlaceOrderAnswer { outcome: Some(outcome) },
            replayed,
        };
        let placed = || Outcome::Placed(Placed::default());
        // Nobody remembers the answer any more, so that it is not said again.
        let placed_before = Outcome::PlacedBefore(PlacedBefore::default());
        assert!(is_new(&answer(placed(), false)));
        assert!(!is_new(&answer(placed(), true)));
        assert!(!is_new(&answer(placed_before, false)));
    }

    #[test]
    fn each_refused_line_is_named() {
        let problem = |line, code: LineProblemCode| LineProblem {
            line,
            sku: "A".to_owned(),
            code: code.into(),
        };
        let error = |line, code| line_error(&problem(line, code));
        assert_eq!(error(0, LineProblemCode::UnknownSku).field, "lines[0].sku");
        assert_eq!(error(7, LineProblemCode::Discontinued).field, "lines[7].sku");
        assert_eq!(error(7, LineProblemCode::Discontinued).detail, "A is no longer sold");
        assert_eq!(error(7, LineProblemCode::TaxMismatch).field, "lines[7].tax.amount");
        assert_eq!(error(7, LineProblemCode::DiscountTooLarge).field, "lines[7].discounts");
        assert_eq!(
            error(1, LineProblemCode::OtherCurrency).detail,
            "the price of A is in another currency than the order"
        );
    }
}
