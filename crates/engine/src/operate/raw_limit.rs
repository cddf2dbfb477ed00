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
        self.in_scratch_stream(async |context, name| write_batches(context, name, time).await).await
    }

    /// Writes single messages of 300 bytes, each after the one before was acknowledged, into a stream
    /// that is made for it and deleted afterwards; returns how long each took.
    pub async fn raw_writes(&self, count: u32) -> Result<Vec<Duration>, Error> {
        self.in_scratch_stream(async |context, name| write_one_by_one(context, name, count).await)
            .await
    }

    async fn in_scratch_stream<T>(
        &self,
        write: impl AsyncFnOnce(&Context, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
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
        let written = write(context, &name).await;
        context
            .delete_stream(&name)
            .await
            .map_err(|error| Error::jetstream("delete", &name, error))?;
        written
    }
}

async fn write_batches(context: &Context, name: &str, time: Duration) -> Result<RawLimit, Error> {
    let message = message(name);
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

async fn write_one_by_one(
    context: &Context,
    name: &str,
    count: u32,
) -> Result<Vec<Duration>, Error> {
    let message = message(name);
    let mut times = Vec::new();
    for written in 0..u64::from(count) {
        let started = Instant::now();
        publish(&context.client(), vec![message.clone()], Some(written))
            .await
            .map_err(|error| Error::jetstream("write to", name, error))?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn message(subject: &str) -> Outgoing {
    Outgoing {
        subject: subject.to_owned(),
        headers: HeaderMap::new(),
        payload: Bytes::from(vec![b'x'; SIZE]),
    }
}

#[expect(clippy::disallowed_methods, reason = "names a stream that nobody else uses")]
fn scratch_name() -> String {
    format!("SCRATCH-{}", Uuid::now_v7().simple())
}
