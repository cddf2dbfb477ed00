//! The events of an aggregate, read from the log: each names the position of the one before it.

use async_nats::jetstream::{Context, stream::RawMessageErrorKind};
use prost::Message;
use protocol::proto::{Envelope, History};

use crate::{Error, jetstream::retry::repeated};

/// The most events of a page.
const MAX_PAGE: usize = 100;
/// The bytes after which a page ends: with one more event it is below the server's `max_payload`.
const MAX_PAGE_BYTES: usize = 500_000;

/// Reads at most `limit` events of an aggregate, that at `position` and those before it, the newest
/// first; 0: as many as a page holds. An aggregate is a shop, a type and an id.
pub(crate) async fn read(
    context: &Context,
    log: &str,
    (shop, kind, id): (&str, &str, &str),
    mut position: u64,
    limit: u32,
) -> Result<History, Error> {
    let failed = |error: String| Error::jetstream("read a history in", log, error);
    let stream = context.get_stream_no_info(log).await.map_err(|e| failed(e.to_string()))?;
    let limit = if limit == 0 { MAX_PAGE } else { MAX_PAGE.min(limit as usize) };
    let (mut history, mut bytes) = (History::default(), 0);
    while position > 0 && history.events.len() < limit && bytes < MAX_PAGE_BYTES {
        let message = match repeated(|| stream.get_raw_message(position)).await {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
            Err(error) => return Err(failed(error.to_string())),
        };
        let Ok(envelope) = Envelope::decode(message.payload.clone()) else { break };
        // Who asks may name any position: an event of another aggregate is not part of the answer.
        let found = (&*envelope.shop, &*envelope.aggregate_type, &*envelope.aggregate_id);
        if found != (shop, kind, id) {
            break;
        }
        bytes += message.payload.len();
        history.events.push(message.payload.into());
        position = envelope.previous_position;
        history.next = position;
    }
    Ok(history)
}
