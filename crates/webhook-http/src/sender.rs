//! One attempt.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use hickory_resolver::net::NetError;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use rustls::pki_types::pem;
use tokio::time::{Instant, timeout_at};

use crate::{
    CustomHeaders, Exchange, Failure, Policy, Secret, WebhookUrl, connect::ConnectTimeout,
    destination::Destinations, excerpt, exchange::classify, sign,
};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_ATTEMPT: HeaderName = HeaderName::from_static("webhook-attempt");
const WEBHOOK_REPLAY: HeaderName = HeaderName::from_static("webhook-replay");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The headers that a request has besides those of its endpoint.
const OWN_HEADERS: usize = 8;

/// Sends webhooks. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Arc<Policy>,
    user_agent: HeaderValue,
    destinations: Destinations,
}

/// One attempt of one delivery.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Where it goes.
    pub url: &'a WebhookUrl,
    /// The headers of the endpoint.
    pub headers: &'a CustomHeaders,
    /// What it is signed with: during a rotation the new secret and the old ones.
    pub secrets: &'a [Secret],
    /// The id of the message (`webhook-id`), the same for all its attempts: visible ASCII characters
    /// without a full stop.
    pub id: &'a str,
    /// When the attempt is made, in unix seconds.
    pub timestamp: i64,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The W3C trace context that the attempt belongs to.
    pub traceparent: Option<&'a str>,
    /// What is sent and signed: JSON.
    pub body: Bytes,
    /// Whether a person or a job asked for it again (`webhook-replay: 1`).
    pub replay: bool,
}

impl Sender {
    /// A sender by a policy.
    pub fn new(policy: Policy) -> Result<Self, SetupError> {
        let user_agent =
            HeaderValue::from_str(&policy.user_agent).map_err(|_| SetupError::UserAgent)?;
        let policy = Arc::new(policy);
        let destinations = Destinations::new(Arc::clone(&policy))?;
        Ok(Self { shared: Arc::new(Shared { policy, user_agent, destinations }) })
    }

    /// Makes one attempt. Takes as long as the policy's timeout of an exchange at most.
    pub async fn send(&self, request: Request<'_>) -> Exchange {
        let started = Instant::now();
        let deadline = started + self.shared.policy.exchange_timeout;
        let signature = sign(request.secrets, request.id, request.timestamp, &request.body);
        let answer = timeout_at(deadline, self.answer(&request, &signature)).await;
        let latency = started.elapsed();
        match answer.unwrap_or(Err(Failure::Timeout)) {
            Ok(response) => self.read(&request, &signature, response, latency, deadline).await,
            Err(failure) => Exchange {
                outcome: failure.outcome(),
                status: None,
                // How long a name server took tells names that exist from those that do not.
                latency: if failure == Failure::Unresolved { Duration::ZERO } else { latency },
                response_excerpt: String::new(),
                retry_after: None,
                instruction: None,
            },
        }
    }

    /// Sends the request; returns the answer as soon as its head is there.
    async fn answer(
        &self,
        request: &Request<'_>,
        signature: &str,
    ) -> Result<Response<Incoming>, Failure> {
        if !request.url.is_allowed(&self.shared.policy) || request.id.contains('.') {
            return Err(Failure::Refused);
        }
        let headers = self.headers(request, signature).ok_or(Failure::Refused)?;
        let client = self.shared.destinations.client(request.url).await?;
        let mut outgoing = http::Request::new(Full::new(request.body.clone()));
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = request.url.uri().clone();
        *outgoing.headers_mut() = headers;
        client.request(outgoing).await.map_err(|error| {
            let failure = failure_of(&error);
            tracing::debug!(origin = request.url.origin(), %failure, %error, "sent no webhook");
            failure
        })
    }

    /// The headers of the request; nothing if one cannot be a header.
    fn headers(&self, request: &Request<'_>, signature: &str) -> Option<HeaderMap> {
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let mut headers = HeaderMap::with_capacity(OWN_HEADERS + request.headers.map().len());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, self.shared.user_agent.clone());
        headers.insert(WEBHOOK_ID, value(request.id)?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(request.timestamp));
        headers.insert(WEBHOOK_SIGNATURE, value(signature)?);
        headers.insert(WEBHOOK_ATTEMPT, HeaderValue::from(request.attempt));
        if let Some(traceparent) = request.traceparent {
            headers.insert(TRACEPARENT, value(traceparent)?);
        }
        if request.replay {
            headers.insert(WEBHOOK_REPLAY, HeaderValue::from_static("1"));
        }
        // None of them has a name of those above.
        headers.extend(request.headers.map().clone());
        Some(headers)
    }

    /// Classifies an answer, and reads its body as far as it is kept. Whatever becomes of the body
    /// changes nothing of the outcome.
    async fn read(
        &self,
        request: &Request<'_>,
        signature: &str,
        response: Response<Incoming>,
        latency: Duration,
        deadline: Instant,
    ) -> Exchange {
        let (head, body) = response.into_parts();
        let verdict = classify(head.status, &head.headers, request.timestamp);
        let deadline = deadline.min(Instant::now() + self.shared.policy.body_timeout);
        let body = excerpt::read(body, deadline).await;
        let secrets = request.headers.values().chain(signature.split(' '));
        Exchange {
            outcome: verdict.outcome,
            status: Some(head.status.as_u16()),
            latency,
            response_excerpt: excerpt::redact(&body, secrets),
            retry_after: verdict.retry_after,
            instruction: verdict.instruction,
        }
    }
}

/// Why there is no answer.
fn failure_of(error: &legacy::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<ConnectTimeout>() {
            return Failure::ConnectTimeout;
        }
        if error.is::<rustls::Error>() {
            return Failure::Tls;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse() || error.is_parse_too_large() {
                return Failure::Protocol;
            }
            // A connection by HTTP/2 that did not answer a probe.
            if error.is_timeout() {
                return Failure::Timeout;
            }
        }
        cause = match error.downcast_ref::<io::Error>() {
            // The source of an I/O error is that of what it wraps, which would be passed over.
            Some(io) => match io.get_ref() {
                Some(wrapped) => Some(wrapped),
                None if io.kind() == io::ErrorKind::TimedOut => return Failure::ConnectTimeout,
                None => None,
            },
            None => error.source(),
        };
    }
    if error.is_connect() { Failure::Connect } else { Failure::Closed }
}

/// Why there can be no sender.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The user agent is no value of a header.
    #[error("the user agent cannot be a header")]
    UserAgent,
    /// The proxy is none that can be used.
    #[error("the proxy must be http://host:port, with user:password@ where it wants them")]
    Proxy,
    /// The name servers cannot be used.
    #[error("set up the resolver of names")]
    Resolver(#[source] NetError),
    /// The certificates of further authorities are no PEM.
    #[error("read the certificates of trusted authorities")]
    TrustedRoot(#[source] pem::Error),
    /// The certificate of an authority cannot be used.
    #[error("use the certificates of trusted authorities")]
    UnusableRoot(#[source] rustls::Error),
    /// No authority is trusted, so no receiver could be.
    #[error("the operating system trusts no certificate authority: install ca-certificates")]
    NoRoots,
}
