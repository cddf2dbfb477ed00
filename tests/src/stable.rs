//! Examples of real runs without what differs from run to run: times, ids that are made by chance, positions.

use serde_json::Value;

/// What stands for every time in an example.
const TIME: &str = "2026-03-14T09:26:53.589Z";
/// What stands for every trace context: the example of the W3C's recommendation.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// What stands for everything that is sealed, which has a nonce.
const CIPHERTEXT: &str = "AQIDBAUGBwgJ";
/// What stands for every position.
const POSITION: &str = "42";
/// What stands for the position of the event before.
const PREVIOUS_POSITION: &str = "41";

/// An example without what differs from run to run: times, ids that are made by chance, positions.
/// Ids that are the same stay the same.
pub fn without_chance(mut example: Value) -> Value {
    let mut ids = Vec::new();
    replace(&mut example, "", &mut ids);
    example
}

fn replace(value: &mut Value, name: &str, ids: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                replace(member, name, ids);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, name, ids)),
        Value::String(text) => match name {
            "traceparent" => TRACE.clone_into(text),
            "position" => POSITION.clone_into(text),
            "previousPosition" | "previousposition" => PREVIOUS_POSITION.clone_into(text),
            "ciphertext" => CIPHERTEXT.clone_into(text),
            "fingerprint" => *text = "0".repeat(text.len()),
            _ if is_time(text) => TIME.clone_into(text),
            _ => *text = with_stable_ids(text, ids),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes.ends_with(b"Z")
}

/// The text, with each UUID in it replaced by one that counts.
fn with_stable_ids(text: &str, ids: &mut Vec<String>) -> String {
    const LENGTH: usize = 36;
    let is_id = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    let Some(at) = (0..text.len().saturating_sub(LENGTH - 1))
        .find(|at| text.get(*at..at + LENGTH).is_some_and(is_id))
    else {
        return text.to_owned();
    };
    let id = &text[at..at + LENGTH];
    let number = ids.iter().position(|known| known == id).unwrap_or_else(|| {
        ids.push(id.to_owned());
        ids.len() - 1
    });
    let stable = format!("019cec2b-2dc4-7000-8000-{:012}", number + 1);
    format!("{}{stable}{}", &text[..at], with_stable_ids(&text[at + LENGTH..], ids))
}
