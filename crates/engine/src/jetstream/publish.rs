//! Publishing several messages at once: all of them are in the stream, or none.
//!
//! More than one message is a JetStream atomic batch (nats-server 2.12). async-nats has no helper
//! for it: each message names the batch and its place in it, the last one commits and is answered.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use crate::jetstream::headers::{BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, EXPECTED_LAST_SEQUENCE};

/// How long the server may take to answer before the outcome counts as unknown, unless the caller
/// says otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The most messages in one batch: the server's own limit.
pub(crate) const MAX_BATCH: usize = 1000;
/// As many messages that stand each for itself are sooner stored one by one: for a batch a single server
/// makes a store in files of its own, and syncs those five times before it syncs the stream once. 2.5 to 6 ms,
/// and 0.4 ms for a message by itself.
pub(crate) const MAX_SINGLES: usize = 8;

/// The server's code for an expectation that does not hold.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The server's code for a batch that holds a message id it knows.
pub(crate) const DUPLICATE_IN_BATCH: u64 = 10_201;

/// The server's codes for having reached a limit of what it stores, its own or that of the account:
/// account limits, `max_mem` or `max_file` (without a setting, 75 % of the disk that was free at its
/// start), account storage.
const STORAGE_LIMITS: [u64; 3] = [10_002, 10_023, 10_047];

/// Whether a refusal says that the server may store no more.
pub(crate) fn is_storage_refusal(code: u64) -> bool {
    STORAGE_LIMITS.contains(&code)
}

/// A message to publish.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// The server's word that the messages are stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    /// The sequence of the last one; the others are right before it.
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
    /// Whether the server knew the message's id: then nothing was stored now.
    #[serde(default)]
    pub(crate) duplicate: bool,
}

/// The messages are not stored, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The server refused: nothing is stored.
    #[error("the server refused: {description} ({code})")]
    Refused { code: u64, description: String },
    /// No answer came: the messages may be stored or not.
    #[error("no answer: {0}")]
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// Publishes the messages as one. With `expected`, only right after that sequence of the stream.
pub(crate) async fn publish(
    client: &Client,
    messages: Vec<Outgoing>,
    expected: Option<u64>,
) -> Result<Stored, PublishError> {
    publish_within(client, messages, expected, ANSWER_TIMEOUT).await
}

/// As [`publish`]; without an answer within `timeout`, nobody knows whether they are stored.
pub(crate) async fn publish_within(
    client: &Client,
    mut messages: Vec<Outgoing>,
    expected: Option<u64>,
    timeout: Duration,
) -> Result<Stored, PublishError> {
    if let (Some(first), Some(expected)) = (messages.first_mut(), expected) {
        first.headers.insert(EXPECTED_LAST_SEQUENCE, expected.to_string());
    }
    let Some(mut last) = messages.pop() else {
        return Err(PublishError::Unknown("there is nothing to publish".into()));
    };
    if !messages.is_empty() {
        let batch = new_batch_id();
        let size = messages.len() + 1;
        for (index, mut message) in messages.into_iter().enumerate() {
            message.headers.insert(BATCH_ID, batch.as_str());
            message.headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
            client
                .publish_with_headers(message.subject, message.headers, message.payload)
                .await
                .map_err(|error| PublishError::Unknown(error.into()))?;
        }
        last.headers.insert(BATCH_ID, batch.as_str());
        last.headers.insert(BATCH_SEQUENCE, size.to_string());
        last.headers.insert(BATCH_COMMIT, "1");
    }
    let request = Request::new().headers(last.headers).payload(last.payload).timeout(Some(timeout));
    let answer = client
        .send_request(last.subject, request)
        .await
        .map_err(|error| PublishError::Unknown(error.into()))?;
    read_answer(&answer.payload)
}

fn read_answer(payload: &[u8]) -> Result<Stored, PublishError> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<Refusal>,
        #[serde(flatten)]
        stored: Option<Stored>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    let answer: Answer =
        serde_json::from_slice(payload).map_err(|error| PublishError::Unknown(error.into()))?;
    match (answer.error, answer.stored) {
        (Some(refusal), _) => {
            Err(PublishError::Refused { code: refusal.err_code, description: refusal.description })
        }
        (None, Some(stored)) => Ok(stored),
        (None, None) => Err(PublishError::Unknown("the server's answer holds no sequence".into())),
    }
}

/// A batch id that no earlier attempt used: what is left of one must not mix with the next.
#[expect(clippy::disallowed_methods, reason = "names an attempt, decides nothing")]
fn new_batch_id() -> String {
    Uuid::now_v7().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_sequence_or_a_refusal() {
        let stored = read_answer(br#"{"stream":"LEDGER-0","seq":7,"batch":"b","count":3}"#);
        assert_eq!(stored.map(|s| (s.sequence, s.duplicate)).expect("stored"), (7, false));
        let refused = read_answer(
            br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 2"},"stream":"S","seq":0}"#,
        );
        assert!(
            matches!(refused, Err(PublishError::Refused { code: WRONG_LAST_SEQUENCE, .. })),
            "{refused:?}"
        );
        assert!(matches!(read_answer(b"{}"), Err(PublishError::Unknown(_))));
    }
}
