//! What is in a stream, read without the engine.

use async_nats::{
    HeaderMap,
    jetstream::consumer::{AckPolicy, DeliverPolicy, pull},
};
use futures::TryStreamExt;
use prost::Message;

use crate::TestServer;

/// An event as it is in a log, read as the message `E`.
#[derive(Debug, Clone)]
pub struct Entry<E> {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The event.
    pub event: E,
}

impl TestServer {
    /// The bytes of every message of every stream, with subject and headers.
    pub async fn dump(&self) -> Vec<u8> {
        let context = self.jetstream().await;
        let names: Vec<String> =
            context.stream_names().try_collect().await.expect("the streams are listed");
        let mut bytes = Vec::new();
        for name in names {
            let stream = context.get_stream(&name).await.expect("the stream exists");
            let state = stream.cached_info().state.clone();
            for sequence in state.first_sequence..=state.last_sequence {
                // One may be gone: that of a lease is followed by the next.
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                bytes.extend(format!("{} {:?}\n", message.subject, message.headers).into_bytes());
                bytes.extend_from_slice(&message.payload);
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// Every event of a stream, such as `<SERVICE>-0`, in order.
    pub async fn events<E: Message + Default>(&self, stream: &str) -> Vec<Entry<E>> {
        let context = self.jetstream().await;
        let stream = context.get_stream(stream).await.expect("the stream exists");
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer can be made");
        let count = consumer.cached_info().num_pending as usize;
        let mut entries = Vec::with_capacity(count);
        while entries.len() < count {
            let wanted = (count - entries.len()).min(1000);
            let messages = consumer.fetch().max_messages(wanted).messages().await;
            let messages: Vec<_> =
                messages.expect("the stream is read").try_collect().await.expect("messages come");
            entries.extend(messages.iter().map(|message| Entry {
                sequence: message.info().expect("it is of JetStream").stream_sequence,
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                event: E::decode(message.payload.clone()).expect("it is an event"),
            }));
        }
        entries
    }
}
