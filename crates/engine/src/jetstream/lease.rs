//! Who runs a partition: a lease that its holder renews, and that runs out when it does not.
//!
//! The lease is for efficiency: two workers on one partition would only waste work. Safety is the
//! expectation on every append and the compare-and-set in every projection.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{Context, stream::LastRawMessageErrorKind},
};
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    jetstream::publish::{Outgoing, PublishError, WRONG_LAST_SEQUENCE, publish},
};

/// The stream of the leases.
pub(crate) const STREAM: &str = "LEASES";
/// How long a lease lasts without renewal.
const LASTS: Duration = Duration::from_secs(3);
/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// How often somebody who waits for it looks.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// A lease that is held.
#[derive(Debug)]
pub(crate) struct Lease {
    context: Context,
    service: &'static str,
    partition: u32,
    holder: String,
    revision: u64,
}

impl Lease {
    /// Takes the lease, as soon as nobody holds it. With `patience`, gives up after that time.
    pub(crate) async fn acquire(
        context: &Context,
        service: &'static str,
        partition: u32,
        holder: &str,
        patience: Option<Duration>,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let mut lease = Self {
            context: context.clone(),
            service,
            partition,
            holder: holder.to_owned(),
            revision: 0,
        };
        loop {
            match lease.look().await? {
                Seen::Free(revision) => {
                    lease.revision = revision;
                    match lease.write(&lease.holder, LASTS).await {
                        Ok(revision) => {
                            lease.revision = revision;
                            return Ok(lease);
                        }
                        Err(PublishError::Refused { code: WRONG_LAST_SEQUENCE, .. }) => {}
                        Err(error) => {
                            return Err(Error::jetstream("take a lease in", STREAM, error));
                        }
                    }
                }
                Seen::Held { by: holder, .. } => {
                    if patience.is_some_and(|patience| started.elapsed() > patience) {
                        return Err(Error::LeaseHeld { service, partition, holder });
                    }
                }
            }
            sleep(LOOKED_AT_EVERY).await;
        }
    }

    /// Renews the lease again and again; returns when it is lost.
    pub(crate) async fn keep(&mut self) -> Error {
        let mut renewed = Instant::now();
        loop {
            match self.write(&self.holder, LASTS).await {
                Ok(revision) => {
                    self.revision = revision;
                    renewed = Instant::now();
                }
                // It ran out while the server was slow, or a renewal's answer was lost: as long as
                // nobody else has taken it, nothing is lost with it.
                Err(PublishError::Refused { code: WRONG_LAST_SEQUENCE, .. }) => {
                    match self.look().await {
                        Ok(Seen::Free(revision)) => self.revision = revision,
                        Ok(Seen::Held { by, revision }) if by == self.holder => {
                            self.revision = revision;
                        }
                        Ok(Seen::Held { .. }) => break,
                        Err(error) => {
                            tracing::debug!(service = self.service, %error, "cannot see the lease");
                        }
                    }
                }
                // The server may be away for a moment: nobody else can take the lease then either.
                Err(error) if renewed.elapsed() < 4 * LASTS => {
                    tracing::debug!(service = self.service, %error, "could not renew the lease");
                }
                Err(_) => break,
            }
            sleep(RENEWED_EVERY).await;
        }
        Error::LeaseLost { service: self.service, partition: self.partition }
    }

    /// Gives the lease back, so that the next worker need not wait.
    pub(crate) async fn release(self) {
        if let Err(error) = self.write("", RENEWED_EVERY).await {
            tracing::debug!(service = self.service, %error, "could not release the lease");
        }
    }

    async fn look(&self) -> Result<Seen, Error> {
        let failed = |error| Error::jetstream("read", STREAM, error);
        let stream =
            self.context.get_stream_no_info(STREAM).await.map_err(|e| failed(e.to_string()))?;
        match stream.get_last_raw_message_by_subject(&self.subject()).await {
            Ok(message) if message.payload.is_empty() => Ok(Seen::Free(message.sequence)),
            Ok(message) => Ok(Seen::Held {
                by: String::from_utf8_lossy(&message.payload).into_owned(),
                revision: message.sequence,
            }),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Ok(Seen::Free(0))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    async fn write(&self, holder: &str, lasts: Duration) -> Result<u64, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-TTL", format!("{}s", lasts.as_secs()));
        headers.insert("Nats-Expected-Last-Subject-Sequence", self.revision.to_string());
        let message = Outgoing {
            subject: self.subject(),
            headers,
            payload: holder.to_owned().into_bytes().into(),
        };
        publish(&self.context.client(), vec![message], None).await.map(|stored| stored.sequence)
    }

    fn subject(&self) -> String {
        format!("lease.{}.{}", self.service, self.partition)
    }
}

enum Seen {
    /// Nobody holds it; the last word on it has that sequence.
    Free(u64),
    /// That one holds it, by that revision.
    Held { by: String, revision: u64 },
}
