//! Bytes to domain and back: the only file that sees protobuf.

mod questions;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use engine::{Encoded, Wire, WireError};
use events::{
    id::OrderId,
    money::Money,
    names,
    proto::{self, event::Body, order::order_event, payment::payment_event::Kind},
};
use prost::Message;

use crate::{
    Payments,
    domain::{Event, Fact, Input, Signal},
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
        let signal = match event.body.ok_or(WireError::Missing("body"))? {
            Body::Order(order) => signal(order.kind.ok_or(WireError::Missing("kind"))?)?,
            other => return Err(unexpected(&other)),
        };
        Ok(Input { order_id: OrderId::parse(&event.aggregate_id)?, signal })
    }

    fn encode(event: &Event) -> Encoded {
        let kind = encode_fact(event.fact.clone());
        let body = Body::Payment(proto::payment::PaymentEvent { kind: Some(kind) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        let fact = match event.body.ok_or(WireError::Missing("body"))? {
            Body::Payment(fact) => decode_fact(fact.kind.ok_or(WireError::Missing("kind"))?)?,
            other => return Err(unexpected(&other)),
        };
        Ok(Event { order_id: OrderId::parse(&event.aggregate_id)?, fact })
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

fn signal(kind: order_event::Kind) -> Result<Signal, WireError> {
    match kind {
        order_event::Kind::PaymentDue(due) => Ok(Signal::PaymentDue {
            amount: Money::parse(due.amount.as_ref())?,
            payment_method: due.payment_method,
        }),
        order_event::Kind::Confirmed(confirmed) => {
            Ok(Signal::Confirmed { amount: Money::parse(confirmed.amount.as_ref())? })
        }
        order_event::Kind::Cancelled(_) => Ok(Signal::Cancelled),
        other @ (order_event::Kind::Placed(_)
        | order_event::Kind::Authorized(_)
        | order_event::Kind::Paid(_)) => {
            Err(unexpected(&Body::Order(proto::order::OrderEvent { kind: Some(other) })))
        }
    }
}

fn encode_fact(fact: Fact) -> Kind {
    match fact {
        Fact::AuthorizationPending { operation_id, amount, payment_method } => {
            let amount = Some(amount.into());
            let pending =
                proto::payment::AuthorizationPending { operation_id, amount, payment_method };
            Kind::AuthorizationPending(pending)
        }
        Fact::Authorized { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::Authorized(proto::payment::Authorized {
                operation_id,
                provider_reference,
                amount,
            })
        }
        Fact::Declined { operation_id, code } => {
            Kind::Declined(proto::payment::Declined { operation_id, code })
        }
        Fact::Failed { operation_id, detail } => {
            Kind::Failed(proto::payment::Failed { operation_id, detail })
        }
        Fact::CapturePending { operation_id, amount, provider_reference } => {
            let amount = Some(amount.into());
            Kind::CapturePending(proto::payment::CapturePending {
                operation_id,
                amount,
                provider_reference,
            })
        }
        Fact::Captured { operation_id, amount } => {
            Kind::Captured(proto::payment::Captured { operation_id, amount: Some(amount.into()) })
        }
        Fact::CaptureFailed { operation_id, code } => {
            Kind::CaptureFailed(proto::payment::CaptureFailed { operation_id, code })
        }
        Fact::VoidPending { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::VoidPending(proto::payment::VoidPending {
                operation_id,
                provider_reference,
                amount,
            })
        }
        Fact::Voided { operation_id } => Kind::Voided(proto::payment::Voided { operation_id }),
        Fact::RefundPending { operation_id, provider_reference, amount } => {
            let amount = Some(amount.into());
            Kind::RefundPending(proto::payment::RefundPending {
                operation_id,
                provider_reference,
                amount,
            })
        }
        Fact::Refunded { operation_id, amount } => {
            Kind::Refunded(proto::payment::Refunded { operation_id, amount: Some(amount.into()) })
        }
        Fact::CancelRequested => Kind::CancelRequested(proto::payment::CancelRequested {}),
        Fact::Abandoned => Kind::Abandoned(proto::payment::Abandoned {}),
    }
}

fn decode_fact(kind: Kind) -> Result<Fact, WireError> {
    let money = |amount: Option<proto::Money>| Money::parse(amount.as_ref());
    Ok(match kind {
        Kind::AuthorizationPending(pending) => Fact::AuthorizationPending {
            operation_id: pending.operation_id,
            amount: money(pending.amount)?,
            payment_method: pending.payment_method,
        },
        Kind::Authorized(authorized) => Fact::Authorized {
            operation_id: authorized.operation_id,
            provider_reference: authorized.provider_reference,
            amount: money(authorized.amount)?,
        },
        Kind::Declined(proto::payment::Declined { operation_id, code }) => {
            Fact::Declined { operation_id, code }
        }
        Kind::Failed(proto::payment::Failed { operation_id, detail }) => {
            Fact::Failed { operation_id, detail }
        }
        Kind::CapturePending(pending) => Fact::CapturePending {
            operation_id: pending.operation_id,
            amount: money(pending.amount)?,
            provider_reference: pending.provider_reference,
        },
        Kind::Captured(proto::payment::Captured { operation_id, amount }) => {
            Fact::Captured { operation_id, amount: money(amount)? }
        }
        Kind::CaptureFailed(proto::payment::CaptureFailed { operation_id, code }) => {
            Fact::CaptureFailed { operation_id, code }
        }
        Kind::VoidPending(pending) => Fact::VoidPending {
            operation_id: pending.operation_id,
            provider_reference: pending.provider_reference,
            amount: money(pending.amount)?,
        },
        Kind::Voided(proto::payment::Voided { operation_id }) => Fact::Voided { operation_id },
        Kind::RefundPending(pending) => Fact::RefundPending {
            operation_id: pending.operation_id,
            provider_reference: pending.provider_reference,
            amount: money(pending.amount)?,
        },
        Kind::Refunded(proto::payment::Refunded { operation_id, amount }) => {
            Fact::Refunded { operation_id, amount: money(amount)? }
        }
        Kind::CancelRequested(proto::payment::CancelRequested {}) => Fact::CancelRequested,
        Kind::Abandoned(proto::payment::Abandoned {}) => Fact::Abandoned,
    })
}
