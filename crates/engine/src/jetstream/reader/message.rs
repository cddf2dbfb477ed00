//! What arrives on a consumer's inbox: messages of the stream, and the server's status messages.

use async_nats::{HeaderMap, Message, StatusCode, header};
use bytes::Bytes;

use crate::jetstream::headers::{AFTER, AGGREGATE, POSITIONS, REPLY};

/// The header of an ended request: how many of the messages it asked for it did not get.
const PENDING_HEADER: &str = "Nats-Pending-Messages";

/// A message as it is stored in its stream.
#[derive(Debug, Clone)]
pub(crate) struct StoredMessage {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    /// The aggregate that the sender named.
    pub(crate) aggregate: Option<String>,
    /// Where the answer to a command goes.
    pub(crate) reply: Option<String>,
    /// Of a command: how much of other services' logs its sender had seen.
    pub(crate) after: Option<String>,
    /// In a service's log: the positions of its inputs.
    pub(crate) positions: Option<String>,
    /// When the stream stored it, in milliseconds since 1970.
    pub(crate) stored_at: Option<i64>,
    /// How many messages the consumer had yet to deliver after this one.
    pub(crate) pending: u64,
}

impl StoredMessage {
    /// The bytes that it holds in memory, headers aside.
    pub(crate) fn size(&self) -> usize {
        self.subject.len() + self.payload.len()
    }
}

/// What a message on the inbox of a consumer says.
#[derive(Debug)]
pub(super) enum Signal {
    /// The message that the consumer delivered with this sequence of its own.
    Message { consumer_sequence: u64, message: StoredMessage },
    /// The consumer has nothing to deliver now.
    Heartbeat {
        /// The sequence, its own, of the last message that it delivered.
        consumer_sequence: u64,
        /// The last sequence of the stream that it has looked at, whether its filter matched or
        /// not.
        stream_sequence: u64,
    },
    /// A request has ended, by its time or by its bytes; so many messages of it were not
    /// delivered. `None`: none were.
    RequestEnded { undelivered: Option<u64> },
    /// The consumer does not go on.
    ConsumerEnded { status: u16, description: String },
    /// Not to be understood.
    Unreadable,
}

impl Signal {
    pub(super) fn read(message: Message) -> Self {
        match message.status {
            None | Some(StatusCode::OK) => read_stored(message).unwrap_or(Self::Unreadable),
            Some(status) => read_status(status, &message),
        }
    }
}

fn read_stored(message: Message) -> Option<Signal> {
    let [stream, consumer_sequence, stored_ns, pending] = sequences(message.reply.as_deref()?)?;
    let headers = message.headers.as_ref();
    let header = |name| headers.and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
    let message = StoredMessage {
        sequence: stream,
        aggregate: header(AGGREGATE),
        reply: header(REPLY),
        after: header(AFTER),
        stored_at: Some((stored_ns / 1_000_000) as i64),
        positions: header(POSITIONS),
        pending,
        subject: message.subject.into_string(),
        payload: message.payload,
    };
    Some(Signal::Message { consumer_sequence, message })
}

/// The sequences in the stream and in the consumer, the time in nanoseconds since 1970, and what is
/// yet to be delivered, from the subject on which a message would be acknowledged: `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer
/// sequence>.<time>.<pending>`, or the same with domain and account after `$JS.ACK`.
fn sequences(reply: &str) -> Option<[u64; 4]> {
    let reply = reply.strip_prefix("$JS.ACK.")?;
    let before = match reply.split('.').count() {
        7 => 3,
        9.. => 5,
        _ => return None,
    };
    let mut tokens = reply.split('.').skip(before);
    let mut number = || tokens.next()?.parse().ok();
    Some([number()?, number()?, number()?, number()?])
}

fn read_status(status: StatusCode, message: &Message) -> Signal {
    let headers = message.headers.as_ref();
    let undelivered = number(headers, PENDING_HEADER);
    match status {
        StatusCode::IDLE_HEARTBEAT => {
            let consumer = number(headers, header::NATS_LAST_CONSUMER);
            let stream = number(headers, header::NATS_LAST_STREAM);
            let (Some(consumer_sequence), Some(stream_sequence)) = (consumer, stream) else {
                return Signal::Unreadable;
            };
            Signal::Heartbeat { consumer_sequence, stream_sequence }
        }
        StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Signal::RequestEnded { undelivered },
        StatusCode::REQUEST_TERMINATED if undelivered.is_some() => {
            Signal::RequestEnded { undelivered }
        }
        status => Signal::ConsumerEnded {
            status: status.as_u16(),
            description: message.description.clone().unwrap_or_default(),
        },
    }
}

fn number<N: header::IntoHeaderName>(headers: Option<&HeaderMap>, name: N) -> Option<u64> {
    headers?.get(name)?.as_str().trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: StatusCode, description: &str, headers: &[(&str, &str)]) -> Signal {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Signal::read(Message {
            subject: "_INBOX.x".into(),
            reply: None,
            payload: Bytes::new(),
            headers: Some(map),
            status: Some(status),
            description: Some(description.to_owned()),
            length: 0,
        })
    }

    #[test]
    fn a_heartbeat_says_how_far_the_consumer_is() {
        let headers = [("Nats-Last-Consumer", "7"), ("Nats-Last-Stream", "90")];
        let signal = status(StatusCode::IDLE_HEARTBEAT, "Idle Heartbeat", &headers);
        assert!(
            matches!(signal, Signal::Heartbeat { consumer_sequence: 7, stream_sequence: 90 }),
            "{signal:?}"
        );
        let signal = status(StatusCode::IDLE_HEARTBEAT, "FlowControl Request", &[]);
        assert!(matches!(signal, Signal::Unreadable), "{signal:?}");
    }

    #[test]
    fn a_request_that_has_ended_says_what_it_did_not_get() {
        let ended = [
            (StatusCode::TIMEOUT, "Request Timeout", "500", Some(500)),
            (StatusCode::REQUEST_TERMINATED, "Batch Completed", "0", Some(0)),
            (StatusCode::REQUEST_TERMINATED, "Message Size Exceeds MaxBytes", "12", Some(12)),
        ];
        for (code, description, pending, expected) in ended {
            match status(code, description, &[("Nats-Pending-Messages", pending)]) {
                Signal::RequestEnded { undelivered } => assert_eq!(undelivered, expected),
                other => panic!("{other:?}"),
            }
        }
        let signal = status(StatusCode::NOT_FOUND, "No Messages", &[]);
        assert!(matches!(signal, Signal::RequestEnded { undelivered: None }), "{signal:?}");
    }

    #[test]
    fn a_consumer_that_has_ended_says_why() {
        for (code, description) in [
            (StatusCode::REQUEST_TERMINATED, "Consumer Deleted"),
            (StatusCode::REQUEST_TERMINATED, "Leadership Change"),
            (StatusCode::NO_RESPONDERS, "No Responders"),
        ] {
            match status(code, description, &[]) {
                Signal::ConsumerEnded { status, description: read } => {
                    assert_eq!((status, read.as_str()), (code.as_u16(), description));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_sequences_are_read_from_both_forms_of_the_acknowledgement_subject() {
        assert_eq!(
            sequences("$JS.ACK.LEDGER-0.c1.1.42.7.1700000000000000000.3"),
            Some([42, 7, 1_700_000_000_000_000_000, 3])
        );
        let long = "$JS.ACK.hub.ACCHASH.LEDGER-0.c1.1.42.7.1700000000000000000.3.random";
        assert_eq!(sequences(long), Some([42, 7, 1_700_000_000_000_000_000, 3]));
        for none in ["", "_INBOX.a.b", "$JS.ACK.LEDGER-0.c1.1", "$JS.ACK.S.c.1.x.7.0.0"] {
            assert_eq!(sequences(none), None, "{none}");
        }
    }
}
