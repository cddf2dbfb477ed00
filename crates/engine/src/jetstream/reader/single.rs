//! Reading one message of a stream.

use async_nats::jetstream::{Context, message::StreamMessage, stream::LastRawMessageErrorKind};

use super::{Selection, StoredMessage, read_range};
use crate::{
    Error,
    jetstream::{log::last_sequence, retry::repeated},
};

/// Reads one message of a stream; refused where there is none of that sequence.
pub(crate) async fn read_one(
    context: &Context,
    stream: &str,
    sequence: u64,
    service: &'static str,
) -> Result<StoredMessage, Error> {
    let missing = || Error::Refused(format!("{stream} has no message {sequence}"));
    if sequence > last_sequence(context, stream).await? {
        return Err(missing());
    }
    let selection = Selection::new(stream, Vec::new());
    let before = sequence.saturating_sub(1);
    let mut chunks = read_range(context.clone(), selection, before, sequence, service, 1);
    while let Some(chunk) = chunks.recv().await {
        if let Some(message) = chunk?.into_iter().find(|message| message.sequence == sequence) {
            return Ok(message);
        }
    }
    Err(missing())
}

/// Reads the last message on a subject, as the stream's leader has it; `None` where there is none.
pub(crate) async fn read_last(
    context: &Context,
    stream: &str,
    subject: &str,
) -> Result<Option<StreamMessage>, Error> {
    let failed = |error: String| Error::jetstream("read the last message of", stream, error);
    let found = context.get_stream_no_info(stream).await.map_err(|e| failed(e.to_string()))?;
    match repeated(|| found.get_last_raw_message_by_subject(subject)).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}
