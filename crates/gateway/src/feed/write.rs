//! Pages and events as they leave the system.

use std::collections::BTreeMap;

use events::cloud_events;
use serde_json::{Value, json};

use super::reader::{Covered, Found, Page};
use crate::problem::Problem;

/// Events that are written before others get their turn: about a millisecond.
const MAX_WRITTEN_AT_ONCE: usize = 256;

/// A page as it leaves the system.
pub(super) async fn write_page(page: &Page, next: &str) -> Result<Vec<u8>, Problem> {
    let mut text = b"{\"events\":[".to_vec();
    for (index, found) in page.events.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_event(found, &mut text)?;
        if index % MAX_WRITTEN_AT_ONCE == MAX_WRITTEN_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    text.extend_from_slice(b"],");
    // The rest of the object without its first brace.
    text.extend_from_slice(&body(&page.logs, page.is_at_end, next).to_string().as_bytes()[1..]);
    Ok(text)
}

/// Appends an event as it leaves the system.
pub(super) fn write_event(found: &Found, text: &mut Vec<u8>) -> Result<(), Problem> {
    cloud_events::write(&found.bytes, text).map_err(|error| Problem::internal(&error))
}

/// A page without its events.
pub(super) fn body(logs: &BTreeMap<&'static str, Covered>, is_at_end: bool, next: &str) -> Value {
    json!({"next": next, "at_end": is_at_end, "logs": logs})
}
