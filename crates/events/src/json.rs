//! Protobuf messages as JSON and back, for people who look at one: a parked input, a log line.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use crate::proto;

/// Bytes that are not the message they should be, or JSON that is not its JSON form.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The contract has no such message.
    #[error("the contract has no message {0}")]
    UnknownMessage(String),
    /// The bytes do not decode.
    #[error("the bytes are not a {message}")]
    Decode {
        /// The message that was expected.
        message: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// The JSON does not parse, or is not of that message.
    #[error("the JSON is not a {message}")]
    Json {
        /// The message that was expected.
        message: String,
        /// What the parser says.
        source: serde_json::Error,
    },
}

pub(crate) static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(proto::DESCRIPTORS).unwrap_or_default());

/// The message that a subject carries, by its full name.
pub fn message_of(subject: &str) -> &'static str {
    if subject.starts_with("inbox.") {
        "tradewind.commands.v1.Command"
    } else {
        "tradewind.events.v1.Event"
    }
}

/// The protobuf JSON form of an encoded message.
pub fn to_json(message: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    serde_json::to_value(self::message(message, bytes)?)
        .map_err(|source| JsonError::Json { message: message.to_owned(), source })
}

/// A message of that name, decoded.
pub(crate) fn message(name: &str, bytes: &[u8]) -> Result<DynamicMessage, JsonError> {
    DynamicMessage::decode(descriptor(name)?, bytes)
        .map_err(|source| JsonError::Decode { message: name.to_owned(), source })
}

/// Appends JSON with the members of each object in the order of their names: whatever the order in which
/// a version of a library keeps them, the bytes stay the same.
pub fn write_sorted(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort();
            text.push(b'{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
                text.push(b':');
                write_sorted(&members[name], text);
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write_sorted(item, text);
            }
            text.push(b']');
        }
        single => text.extend_from_slice(single.to_string().as_bytes()),
    }
}

/// The encoded form of a message given as protobuf JSON.
pub fn from_json(message: &str, json: &Value) -> Result<Vec<u8>, JsonError> {
    DynamicMessage::deserialize(descriptor(message)?, json)
        .map(|decoded| decoded.encode_to_vec())
        .map_err(|source| JsonError::Json { message: message.to_owned(), source })
}

fn descriptor(message: &str) -> Result<prost_reflect::MessageDescriptor, JsonError> {
    POOL.get_message_by_name(message).ok_or_else(|| JsonError::UnknownMessage(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_way_through_json() {
        let command = proto::Command {
            id: "018f".into(),
            shop: "acme".into(),
            body: Some(proto::command::Body::CancelOrder(proto::order::CancelOrder {
                order_id: "o".into(),
                note: Some(proto::Sealed { key_id: "k".into(), ciphertext: vec![1, 2, 3] }),
            })),
            ..Default::default()
        };
        let name = message_of("inbox.0.live.order.acme.cancel_order");
        let json = to_json(name, &command.encode_to_vec()).expect("decodes");
        assert_eq!(json["cancelOrder"]["note"]["ciphertext"], "AQID");
        assert_eq!(from_json(name, &json).expect("encodes"), command.encode_to_vec());
        assert!(to_json(name, b"\xff\xff").is_err());
    }
}
