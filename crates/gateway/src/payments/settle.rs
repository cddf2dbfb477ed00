//! `POST /payments/{payment_id}/settle`: an operator settles what does not come to an end by itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use events::{
    id::PaymentId,
    proto::{
        command::Body,
        payment::{
            self, GetPayment, SettlePayment, SettlePaymentAnswer, settle_payment_answer::Outcome,
        },
    },
};
use protocol::{id::ParseError, subject::Lane};

use super::PaymentPath;
use crate::{
    body::JsonBytes,
    extract::RequestContext,
    fields::{self, named, object, text, words},
    openapi::bodies::NewSettlement,
    problem::{Code, Problem},
    services::{AnswerError, Reply},
    state::AppState,
    view,
};

/// The longest reason, in characters.
const MAX_REASON_LENGTH: usize = 500;
/// The longest name of an operator, in characters.
const MAX_OPERATOR_LENGTH: usize = 100;

/// Settles what an operator has to decide about a payment.
///
/// That is an operation that is uncertain or stuck, or a difference between the provider's list and the log.
/// Who sends it, who decides, and why stay in the history of the payment.
#[utoipa::path(
    post,
    path = "/shops/{shop}/payments/{payment_id}/settle",
    operation_id = "settle_payment",
    tag = "Payments",
    request_body = NewSettlement,
    responses((status = 200, description = "The payment as it is now.", body = events::http::PaymentView)),
    extensions(("x-problems" = json!(["not_found", "not_stuck", "resolution_not_applicable"]))),
)]
pub(crate) async fn settle(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    PaymentPath(id): PaymentPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let settle = SettlePayment { payment_id: id.to_string(), ..read(&bytes)? };
    let command = context.command(None, Body::SettlePayment(settle));
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending(accepted) => Ok(accepted.into_response()),
        Reply::Answered(answer) => {
            let settled = match refused(id, &answer.body) {
                Ok(()) => shown(&state, &context, id).await,
                Err(problem) => Err(problem),
            };
            Ok(answer.mark(settled))
        }
    }
}

async fn shown(
    state: &AppState,
    context: &RequestContext,
    id: PaymentId,
) -> Result<Response, Problem> {
    let question = GetPayment { payment_id: id.to_string() };
    let payment = state.services.query(context, question).await?;
    let payment = payment.map(view::payment).transpose()?;
    let payment = payment.ok_or_else(|| Problem::not_found("payment", &id.to_string()))?;
    Ok(Json(payment).into_response())
}

fn refused(id: PaymentId, answer: &SettlePaymentAnswer) -> Result<(), Problem> {
    match answer.outcome.as_ref().ok_or(AnswerError::Unknown)? {
        Outcome::Settled(_) => Ok(()),
        Outcome::NotFound(_) => Err(Problem::not_found("payment", &id.to_string())),
        Outcome::NotStuck(_) => {
            let detail =
                "no operation of the payment is uncertain or stuck: there is nothing to settle";
            Err(Problem::new(Code::NotStuck, detail))
        }
        Outcome::NotApplicable(_) => {
            let detail = "an authorisation that is uncertain or stuck takes retry or give_up; a difference between \
                          the provider's list and the log takes done_elsewhere";
            Err(Problem::new(Code::ResolutionNotApplicable, detail))
        }
    }
}

/// Reads a settlement. The payment is left empty.
fn read(bytes: &[u8]) -> Result<SettlePayment, Problem> {
    fields::body(bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let resolution = fields.required("resolution", text(resolution));
            let reason = fields.required("reason", text(reason));
            let operator = fields.optional("operator", text(operator));
            Some(SettlePayment {
                resolution: resolution?.into(),
                reason: reason?,
                operator: operator.unwrap_or_default(),
                ..Default::default()
            })
        })
    })
}

fn resolution(name: &str) -> Result<payment::Resolution, ParseError> {
    named("RESOLUTION_", payment::Resolution::from_str_name, name).ok_or_else(|| {
        ParseError::new("resolution", "must be done_elsewhere, retry or give_up", name)
    })
}

fn reason(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 500 characters without control characters";
    words("reason", rule, MAX_REASON_LENGTH, value)
}

fn operator(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 100 characters without control characters";
    words("operator", rule, MAX_OPERATOR_LENGTH, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_says_what_why_and_who() {
        let body = br#"{"resolution":"give_up","reason":"case 4711","operator":"ann"}"#;
        let settlement = read(body).expect("is valid");
        assert_eq!(settlement.resolution(), payment::Resolution::GiveUp);
        assert_eq!((&*settlement.reason, &*settlement.operator), ("case 4711", "ann"));
    }

    #[test]
    fn a_settlement_without_choice_or_reason_or_with_a_card_number_is_refused() {
        for (body, field) in [
            (r#"{"reason":"case 4711"}"#, "resolution"),
            (r#"{"resolution":"undo","reason":"case 4711"}"#, "resolution"),
            (r#"{"resolution":"unspecified","reason":"case 4711"}"#, "resolution"),
            (r#"{"resolution":"retry"}"#, "reason"),
            (r#"{"resolution":"retry","reason":""}"#, "reason"),
            (r#"{"resolution":"retry","reason":"card 4111 1111 1111 1111"}"#, "reason"),
            (r#"{"resolution":"retry","reason":"x","operator":"4111111111111111"}"#, "operator"),
        ] {
            let problem = read(body.as_bytes()).expect_err(body);
            assert_eq!(problem.code(), Code::InvalidFields, "{body}");
            let named: Vec<_> = problem.errors().iter().map(|it| it.field.as_str()).collect();
            assert_eq!(named, [field], "{body}");
        }
    }
}
