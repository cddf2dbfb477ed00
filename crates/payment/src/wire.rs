//! Bytes to domain and back: the only file that sees protobuf.

mod questions;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
    names,
    proto::{self, event::Body, order::order_event, payment::payment_event::Kind},
};
use prost::Message;
use protocol::id::ParseError;

use crate::{
    Payments,
    domain::{After, Event, Fact, Input, Operation},
    provider::Provider,
    query::{Found, Question},
};

impl Wire for Payments {
    type Input = Input;
    type Event = Event;
    /// Nobody sends it commands.
    type Answer = Infallible;
    type Question = Question;
    type Found = Found;

    /// Refuses what it gets: payments follow from orders alone.
    fn command(payload: &[u8]) -> Result<Input, WireError> {
        let body = proto::Command::decode(payload)?.body.ok_or(WireError::Missing("body"))?;
        Err(WireError::Unexpected(names::command_name(&body).1))
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
        let Event { payment_id, fact, after } = event;
        let (kind, summary) = (encode_fact(*payment_id, fact), summary(*payment_id, after));
        let (kind, summary) = (Some(kind), Some(summary));
        let body = Body::Payment(proto::payment::PaymentEvent { kind, summary });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        let (kind, summary) = match event.body.ok_or(WireError::Missing("body"))? {
            Body::Payment(proto::payment::PaymentEvent { kind, summary }) => (kind, summary),
            other => return Err(unexpected(&other)),
        };
        let after = after(summary.ok_or(WireError::Missing("summary"))?)?;
        let fact = decode_fact(kind.ok_or(WireError::Missing("kind"))?, &after)?;
        Ok(Event { payment_id: PaymentId::parse(&event.aggregate_id)?, fact, after })
    }

    fn encode_answer(answer: &Infallible) -> Vec<u8> {
        match *answer {}
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
            payment_method: due.payment_method,
        },
        order_event::Kind::Confirmed(confirmed) => Input::Capture {
            payment_id: PaymentId::parse(&confirmed.payment_id)?,
            number: version as u32,
            amount: Money::parse(confirmed.amount.as_ref())?,
        },
        order_event::Kind::Cancelled(_) => {
            Input::OrderCancelled { order_id: OrderId::parse(order_id)? }
        }
        other @ (order_event::Kind::Placed(_)
        | order_event::Kind::Authorized(_)
        | order_event::Kind::Paid(_)) => {
            let body = Body::Order(proto::order::OrderEvent { kind: Some(other) });
            return Err(unexpected(&body));
        }
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

fn encode_fact(payment_id: PaymentId, fact: &Fact) -> Kind {
    let id = |operation: &Operation| operation.id(payment_id);
    let money = |amount: &Money| Some((*amount).into());
    match fact {
        Fact::AuthorizationPending { operation, amount, payment_method } => {
            Kind::AuthorizationPending(proto::payment::AuthorizationPending {
                operation_id: id(operation),
                amount: money(amount),
                payment_method: payment_method.clone(),
            })
        }
        // The provider's name for it is in the summary.
        Fact::Authorized { operation, provider_reference: _, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Authorized(proto::payment::Authorized { operation_id, amount })
        }
        Fact::Declined { operation, code } => {
            let (operation_id, code) = (id(operation), code.clone());
            Kind::Declined(proto::payment::Declined { operation_id, code })
        }
        Fact::Failed { operation, detail } => {
            let (operation_id, detail) = (id(operation), detail.clone());
            Kind::Failed(proto::payment::Failed { operation_id, detail })
        }
        Fact::CapturePending { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::CapturePending(proto::payment::CapturePending { operation_id, amount })
        }
        Fact::Captured { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Captured(proto::payment::Captured { operation_id, amount })
        }
        Fact::CaptureFailed { operation, code } => {
            let (operation_id, code) = (id(operation), code.clone());
            Kind::CaptureFailed(proto::payment::CaptureFailed { operation_id, code })
        }
        Fact::VoidPending { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::VoidPending(proto::payment::VoidPending { operation_id, amount })
        }
        Fact::Voided { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Voided(proto::payment::Voided { operation_id, amount })
        }
        Fact::RefundPending { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::RefundPending(proto::payment::RefundPending { operation_id, amount })
        }
        Fact::Refunded { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Refunded(proto::payment::Refunded { operation_id, amount })
        }
        Fact::CancelRequested => Kind::CancelRequested(proto::payment::CancelRequested {}),
    }
}

fn decode_fact(kind: Kind, after: &After) -> Result<Fact, WireError> {
    let money = |amount: Option<proto::Money>| Money::parse(amount.as_ref());
    let operation = |id: &str| Ok::<_, ParseError>(Operation::parse_id(id)?.1);
    Ok(match kind {
        Kind::AuthorizationPending(it) => Fact::AuthorizationPending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            payment_method: it.payment_method,
        },
        Kind::Authorized(it) => Fact::Authorized {
            operation: operation(&it.operation_id)?,
            provider_reference: after.provider_reference.clone(),
            amount: money(it.amount)?,
        },
        Kind::Declined(it) => {
            Fact::Declined { operation: operation(&it.operation_id)?, code: it.code }
        }
        Kind::Failed(it) => {
            Fact::Failed { operation: operation(&it.operation_id)?, detail: it.detail }
        }
        Kind::CapturePending(it) => Fact::CapturePending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
        },
        Kind::Captured(it) => {
            Fact::Captured { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::CaptureFailed(it) => {
            Fact::CaptureFailed { operation: operation(&it.operation_id)?, code: it.code }
        }
        Kind::VoidPending(it) => {
            Fact::VoidPending { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::Voided(it) => {
            Fact::Voided { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::RefundPending(it) => Fact::RefundPending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
        },
        Kind::Refunded(it) => {
            Fact::Refunded { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::CancelRequested(proto::payment::CancelRequested {}) => Fact::CancelRequested,
    })
}
