//! Whether the broker can be used.

use async_nats::jetstream::context::GetStreamError;
use futures::{FutureExt, future::select_ok};

use crate::{Client, client::inbox::InboxError, jetstream::streams};

/// The broker cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// nats-server does not store what it is sent.
    #[error("nats-server does not store: {0}; free or add space, then restart nats-server")]
    NotStored(String),
    /// No command could be written to the inbox of late.
    #[error("no command can be written")]
    Inbox(#[source] InboxError),
    /// JetStream does not answer.
    #[error("JetStream does not answer")]
    Silent(#[source] GetStreamError),
}

impl Client {
    /// Whether NATS is connected, and JetStream answers and stores. It answers when it does for one of the
    /// inboxes: each has a leader of its own, and an election of one concerns only the shops of its partition.
    pub async fn ready(&self) -> Result<(), BrokerError> {
        if let Some(failure) = self.0.monitor.store_failure().await {
            return Err(BrokerError::NotStored(failure));
        }
        match self.0.inboxes.recent_failure() {
            Some(InboxError::Full(problem)) => return Err(BrokerError::NotStored(problem)),
            Some(error) => return Err(BrokerError::Inbox(error)),
            None => {}
        }
        let inboxes = (0..self.0.partitions).map(|partition| {
            let stream = streams::inbox(partition);
            async move { self.0.context.get_stream(stream).await }.boxed()
        });
        select_ok(inboxes).await.map(|_| ()).map_err(BrokerError::Silent)
    }
}
