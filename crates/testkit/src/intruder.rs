//! Somebody who tries what a user of nats-server may not do.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::{sync::mpsc, time::timeout};

use crate::nats::connect_options;

/// How long a complaint is waited for. The server sends it before the pong that is waited for first.
const COMPLAINT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long an answer to a request is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it was sent to.
    pub subject: String,
    /// Where it is to be answered itself.
    pub reply: Option<String>,
    /// What it says.
    pub payload: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(other, _)| other == name);
        named.map(|(_, value)| value.as_str())
    }
}

impl From<Message> for Answer {
    fn from(message: Message) -> Self {
        let headers = message.headers.unwrap_or_default();
        let first = |values: &[async_nats::HeaderValue]| values.first().map(ToString::to_string);
        let headers = headers
            .iter()
            .map(|(name, values)| (name.to_string(), first(values).unwrap_or_default()))
            .collect();
        let (subject, payload) = (message.subject.to_string(), message.payload.to_vec());
        let reply = message.reply.map(|reply| reply.to_string());
        Self { subject, reply, payload, headers }
    }
}

/// The answers to the requests of a user.
#[derive(Debug)]
pub struct Answers(Subscriber);

impl Answers {
    /// The next one; `None` when none comes.
    pub async fn next(&mut self) -> Option<Answer> {
        timeout(ANSWER_TIMEOUT, self.0.next()).await.ok().flatten().map(Answer::from)
    }

    /// One that has come.
    pub fn now(&mut self) -> Option<Answer> {
        self.0.next().now_or_never().flatten().map(Answer::from)
    }
}

/// A connection of a user, and what the server complains of.
#[derive(Debug)]
pub struct Intruder {
    client: Client,
    complaints: mpsc::UnboundedReceiver<String>,
}

impl Intruder {
    /// Connects with the user and password of an address; `None` when the server does not let it in.
    pub async fn connect(url: &str) -> Option<Self> {
        Self::connect_with(connect_options(url), url).await
    }

    /// Connects with a key; `None` when the server does not let it in.
    pub async fn connect_with_key(url: &str, seed: &str) -> Option<Self> {
        Self::connect_with(ConnectOptions::with_nkey(seed.trim().to_owned()), url).await
    }

    async fn connect_with(options: ConnectOptions, url: &str) -> Option<Self> {
        let (complain, complaints) = mpsc::unbounded_channel();
        let options = options.event_callback(move |event| {
            let complain = complain.clone();
            async move {
                if let Event::ServerError(error) = event {
                    complain.send(error.to_string()).ok();
                }
            }
        });
        Some(Self { client: options.connect(url).await.ok()?, complaints })
    }

    /// Whether it may publish to a subject: it does.
    pub async fn may_publish(&mut self, subject: &str) -> bool {
        self.forget_complaints();
        self.client.publish(subject.to_owned(), "garbage".into()).await.expect("it is sent");
        self.is_allowed().await
    }

    /// Subscribes to a subject; `None` when it may not.
    pub async fn subscribe(&mut self, subject: &str) -> Option<Subscriber> {
        self.forget_complaints();
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("it is sent");
        self.is_allowed().await.then_some(subscriber)
    }

    /// The answers that come below `replies`.
    pub async fn answers(&mut self, replies: &str) -> Answers {
        let subscriber = self.subscribe(&format!("{replies}.>")).await;
        Answers(subscriber.expect("it may hear its answers"))
    }

    /// Sends a request whose answer goes below `replies`, and waits for it.
    pub async fn request(
        &mut self,
        subject: &str,
        replies: &str,
        headers: &[(&str, &str)],
        payload: Vec<u8>,
    ) -> Option<Answer> {
        let inbox = self.client.new_inbox();
        let reply = format!("{replies}.{}", inbox.rsplit('.').next().unwrap_or_default());
        let subscriber = self.client.subscribe(reply.clone()).await.expect("it is sent");
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.insert(*name, *value);
        }
        let subject = subject.to_owned();
        let published =
            self.client.publish_with_reply_and_headers(subject, reply, sent, payload.into());
        published.await.expect("it is sent");
        Answers(subscriber).next().await
    }

    /// Sends a message that names where it is to be answered.
    pub async fn publish_with_reply(&self, subject: &str, reply: &str, payload: Vec<u8>) {
        let (subject, reply) = (subject.to_owned(), reply.to_owned());
        let published = self.client.publish_with_reply(subject, reply, payload.into());
        published.await.expect("it is sent");
    }

    /// Waits until the server has taken what was sent, and has sent what there was.
    pub async fn flush(&self) {
        self.client.flush().await.expect("the server answers");
    }

    fn forget_complaints(&mut self) {
        while self.complaints.try_recv().is_ok() {}
    }

    async fn is_allowed(&mut self) -> bool {
        self.client.flush().await.expect("the server answers");
        let complaint = timeout(COMPLAINT_TIMEOUT, self.complaints.recv()).await.ok().flatten();
        let is_refusal = |text: String| text.to_lowercase().contains("permissions violation");
        !complaint.is_some_and(is_refusal)
    }
}
