//! Records of attempts.

use std::{sync::Arc, time::Duration};

use engine::WireError;
use events::proto::notify;
use prost::Message;
use protocol::time::Timestamp;

use crate::domain::attempt::Attempt;

/// Writes attempts into records, each of them until it has so many bytes; with how many attempts each
/// holds.
pub(crate) fn encode(attempts: Vec<Attempt>, max_bytes: usize) -> Vec<(u64, Vec<u8>)> {
    let (mut records, mut record, mut bytes) = (Vec::new(), notify::Attempts::default(), 0);
    for attempt in attempts {
        let attempt = write(attempt);
        bytes += attempt.encoded_len();
        record.attempts.push(attempt);
        if bytes >= max_bytes {
            records.push(std::mem::take(&mut record));
            bytes = 0;
        }
    }
    if !record.attempts.is_empty() {
        records.push(record);
    }
    let written = records.iter().map(|it| (it.attempts.len() as u64, it.encode_to_vec()));
    written.collect()
}

/// Reads the attempts at a delivery from a record.
pub(crate) fn decode(record: &[u8], seq: u64) -> Result<Vec<Attempt>, WireError> {
    let attempts = notify::Attempts::decode(record)?.attempts.into_iter();
    attempts.filter(|attempt| attempt.endpoint_seq == seq).map(read).collect()
}

/// Writes an attempt.
pub(super) fn write(attempt: Attempt) -> notify::Attempt {
    notify::Attempt {
        endpoint_seq: attempt.seq,
        number: attempt.number,
        at: Some(attempt.at.into()),
        latency_us: attempt.latency.as_micros() as u64,
        status: attempt.status.into(),
        error_class: attempt.error_class,
        response_excerpt: attempt.response_excerpt,
        is_replay: attempt.is_replay,
        message_id: attempt.message_id,
        traceparent: attempt.traceparent,
        user_agent: attempt.user_agent.as_ref().to_owned(),
        own_headers: attempt.own_headers.to_vec(),
        instruction: attempt.instruction,
    }
}

fn read(attempt: notify::Attempt) -> Result<Attempt, WireError> {
    Ok(Attempt {
        seq: attempt.endpoint_seq,
        number: attempt.number,
        at: Timestamp::parse(attempt.at.as_ref())?,
        latency: Duration::from_micros(attempt.latency_us),
        status: attempt.status as u16,
        error_class: attempt.error_class,
        response_excerpt: attempt.response_excerpt,
        is_replay: attempt.is_replay,
        message_id: attempt.message_id,
        traceparent: attempt.traceparent,
        user_agent: attempt.user_agent.into(),
        own_headers: Arc::from(attempt.own_headers),
        instruction: attempt.instruction,
    })
}
