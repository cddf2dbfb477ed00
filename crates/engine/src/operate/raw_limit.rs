//! What the server takes at most: the figure that everything else is measured against.

use std::time::{Duration, Instant};

use async_nats::{
    HeaderMap,
    jetstream::{
        Context,
        stream::{Config, StorageType},
    },
};
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    Engine, Error,
    jetstream::publish::{Outgoing, publish},
};

/// Messages in one batch: as many as a worker takes at once.
const BATCH: usize = 500;
/// The size of a message in bytes: about that of an event.
const SIZE: usize = 300;

/// What was written, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLimit {
    /// The messages.
    pub messages: u64,
    /// How long it took until the last was acknowledged.
    pub took: Duration,
}

impl Engine {
    /// Writes atomic batches of 500 messages of 300 bytes, one after the other as a worker does,
    /// for at least `time`, into a stream that is made for it and deleted afterwards.
    pub async fn raw_limit(&self, time: Duration) -> Result<RawLimit, Error> {
        let name = scratch_name();
        let config = Config {
            name: name.clone(),
            subjects: vec![name.clone()],
            storage: StorageType::File,
            num_replicas: self.config().replicas,
            allow_atomic_publish: true,
            ..Default::default()
        };
        let context = self.context();
        context
            .create_stream(config)
            .await
            .map_err(|error| Error::jetstream("create", &name, error))?;
        let written = write(context, &name, time).await;
        context
            .delete_stream(&name)
            .await
            .map_err(|error| Error::jetstream("delete", &name, error))?;
        written
    }
}

async fn write(context: &Context, name: &str, time: Duration) -> Result<RawLimit, Error> {
    let message = Outgoing {
        subject: name.to_owned(),
        headers: HeaderMap::new(),
        payload: Bytes::from(vec![b'x'; SIZE]),
    };
    let started = Instant::now();
    let mut messages = 0;
    while started.elapsed() < time {
        publish(&context.client(), vec![message.clone(); BATCH], Some(messages))
            .await
            .map_err(|error| Error::jetstream("write to", name, error))?;
        messages += BATCH as u64;
    }
    Ok(RawLimit { messages, took: started.elapsed() })
}

#[expect(clippy::disallowed_methods, reason = "names a stream that nobody else uses")]
fn scratch_name() -> String {
    format!("SCRATCH-{}", Uuid::now_v7().simple())
}
