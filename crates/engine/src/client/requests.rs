//! Requests of clients that speak to nats-server, and not HTTP to the program.

use std::time::Duration;

use async_nats::{Client as Nats, HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use uuid::Uuid;

use crate::client::Client;

/// Requests to some subjects. Several processes that take them share them.
#[derive(Debug)]
pub struct Requests {
    subscriber: Subscriber,
    nats: Nats,
    /// What the subject of an answer begins with.
    replies: String,
}

/// A request, which its sender waits to be answered.
#[derive(Debug)]
pub struct Request {
    message: Message,
    reply: Subject,
    nats: Nats,
}

/// What a request was answered.
#[derive(Debug)]
pub struct Response {
    message: Message,
}

/// Requests cannot be taken, not be sent, or not be answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No requests can be received.
    #[error("cannot subscribe to requests")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The answer cannot be sent.
    #[error("cannot send an answer")]
    Publish(#[from] async_nats::PublishError),
    /// The request was not sent, or not answered in time.
    #[error("no answer came")]
    Unanswered(#[from] async_nats::RequestError),
    /// nats-server takes no message of that size.
    #[error("the answer has {length} bytes, and a message has at most {max}")]
    TooLarge {
        /// The bytes of the answer.
        length: usize,
        /// The most bytes of a message.
        max: usize,
    },
}

/// Left free in an answer for its headers, in bytes.
const HEADER_BYTES: usize = 8 * 1024;

impl Client {
    /// Takes the requests to `subject`. Of all who take them with the same `group`, one gets each.
    ///
    /// The sender of a request names the subject of its answer, and nats-server does not check what it
    /// names. Answered anywhere, a sender could have us write where we may and it may not, such as into
    /// the inbox. So only requests are taken that are to be answered to a subject below `replies`.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed.
    pub async fn requests(
        &self,
        subject: &str,
        group: &str,
        replies: &str,
    ) -> Result<Requests, RequestError> {
        let nats = self.0.nats.clone();
        let subscriber = nats.queue_subscribe(subject.to_owned(), group.to_owned()).await?;
        Ok(Requests { subscriber, nats, replies: format!("{replies}.") })
    }

    /// Sends a request to those who take [`Self::requests`] to `subject`, and waits for the answer, which comes
    /// to a subject below `replies`.
    ///
    /// # Errors
    ///
    /// Fails when nobody takes it, and when no answer comes within `timeout`.
    #[expect(
        clippy::disallowed_methods,
        reason = "names the subject of an answer, decides nothing"
    )]
    pub async fn request(
        &self,
        (subject, replies): (&str, &str),
        headers: &[(&str, &str)],
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Response, RequestError> {
        let request = async_nats::Request::new()
            .headers(to_headers(headers))
            .payload(payload)
            .inbox(format!("{replies}.{}", Uuid::now_v7().simple()))
            .timeout(Some(timeout));
        let message = self.0.nats.send_request(subject.to_owned(), request).await?;
        Ok(Response { message })
    }
}

impl Response {
    /// A header, in whatever case its name was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.message, name)
    }

    /// What it says.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }
}

impl Requests {
    /// The next request; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Request> {
        loop {
            let message = self.subscriber.next().await?;
            let reply = message.reply.clone();
            if let Some(reply) = reply.filter(|reply| reply.starts_with(&self.replies)) {
                return Some(Request { message, reply, nats: self.nats.clone() });
            }
            tracing::debug!(
                subject = %message.subject,
                reply = message.reply.as_deref(),
                "a request is left alone: it is not to be answered below {}",
                self.replies
            );
        }
    }

    /// Takes no more requests. [`Self::next`] returns what has come before.
    pub async fn stop(&mut self) {
        if let Err(error) = self.subscriber.drain().await {
            tracing::debug!(%error, "cannot unsubscribe from requests");
        }
    }
}

impl Request {
    /// Where it was sent to.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Where it is answered to.
    pub fn reply(&self) -> &str {
        &self.reply
    }

    /// A header, in whatever case its name was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.message, name)
    }

    /// What it says.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Answers it.
    ///
    /// # Errors
    ///
    /// Fails when the answer is too large, with which nothing is sent; and when the connection is
    /// closed.
    pub async fn answer(
        &self,
        headers: &[(&str, &str)],
        payload: Bytes,
    ) -> Result<(), RequestError> {
        let max = self.nats.server_info().max_payload.saturating_sub(HEADER_BYTES);
        if payload.len() > max {
            return Err(RequestError::TooLarge { length: payload.len(), max });
        }
        let headers = to_headers(headers);
        self.nats.publish_with_headers(self.reply.clone(), headers, payload).await?;
        Ok(())
    }
}

fn to_headers(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    map
}

/// A header, in whatever case its name was sent.
fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let headers = message.headers.as_ref()?;
    let named =
        headers.iter().find(|(other, _)| AsRef::<str>::as_ref(other).eq_ignore_ascii_case(name));
    named.and_then(|(_, values)| values.first()).map(async_nats::HeaderValue::as_str)
}
