//! Bytes to domain and back: the only file that sees protobuf.

mod answers;
mod facts;
mod questions;
#[cfg(test)]
mod tests;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
    names,
    proto::{self, command::Body as Command, event::Body, order::order_event},
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Payments,
    domain::{After, Answer, Event, Input, Listed, Operation, Refund, Steps},
    provider::Provider,
    query::{Found, Question},
};

/// The most characters of a free text that are kept.
const MAX_TEXT_CHARS: usize = 1_000;

impl Wire for Payments {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        match proto::Command::decode(payload)?.body.ok_or(WireError::Missing("body"))? {
            Command::RefundPayment(refund) => Ok(Input::Refund {
                order_id: OrderId::parse(&refund.order_id)?,
                payment_id: match &*refund.payment_id {
                    "" => None,
                    id => Some(PaymentId::parse(id)?),
                },
                amount: Money::parse(refund.amount.as_ref())?,
                refund: Refund { id: refund_id(&refund.refund_id)?, reason: text(&refund.reason) },
            }),
            Command::MendPayment(mend) => {
                let (payment_id, operation) = Operation::parse_id(&mend.operation_id)?;
                let listed = Listed {
                    payment_id,
                    operation,
                    amount: Money::parse(mend.amount.as_ref())?,
                    provider_reference: text(&mend.provider_reference),
                    occurred_at: Timestamp::parse_optional(mend.occurred_at.as_ref())?,
                };
                Ok(Input::Differs { kind: facts::difference_kind(mend.kind())?, listed })
            }
            Command::SettlePayment(settle) => Ok(Input::SettledByOperator {
                payment_id: PaymentId::parse(&settle.payment_id)?,
                resolution: facts::resolution(settle.resolution())?,
                reason: text(&settle.reason),
                operator: text(&settle.operator),
            }),
            other => Err(WireError::Unexpected(names::command_name(&other).1)),
        }
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        let event = proto::EventFact::decode(payload)?;
        match event.body.ok_or(WireError::Missing("body"))? {
            Body::Order(order) => {
                let kind = order.kind.ok_or(WireError::Missing("kind"))?;
                order_input(&event.aggregate_id, event.aggregate_version, kind)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn encode(event: &Event) -> Encoded {
        let Event { payment_id, fact, after, occurred_at } = event;
        let (kind, summary) = (facts::encode(*payment_id, fact), summary(*payment_id, after));
        let (kind, summary) = (Some(kind), Some(summary));
        let body = Body::Payment(proto::payment::PaymentEvent { kind, summary });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        let occurred_at = *occurred_at;
        Encoded { occurred_at, ..Encoded::new(name, envelope.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        let (kind, summary) = match event.body.ok_or(WireError::Missing("body"))? {
            Body::Payment(proto::payment::PaymentEvent { kind, summary }) => (kind, summary),
            other => return Err(unexpected(&other)),
        };
        let after = after(summary.ok_or(WireError::Missing("summary"))?)?;
        let fact = facts::decode(kind.ok_or(WireError::Missing("kind"))?, &after)?;
        let payment_id = PaymentId::parse(&event.aggregate_id)?;
        let occurred_at = Timestamp::parse_optional(event.occurred_at.as_ref())?;
        Ok(Event { payment_id, fact, after, occurred_at })
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        answers::encode(answer)
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        questions::decode(payload)
    }

    fn encode_found(found: Found) -> Vec<u8> {
        questions::encode(found)
    }
}

fn unexpected(body: &Body) -> WireError {
    WireError::Unexpected(names::event_name(body).unwrap_or("an event without a kind"))
}

/// What an event of an order means to its payments. `version` is that of the order after it.
fn order_input(order_id: &str, version: u64, kind: order_event::Kind) -> Result<Input, WireError> {
    Ok(match kind {
        order_event::Kind::PaymentDue(due) => Input::PaymentDue {
            payment_id: PaymentId::parse(&due.payment_id)?,
            amount: Money::parse(due.amount.as_ref())?,
            due_by: Timestamp::parse(due.due_by.as_ref())?,
            steps: steps(&due)?,
            abandoned: due.abandoned_payment_id.as_deref().map(PaymentId::parse).transpose()?,
            payment_method: due.payment_method,
        },
        order_event::Kind::Confirmed(it) => capture(it.payment_id(), version, it.capture.as_ref())?,
        order_event::Kind::Shipped(it) => capture(it.payment_id(), version, it.capture.as_ref())?,
        order_event::Kind::Cancelled(_) => {
            Input::OrderCancelled { order_id: OrderId::parse(order_id)? }
        }
        other @ (order_event::Kind::Placed(_)
        | order_event::Kind::PaymentFailed(_)
        | order_event::Kind::ActionRequired(_)
        | order_event::Kind::Authorized(_)
        | order_event::Kind::PartCaptured(_)
        | order_event::Kind::Paid(_)
        | order_event::Kind::Completed(_)
        | order_event::Kind::Refunded(_)
        | order_event::Kind::PutOnHold(_)
        | order_event::Kind::TakenOffHold(_)) => {
            let body = Body::Order(proto::order::OrderEvent { kind: Some(other), summary: None });
            return Err(unexpected(&body));
        }
    })
}

/// In which steps the money of a payment is taken.
fn steps(due: &proto::order::PaymentDue) -> Result<Steps, WireError> {
    Ok(match (due.one_step, due.capture_at_once) {
        (true, _) => Steps::Charge,
        // An event that does not say how much is about all of it.
        (false, true) => {
            let capture = due.capture.as_ref().or(due.amount.as_ref());
            Steps::AuthorizeAndCapture(Money::parse(capture)?)
        }
        (false, false) => Steps::Authorize,
    })
}

/// What is to be captured, if something is.
fn capture(
    payment_id: &str,
    version: u64,
    amount: Option<&proto::Money>,
) -> Result<Input, WireError> {
    let Some(amount) = amount else { return Ok(Input::NothingToCapture) };
    Ok(Input::Capture {
        payment_id: PaymentId::parse(payment_id)?,
        number: version as u32,
        amount: Money::parse(Some(amount))?,
    })
}

fn summary(payment_id: PaymentId, after: &After) -> proto::payment::PaymentSummary {
    proto::payment::PaymentSummary {
        order_id: payment_id.order_id.to_string(),
        provider: Provider::NAME.to_owned(),
        provider_reference: after.provider_reference.clone(),
        authorized: Some(after.authorized.into()),
        captured: Some(after.captured.into()),
        refunded: Some(after.refunded.into()),
    }
}

fn after(summary: proto::payment::PaymentSummary) -> Result<After, WireError> {
    Ok(After {
        provider_reference: summary.provider_reference,
        authorized: Money::parse(summary.authorized.as_ref())?,
        captured: Money::parse(summary.captured.as_ref())?,
        refunded: Money::parse(summary.refunded.as_ref())?,
    })
}

/// A refund's id must be there: without one, an amount is what a cancelled order gets back.
fn refund_id(id: &str) -> Result<String, ParseError> {
    match id {
        "" => Err(ParseError::new("refund id", "must not be empty", id)),
        id => Ok(text(id)),
    }
}

/// A free text as it can be stored: Postgres takes no NUL, and a text without an end would not fit
/// into an event.
fn text(value: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(MAX_TEXT_CHARS).map(printable).collect()
}
