//! The sending end of webhooks: one attempt of one delivery, over HTTP.
//!
//! It signs a body by [Standard Webhooks](https://www.standardwebhooks.com), sends it to a URL that
//! a stranger chose, without ever reaching into the network that it runs in, and says what came of
//! it. It knows nothing of events, endpoints, schedules or retries: those are its caller's.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use webhook_http::{CustomHeaders, Outcome, Policy, Request, Secret, Sender, parse_url};
//!
//! let policy = Policy::default();
//! let url = parse_url("https://example.com/hooks", &policy)?;
//! let secrets = [Secret::generate()?];
//! let sender = Sender::new(policy)?;
//! let exchange = sender
//!     .send(Request {
//!         url: &url,
//!         headers: &CustomHeaders::default(),
//!         secrets: &secrets,
//!         id: "0190b3a1-0000-7000-8000-000000000001",
//!         timestamp: 1_750_000_000,
//!         attempt: 1,
//!         traceparent: None,
//!         body: r#"{"type":"order.paid"}"#.into(),
//!         replay: false,
//!     })
//!     .await;
//! assert_eq!(exchange.outcome, Outcome::Delivered);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `policy` | [`Policy`]: what the operator allows, and the timeouts |
//! | `url` | [`parse_url`]: what a webhook may be sent to, judged without the network |
//! | `address` | which IP addresses are global |
//! | `secret` | [`Secret`]: keys, and [`sign`] |
//! | `headers` | [`CustomHeaders`]: what an endpoint adds to a request |
//! | `sender` | [`Sender`]: one attempt |
//! | `destination` | one for each origin: its vetted addresses, and the connections to them |
//! | `resolve` | name to addresses, all of them global, or none |
//! | `connect` | connections to vetted addresses alone, directly or through a proxy, with TLS |
//! | `exchange` | [`Exchange`]: what came of an attempt, and how an answer is classified |
//! | `excerpt` | what is kept of a response |
//!
//! # One attempt
//!
//! 1. The URL is judged again, because the policy may be stricter than when it was stored.
//! 2. Its host is resolved, at most every 5 seconds. If **any** address is not global, nothing is
//!    sent. What the outcome says then is the same as for a name that does not exist, so that
//!    nobody learns from it what a private name resolves to.
//! 3. The request goes over a connection to one of these addresses. Connections are kept and used
//!    again, and given up when the addresses of the host change.
//! 4. The outcome follows from the status alone. The body is read for a second, up to 16 KiB, and
//!    never makes a failure of a success.
//!
//! A request is written once. If its connection is closed without an answer, the attempt has failed.

mod address;
mod connect;
mod destination;
mod excerpt;
mod exchange;
mod headers;
mod policy;
mod resolve;
mod secret;
mod sender;
mod url;

pub use self::{
    excerpt::MAX_EXCERPT_BYTES,
    exchange::{Exchange, Failure, Instruction, MAX_RETRY_AFTER, Outcome, THROTTLE_DELAY},
    headers::{CustomHeaders, HeaderError, MAX_HEADER_BYTES, MAX_HEADERS},
    policy::{Policy, Ports, PortsError},
    secret::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, RandomnessError, Secret, SecretError, sign},
    sender::{Request, Sender, SetupError},
    url::{MAX_URL_BYTES, UrlError, WebhookUrl, parse_url},
};
