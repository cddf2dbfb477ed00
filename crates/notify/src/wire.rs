//! Bytes to domain and back: the only file that sees protobuf.

pub(crate) mod attempts;
mod facts;
pub(crate) mod mail;
mod questions;
pub(crate) mod rendering;
mod settings;

use bytes::Bytes;
use engine::{Encoded, Wire, WireError};
use events::{
    names::event_name,
    proto::{
        self, AnswerBody, answer_body, command::Body as Command, event::Body, notify,
        notify::change_webhooks::Request as Asked,
    },
    webhooks::{MAX_PER_SECOND, MAX_TEXT_LENGTH, parse_id},
};
use prost::Message;
use protocol::id::ParseError;

use crate::{
    Notify,
    domain::{Answer, Event, Input, Outcome, Published, PublishedEvent, Request},
    query::{Found, Question},
};

impl Wire for Notify {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        let command = proto::Command::decode(payload)?;
        match command.body.ok_or(WireError::Missing("body"))? {
            Command::ChangeWebhooks(notify::ChangeWebhooks {
                endpoint_id,
                request,
                expected_version,
            }) => {
                let request = Box::new(asked(request.ok_or(WireError::Missing("request"))?)?);
                let endpoint_id = id(&endpoint_id)?;
                Ok(Input::Command { endpoint_id, request, expected_version })
            }
            other => Err(WireError::Unexpected(events::names::command_name(&other).1)),
        }
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        let event = proto::Event::decode(payload)?;
        let body = event.body.as_ref().ok_or(WireError::Missing("body"))?;
        let name = event_name(body).ok_or(WireError::Missing("kind"))?;
        let service = service(body).ok_or(WireError::Unexpected(name))?;
        let published = PublishedEvent {
            shop: event.shop,
            position: event.position,
            event_type: format!("{service}.{name}"),
            bytes: Bytes::copy_from_slice(payload),
        };
        Ok(Input::Published(Published { service, events: vec![published] }))
    }

    fn encode(event: &Event) -> Encoded {
        let kind = Some(facts::encode(&event.fact));
        let body = Body::Notify(notify::NotifyEvent { kind });
        let name = event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        match event.body.ok_or(WireError::Missing("body"))? {
            Body::Notify(notify::NotifyEvent { kind: Some(kind) }) => {
                let fact = facts::decode(kind)?;
                let endpoint_id = match fact {
                    crate::domain::Fact::Scheduled(_) => String::new(),
                    _ => event.aggregate_id,
                };
                Ok(Event { endpoint_id, fact })
            }
            _ => Err(WireError::Unexpected("an event that is not of webhooks")),
        }
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        use notify::EndpointResult as Result;
        let result = match answer.outcome {
            Outcome::Created => Result::Created,
            Outcome::Changed => Result::Changed,
            Outcome::Unchanged => Result::Unchanged,
            Outcome::Exists => Result::Exists,
            Outcome::Unknown => Result::Unknown,
            Outcome::OtherVersion => Result::OtherVersion,
            Outcome::TooMany => Result::TooMany,
            Outcome::Disabled => Result::Disabled,
        };
        let endpoint =
            answer.endpoint.as_ref().map(|(id, endpoint)| questions::endpoint(id, endpoint, None));
        let answer = notify::ChangeWebhooksAnswer {
            result: result.into(),
            endpoint,
            endpoint_seq: answer.seq,
        };
        AnswerBody { answer: Some(answer_body::Answer::ChangeWebhooks(answer)) }.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        questions::decode(payload)
    }

    fn encode_found(found: Found) -> Vec<u8> {
        questions::encode(found)
    }
}

/// The service that wrote an event, when its events are public.
fn service(body: &Body) -> Option<&'static str> {
    match body {
        Body::Catalog(_) => Some("catalog"),
        Body::Inventory(_) => Some("inventory"),
        Body::Order(_) => Some("order"),
        Body::Payment(_) => Some("payment"),
        Body::ShopEvent(_) => Some("shop"),
        Body::Engine(_) | Body::Notify(_) | Body::Key(_) => None,
    }
}

fn asked(request: Asked) -> Result<Request, WireError> {
    Ok(match request {
        Asked::Create(create) => Request::Create {
            settings: settings::parse(create.settings)?,
            secret: settings::new_secret(create.secret, create.public_key)?,
        },
        Asked::Change(change) => Request::Change {
            settings: settings::parse(change.settings)?,
            expected_version: change.expected_version,
        },
        Asked::Disable(disable) => Request::Disable { note: text("note", disable.note)? },
        Asked::Enable(enable) => Request::Enable { deliver_held: enable.deliver_held },
        Asked::Delete(notify::DeleteEndpoint {}) => Request::Delete,
        Asked::RotateSecret(rotate) => Request::RotateSecret {
            secret: settings::new_secret(rotate.secret, rotate.public_key)?,
            keep_old: std::time::Duration::from_secs(rotate.keep_old_s.into()),
        },
        Asked::SendTest(notify::SendTest {}) => Request::SendTest,
        Asked::StartReplay(replay) => Request::StartReplay {
            selection: facts::selection(replay.selection())?,
            id: id(&replay.replay_id)?,
            from: replay.from,
            to: replay.to,
            max_per_second: rate(replay.max_per_second)?,
        },
        Asked::CancelReplay(cancel) => Request::CancelReplay { id: id(&cancel.replay_id)? },
        Asked::RewrapValues(rewrap) => {
            Request::RewrapValues { values: settings::read_rewrapped(rewrap.values)? }
        }
        Asked::SetMail(set) => Request::SetMail {
            expected_version: set.expected_version,
            settings: settings::parse_mail(set)?,
        },
        Asked::AbortDelivery(abort) => Request::AbortDelivery { seq: abort.endpoint_seq },
    })
}

/// How many are sent in a second at most.
fn rate(max_per_second: Option<u32>) -> Result<Option<u32>, ParseError> {
    match max_per_second {
        Some(rate) if !(1..=MAX_PER_SECOND).contains(&rate) => {
            Err(ParseError::new("max_per_second", "must be 1 to 100000", &rate.to_string()))
        }
        rate => Ok(rate),
    }
}

/// An id: letters, digits, hyphens and underscores.
fn id(text: &str) -> Result<String, ParseError> {
    parse_id("id", text)
}

fn text(what: &'static str, text: String) -> Result<String, ParseError> {
    if text.chars().count() > MAX_TEXT_LENGTH || text.chars().any(char::is_control) {
        let rule = "must be at most 500 characters without control characters";
        return Err(ParseError::new(what, rule, &text));
    }
    Ok(text)
}
