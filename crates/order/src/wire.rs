//! Bytes to domain and back: the only file that sees protobuf.

mod answers;
mod commands;
mod facts;
mod foreign;
mod lines;
mod questions;
#[cfg(test)]
mod tests;

use engine::{Encoded, Wire, WireError};
use events::{
    id::{OrderId, Sku},
    names,
    proto::{self, event::Body},
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Orders,
    domain::{
        Answer, CancelReason, Event, Fact, FulfilmentStatus, Input, OrderStatus, PaymentStatus,
        Shortage,
    },
    query::{Found, Question},
};

/// The most characters of a free text that are kept.
const MAX_TEXT_CHARS: usize = 1_000;

impl Wire for Orders {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        commands::decode(payload)
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        foreign::decode(payload)
    }

    fn encode(event: &Event) -> Encoded {
        let body = Body::Order(facts::encode(event));
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded { occurred_at: occurred_at(event), ..Encoded::new(name, envelope.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        match event.body.ok_or(WireError::Missing("body"))? {
            Body::Order(fact) => facts::decode(OrderId::parse(&event.aggregate_id)?, fact),
            other => Err(unexpected(&other)),
        }
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

/// When an event happened outside, where that is known.
fn occurred_at(event: &Event) -> Option<Timestamp> {
    match &event.fact {
        Fact::Shipped { occurred_at, .. } => *occurred_at,
        Fact::Placed { .. }
        | Fact::PaymentDue { .. }
        | Fact::PaymentFailed { .. }
        | Fact::ActionRequired { .. }
        | Fact::Authorized { .. }
        | Fact::Confirmed { .. }
        | Fact::PartCaptured { .. }
        | Fact::Paid { .. }
        | Fact::Completed
        | Fact::Refunded { .. }
        | Fact::PutOnHold(_)
        | Fact::TakenOffHold { .. }
        | Fact::Cancelled { .. } => None,
    }
}

fn unexpected(body: &Body) -> WireError {
    WireError::Unexpected(names::event_name(body).unwrap_or("an event without a kind"))
}

fn shortage(sku: &str, requested: i64, available: i64) -> Result<Shortage, ParseError> {
    Ok(Shortage { sku: Sku::parse(sku)?, requested, available })
}

/// Declares how the values of an enum are written, and read. The service decides on them: one that
/// this version does not know waits for a version that does.
macro_rules! values {
    ($write:ident, $read:ident, $what:literal: $own:ident { $($value:ident),+ $(,)? }) => {
        fn $write(value: $own) -> proto::order::$own {
            match value {
                $($own::$value => proto::order::$own::$value,)+
            }
        }

        fn $read(value: i32) -> Result<$own, ParseError> {
            match proto::order::$own::try_from(value) {
                $(Ok(proto::order::$own::$value) => Ok($own::$value),)+
                Ok(proto::order::$own::Unspecified) | Err(_) => {
                    let rule = "must be one that this version knows";
                    Err(ParseError::new($what, rule, &value.to_string()))
                }
            }
        }
    };
}

values!(status_to_wire, status, "status": OrderStatus { Placed, Confirmed, Completed, Cancelled });
values!(payment_status_to_wire, payment_status, "payment_status": PaymentStatus {
    Pending, ActionRequired, Authorized, Paid, PartiallyRefunded, Refunded, Failed,
});
values!(fulfilment_status_to_wire, fulfilment_status, "fulfilment_status": FulfilmentStatus {
    Unfulfilled, Partial, Fulfilled, PartiallyReturned, Returned,
});
values!(reason_to_wire, reason, "reason": CancelReason {
    Requested,
    OutOfStock,
    StockTimeout,
    PaymentDeclined,
    PaymentFailed,
    PaymentTimeout,
    StockLost,
    CaptureFailed,
    StockShort,
});

/// A text that is absent when it is empty.
fn parsed<T>(
    value: &str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

/// A text that is not given is absent on the wire, and empty here.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// A free text as it can be stored: Postgres takes no NUL, and a text without an end would not fit
/// into an event.
fn text(value: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(MAX_TEXT_CHARS).map(printable).collect()
}
