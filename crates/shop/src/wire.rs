//! Bytes to domain and back: the only module that sees protobuf.

mod keys;

use engine::{Encoded, WireError};
use events::{
    names,
    proto::{
        self, AnswerBody, answer_body,
        event::Body,
        shop::{self, shop_event::Kind, shop_question},
    },
    questions,
    shop::Settings,
};
use prost::Message;
use protocol::id::Shop;

use crate::{
    Shops,
    domain::{
        Answer, Event, Input,
        shops::{self, Command, Fact, Outcome, Request, ShopRow},
    },
    query::{Found, Question},
};

impl engine::Wire for Shops {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        use proto::command::Body;
        let command = proto::Command::decode(payload)?;
        let body = command.body.ok_or(WireError::Missing("body"))?;
        let name = names::command_name(&body).1;
        let request = match body {
            Body::CreateShop(create) => {
                Request::Create { settings: Settings::parse(create.settings.as_ref())? }
            }
            Body::ChangeShop(change) => Request::Change {
                settings: Settings::parse(change.settings.as_ref())?,
                expected_version: change.expected_version,
            },
            Body::SuspendShop(suspend) => Request::Suspend {
                reason: reason(suspend.reason)?,
                expected_version: suspend.expected_version,
            },
            Body::ResumeShop(resume) => Request::Resume {
                reason: reason(resume.reason)?,
                expected_version: resume.expected_version,
            },
            other => {
                // What is of the installation is sent for no shop.
                let is_of_installation = command.shop == Shop::installation().as_str();
                let input = keys::command(other).filter(|_| is_of_installation);
                return input.ok_or(WireError::Unexpected(name))?;
            }
        };
        Ok(Input::Shop(shops::Input { name: Shop::parse(&command.shop)?, request }))
    }

    fn foreign(_payload: &[u8]) -> Result<Input, WireError> {
        Err(WireError::Unexpected("an event of another service"))
    }

    fn encode(event: &Event) -> Encoded {
        let event = match event {
            Event::Shop(event) => event,
            Event::Key(event) => return keys::encode(event),
        };
        let kind = match event.fact.clone() {
            Fact::Created { settings } => {
                Kind::Created(shop::Created { settings: Some(settings.into()) })
            }
            Fact::Changed { before, after } => Kind::Changed(shop::Changed {
                before: Some(before.into()),
                after: Some(after.into()),
            }),
            Fact::Suspended { reason } => {
                Kind::Suspended(shop::Suspended { reason: given(reason) })
            }
            Fact::Resumed { reason } => Kind::Resumed(shop::Resumed { reason: given(reason) }),
        };
        let body = Body::ShopEvent(shop::ShopEvent { kind: Some(kind) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = proto::EventFact::decode(payload)?;
        let body = event.body.ok_or(WireError::Missing("body"))?;
        let kind = match body {
            Body::ShopEvent(shop::ShopEvent { kind: Some(kind) }) => kind,
            Body::Key(shop::KeyEvent { kind: Some(kind) }) => {
                return keys::decode(&event.aggregate_id, kind).map(Event::Key);
            }
            _ => return Err(WireError::Unexpected("an event that is not a shop's")),
        };
        let fact = match kind {
            Kind::Created(it) => Fact::Created { settings: read(it.settings.as_ref())? },
            Kind::Changed(it) => {
                Fact::Changed { before: read(it.before.as_ref())?, after: read(it.after.as_ref())? }
            }
            Kind::Suspended(it) => Fact::Suspended { reason: it.reason.unwrap_or_default() },
            Kind::Resumed(it) => Fact::Resumed { reason: it.reason.unwrap_or_default() },
        };
        Ok(Event::Shop(shops::Event { name: Shop::parse(&event.aggregate_id)?, fact }))
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        use answer_body::Answer as Body;
        let answer = match answer {
            Answer::Shop(answer) => answer,
            Answer::Key(answer) => return keys::encode_answer(answer),
        };
        let result = match answer.outcome {
            Outcome::Created => shop::ShopResult::Created,
            Outcome::Changed => shop::ShopResult::Changed,
            Outcome::Unchanged => shop::ShopResult::Unchanged,
            Outcome::Exists => shop::ShopResult::Exists,
            Outcome::Unknown => shop::ShopResult::Unknown,
            Outcome::OtherVersion => shop::ShopResult::OtherVersion,
        };
        let result = result.into();
        let shop = answer.shop.clone().map(|(name, row)| stored(name.into(), row));
        let answer = match answer.to {
            Command::Create => Body::CreateShop(shop::CreateShopAnswer { result, shop }),
            Command::Change => Body::ChangeShop(shop::ChangeShopAnswer { result, shop }),
            Command::Suspend => Body::SuspendShop(shop::SuspendShopAnswer { result, shop }),
            Command::Resume => Body::ResumeShop(shop::ResumeShopAnswer { result, shop }),
        };
        AnswerBody { answer: Some(answer) }.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        use shop_question::Question as Asked;
        let asked = shop::ShopQuestion::decode(payload)?.question;
        Ok(match asked.ok_or(WireError::Missing("question"))? {
            Asked::GetShop(shop::GetShop {}) => Question::Shop,
            Asked::ListShops(shop::ListShops { partition, after, limit }) => {
                Question::Shops { partition, after, limit }
            }
            Asked::GetKey(shop::GetKey { key_id }) => Question::Key(key_id),
            Asked::ListKeys(shop::ListKeys { after, limit }) => Question::Keys { after, limit },
            Asked::GetKeyCredentials(shop::GetKeyCredentials { key_id }) => {
                Question::KeyCredentials(key_id)
            }
        })
    }

    fn encode_found(found: Found) -> Vec<u8> {
        match found {
            Found::Shop(name, row) => stored(name, row).encode_to_vec(),
            Found::Shops { shops, has_more } => {
                let shops = shops.into_iter().map(|(name, row)| stored(name, row));
                let (shops, has_more) = questions::page(shops, has_more);
                shop::Shops { shops, has_more }.encode_to_vec()
            }
            Found::Key(id, row) => keys::stored(id, row).encode_to_vec(),
            Found::KeyCredentials(id, row) => keys::credentials(id, row).encode_to_vec(),
            Found::Keys { keys, has_more } => {
                let keys = keys.into_iter().map(|(id, row)| keys::stored(id, row));
                let (keys, has_more) = questions::page(keys, has_more);
                shop::Keys { keys, has_more }.encode_to_vec()
            }
        }
    }
}

fn stored(name: String, row: ShopRow) -> shop::Shop {
    let ShopRow { settings, suspended, revision, created_at, updated_at } = row;
    shop::Shop {
        name,
        settings: Some(settings.into()),
        suspended,
        version: revision.version,
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
    }
}

fn read(settings: Option<&shop::Settings>) -> Result<Settings, WireError> {
    Ok(Settings::read(settings.ok_or(WireError::Missing("settings"))?)?)
}

/// A text that is not given is absent on the wire, and empty here.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn reason(reason: Option<String>) -> Result<String, WireError> {
    Ok(events::shop::reason(&reason.unwrap_or_default())?)
}
