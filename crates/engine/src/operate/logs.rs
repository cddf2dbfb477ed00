//! The logs themselves, for whoever checks them: no service's code takes part.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine, Error, WireError,
    jetstream::log::last_sequence,
    jetstream::reader::{Chunks, Delivery, Selection, StoredMessage, follow, read_range},
    jetstream::streams,
    projection::{
        positions::{Position, Positions},
        voided::VoidedMessages,
    },
};

/// Messages that are read at once.
const CHUNK: usize = 1000;
/// Events that wait for whoever follows a log; the reader pauses beyond that.
const MAX_WAITING_EVENTS: usize = 1000;

/// An event as it is in a service's log, read as the message `E`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged<E> {
    /// Its sequence in the log.
    pub sequence: u64,
    /// By source: how far it was handled with the batch which this event ends; empty for the other
    /// events of the batch.
    pub positions: BTreeMap<String, Position>,
    /// The event; an empty one where the message is voided.
    pub event: E,
    /// When its log stored it, in milliseconds since 1970; `None` where that is not known.
    pub stored_at_ms: Option<i64>,
    /// Whether an operator has voided the message, which is no event.
    pub is_voided: bool,
}

impl<E: Message + Default> Logged<E> {
    fn read(stream: &str, message: StoredMessage) -> Result<Self, Error> {
        let (sequence, stored_at_ms) = (message.sequence, message.stored_at);
        let unreadable = |source| unreadable(stream, sequence, source);
        let event = E::decode(message.payload).map_err(unreadable)?;
        let mut positions = Positions::default();
        if let Some(header) = &message.positions {
            positions.set_to_header(header);
        }
        let positions = positions.into_map();
        Ok(Self { sequence, positions, event, stored_at_ms, is_voided: false })
    }

    fn voided(sequence: u64) -> Self {
        let (positions, event) = (BTreeMap::new(), E::default());
        Self { sequence, positions, event, stored_at_ms: None, is_voided: true }
    }
}

impl Engine {
    /// The last sequence of a service's log.
    pub async fn log_end(&self, service: &str, partition: u32) -> Result<u64, Error> {
        last_sequence(self.context(), &streams::log(service, partition)).await
    }

    /// The last sequence of the inbox.
    pub async fn inbox_end(&self, partition: u32) -> Result<u64, Error> {
        last_sequence(self.context(), &streams::inbox(partition)).await
    }

    /// Reads a service's log from its beginning to its present end, each event as the message `E`;
    /// returns how many messages it read, with those that are voided.
    pub async fn read_log<E: Message + Default>(
        &self,
        service: &'static str,
        partition: u32,
        mut each: impl FnMut(Logged<E>),
    ) -> Result<u64, Error> {
        let stream = streams::log(service, partition);
        let voided = VoidedMessages::read(self.context(), service, partition, 0).await?;
        let mut read = 0;
        let mut chunks = self.read_stream(&stream, service).await?;
        while let Some(chunk) = chunks.recv().await {
            for message in chunk? {
                read += 1;
                each(if voided.contains(&message) {
                    Logged::voided(message.sequence)
                } else {
                    Logged::read(&stream, message)?
                });
            }
        }
        Ok(read)
    }

    /// Reads the commands of the inbox, with their sequences, to its present end, each as the message
    /// `C`; returns how many it read.
    pub async fn read_inbox<C: Message + Default>(
        &self,
        partition: u32,
        mut each: impl FnMut(u64, C),
    ) -> Result<u64, Error> {
        let stream = streams::inbox(partition);
        let mut read = 0;
        let mut chunks = self.read_stream(&stream, "inbox").await?;
        while let Some(chunk) = chunks.recv().await {
            for StoredMessage { sequence, payload, .. } in chunk? {
                let command =
                    C::decode(payload).map_err(|error| unreadable(&stream, sequence, error))?;
                read += 1;
                each(sequence, command);
            }
        }
        Ok(read)
    }

    async fn read_stream(&self, stream: &str, reader: &'static str) -> Result<Chunks, Error> {
        let end = last_sequence(self.context(), stream).await?;
        let selection = Selection { starts_at_first: true, ..Selection::new(stream, Vec::new()) };
        Ok(read_range(self.context().clone(), selection, 0, end, reader, CHUNK))
    }

    /// Follows some events of a service's log after the sequence `after`, until `shutdown` or until
    /// nobody listens. What cannot be read is logged and left out.
    pub fn follow_log<E: Message + Default + 'static>(
        &self,
        service: &'static str,
        partition: u32,
        events: &[&str],
        after: u64,
        shutdown: &CancellationToken,
    ) -> mpsc::Receiver<Logged<E>> {
        let stream = streams::log(service, partition);
        let filters =
            events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect();
        let selection = Selection::new(&stream, filters);
        let wake = Arc::new(Notify::new());
        let context = self.context().clone();
        let mut arriving = follow(context, selection, after, service, wake, shutdown.clone());
        let (sender, queue) = mpsc::channel(MAX_WAITING_EVENTS);
        tokio::spawn(async move {
            while let Some(delivery) = arriving.recv().await {
                let logged = match delivery {
                    Delivery::Message(message) => Logged::read(&stream, message),
                    Delivery::Progress(_) => continue,
                    Delivery::Failed(error) => Err(error),
                };
                match logged {
                    Ok(logged) => {
                        if sender.send(logged).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot follow the log"),
                }
            }
        });
        queue
    }
}

fn unreadable(stream: &str, sequence: u64, source: prost::DecodeError) -> Error {
    Error::Undecodable { stream: stream.to_owned(), sequence, source: WireError::from(source) }
}
