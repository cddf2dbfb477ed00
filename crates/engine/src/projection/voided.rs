//! The messages of a log that operators have voided: no events, for whoever reads the log.

use std::collections::HashMap;

use async_nats::jetstream::Context;
use prost::Message;
use protocol::{
    id::hex,
    proto::{self, engine_event::Kind},
    subject,
};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    jetstream::{
        reader::{Selection, StoredMessage, read_last, read_range},
        streams,
    },
};

/// Messages read at once.
const CHUNK: usize = 500;

/// What operators have voided: by sequence, the hashes of the messages that they saw there.
#[derive(Debug, Default)]
pub(crate) struct VoidedMessages(HashMap<u64, Vec<String>>);

impl VoidedMessages {
    /// Reads which messages after the sequence `after` are voided, up to the present end of the log.
    ///
    /// To be read before the log is: a message is no event from the moment on at which it is voided,
    /// whether this version could read it or not. Otherwise a version that understands a message which
    /// its predecessor did not would take it for an event after all.
    pub(crate) async fn read(
        context: &Context,
        service: &'static str,
        partition: u32,
        after: u64,
    ) -> Result<Self, Error> {
        let mut voided = Self::default();
        let stream = streams::log(service, partition);
        let subject = subject::engine_event(service, partition, "voided");
        let Some(last) = read_last(context, &stream, &subject).await? else { return Ok(voided) };
        // What is voided is before the event that says so.
        let selection = Selection::new(stream, vec![subject]);
        let (context, end) = (context.clone(), last.sequence);
        let mut chunks = read_range(context, selection, after, end, service, CHUNK);
        while let Some(chunk) = chunks.recv().await {
            for message in chunk? {
                let Ok(envelope) = proto::Envelope::decode(message.payload) else { continue };
                if let Some(Kind::Voided(event)) = envelope.engine.and_then(|engine| engine.kind) {
                    voided.0.entry(event.sequence).or_default().push(event.sha256);
                }
            }
        }
        Ok(voided)
    }

    /// Whether an operator has voided exactly this message.
    pub(crate) fn contains(&self, message: &StoredMessage) -> bool {
        let hashes = self.0.get(&message.sequence);
        hashes.is_some_and(|hashes| hashes.contains(&sha256(message)))
    }
}

/// The hash by which an operator names a message, in hexadecimal.
pub(crate) fn sha256(message: &StoredMessage) -> String {
    hex(&Sha256::digest(&message.payload))
}
