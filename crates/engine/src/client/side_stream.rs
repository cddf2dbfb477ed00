//! Streams beside the log of a service: what people may want to look up for a time, or how far a job got that
//! may begin again. No fact is in one. A record may be lost, or be there twice; retention removes it.

use bytes::Bytes;
use protocol::id::Shop;

use crate::{
    Client, Error, LogPart, PartLimits,
    jetstream::{
        log,
        publish::{Outgoing, publish},
        streams,
    },
};

/// A stream beside the log of a service, as its definition has it: `{SERVICE}-{NAME}-{partition}`
/// with the subjects `{name}.{service}.{partition}.>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideStream {
    /// The service.
    pub service: &'static str,
    /// The name, in lower case.
    pub name: &'static str,
}

impl SideStream {
    fn stream(self, partition: u32) -> String {
        streams::side(self.service, self.name, partition)
    }

    fn subject(self, partition: u32, shop: &Shop, topic: &str) -> String {
        format!("{}.{}.{partition}.{shop}.{topic}", self.name, self.service)
    }
}

impl Client {
    /// Writes a record of a shop to a side stream, under a topic: one or several tokens of a subject,
    /// without wildcards.
    ///
    /// # Errors
    ///
    /// When the server refuses it, or does not answer within 2 seconds: then nobody knows whether it is
    /// stored.
    pub async fn record(
        &self,
        side: SideStream,
        shop: &Shop,
        topic: &str,
        payload: Bytes,
    ) -> Result<(), Error> {
        let partition = self.partition(shop);
        let subject = side.subject(partition, shop, topic);
        let message = Outgoing { subject, headers: async_nats::HeaderMap::new(), payload };
        let stored = publish(&self.0.nats, vec![message], None).await;
        let failed = |error| Error::jetstream("write to", &side.stream(partition), error);
        stored.map(|_| ()).map_err(failed)
    }

    /// Reads the records of a topic behind a position, the oldest first; `true` when these are all that
    /// there are now. Where it goes on is [`LogPart::to`].
    pub async fn records(
        &self,
        side: SideStream,
        shop: &Shop,
        topic: &str,
        after: u64,
        limits: PartLimits,
    ) -> Result<(LogPart, bool), Error> {
        let partition = self.partition(shop);
        let (stream, subject) = (side.stream(partition), side.subject(partition, shop, topic));
        let end = log::info(&self.0.context, &stream).await?.state.last_sequence;
        let part = self.stream_part(&stream, &subject, (after, end.max(after)), limits).await?;
        let is_all = part.to >= end;
        Ok((part, is_all))
    }
}
