//! Whether a stream is still the one in which a position was reached.
//!
//! A stream that was lost and created anew begins at sequence 1. As long as it ends before the
//! position, that shows; once it has passed the position, the messages up to there would be taken
//! for handled. But a stream says when it was created, and a service's own log when the service had
//! recorded a position in it: recorded before the stream existed, it is one in another stream.

use async_nats::{
    HeaderValue,
    datetime::DateTime,
    jetstream::{
        Context,
        message::StreamMessage,
        stream::{RawMessageErrorKind, Stream},
    },
};
use prost::Message;
use protocol::{
    proto::{self, engine_event::Kind},
    subject::{self, POSITIONS_HEADER},
};

use crate::{Error, jetstream::retry::repeated, projection::positions::Positions};

/// Where the positions of a source are recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The service's own log.
    pub(crate) log: String,
    /// The subject of the events by which an operator resets positions.
    pub(crate) resets: String,
    /// The source, as positions name it.
    pub(crate) source: &'static str,
}

impl Recorded {
    /// The record of a source of a partition of a service.
    pub(crate) fn of(log: String, service: &str, partition: u32, source: &'static str) -> Self {
        let resets = subject::engine_event(service, partition, "position_reset");
        Self { log, resets, source }
    }

    /// Whether a position was recorded before `created`, at which the source's stream was created,
    /// and no operator has reset it since.
    pub(crate) async fn is_older_than(
        &self,
        context: &Context,
        created: DateTime,
    ) -> Result<bool, Error> {
        let log =
            repeated(|| context.get_stream(&self.log)).await.map_err(|error| self.failed(error))?;
        let info = log.cached_info();
        if info.created >= created || info.state.last_sequence == 0 {
            return Ok(false);
        }
        let first = info.state.first_sequence;
        // Sequences from `low` on may be of events since, those from `high` on are.
        let (mut low, mut high) = (first, info.state.last_sequence + 1);
        // Nearly always nothing was recorded before the stream was there: one look says so.
        let mut middle = first;
        while low < high {
            if self.get(&log, middle).await?.is_some_and(|message| message.time < created) {
                low = middle + 1;
            } else {
                high = middle;
            }
            middle = low + (high - low) / 2;
        }
        let recorded = self.recorded_up_to(&log, first, low - 1).await?;
        Ok(recorded > 0 && !self.is_reset_since(&log, low).await?)
    }

    /// The position that the log carries at `last`.
    async fn recorded_up_to(&self, log: &Stream, first: u64, last: u64) -> Result<u64, Error> {
        for sequence in (first..=last).rev() {
            let Some(message) = self.get(log, sequence).await? else { continue };
            // Only the last message of a batch has positions.
            let header = message.headers.get(POSITIONS_HEADER).map(HeaderValue::as_str);
            if let Some(header) = header.filter(|header| !header.is_empty()) {
                let mut positions = Positions::default();
                positions.set_to_header(header);
                return Ok(positions.sequence(self.source));
            }
        }
        Ok(0)
    }

    async fn is_reset_since(&self, log: &Stream, mut sequence: u64) -> Result<bool, Error> {
        loop {
            let found =
                repeated(|| log.get_first_raw_message_by_subject(&self.resets, sequence)).await;
            let message = match found {
                Ok(message) => message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                    return Ok(false);
                }
                Err(error) => return Err(self.failed(error)),
            };
            let envelope = proto::Envelope::decode(message.payload).ok();
            if let Some(Kind::PositionReset(reset)) =
                envelope.and_then(|envelope| envelope.engine?.kind)
                && reset.source == self.source
            {
                return Ok(true);
            }
            sequence = message.sequence + 1;
        }
    }

    async fn get(&self, log: &Stream, sequence: u64) -> Result<Option<StreamMessage>, Error> {
        match repeated(|| log.get_raw_message(sequence)).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::jetstream("look for recorded positions in", &self.log, error)
    }
}
