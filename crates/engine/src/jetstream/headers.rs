//! The headers of messages, as names that are checked when the engine is compiled, not for each
//! message.

use async_nats::HeaderName;
use protocol::subject::{AFTER_HEADER, AGGREGATE_HEADER, POSITIONS_HEADER, REPLY_HEADER};

pub(crate) const AGGREGATE: HeaderName = HeaderName::from_static(AGGREGATE_HEADER);
pub(crate) const POSITIONS: HeaderName = HeaderName::from_static(POSITIONS_HEADER);
pub(crate) const REPLY: HeaderName = HeaderName::from_static(REPLY_HEADER);
pub(crate) const AFTER: HeaderName = HeaderName::from_static(AFTER_HEADER);

/// Of an atomic batch: what its messages have in common.
pub(crate) const BATCH_ID: HeaderName = HeaderName::from_static("Nats-Batch-Id");
/// Of an atomic batch: the number of the message in it, from 1.
pub(crate) const BATCH_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Batch-Sequence");
/// Of an atomic batch: this message is its last.
pub(crate) const BATCH_COMMIT: HeaderName = HeaderName::from_static("Nats-Batch-Commit");
/// The message is stored only right after that sequence.
pub(crate) const EXPECTED_LAST_SEQUENCE: HeaderName =
    HeaderName::from_static("Nats-Expected-Last-Sequence");
