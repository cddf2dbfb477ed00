//! Events of a shop, read again by their positions.

use bytes::Bytes;
use protocol::id::Shop;

use crate::{
    Client, Error,
    jetstream::{
        reader::{Selection, read_some},
        streams,
    },
};

/// The most events that are read at once.
const MAX_EVENTS: usize = 1_000;
/// The bytes after which no more are read at once.
const MAX_BYTES: usize = 8 << 20;

impl Client {
    /// Reads events of a shop from the log of a service, from one position to another: as many as fit,
    /// with their positions. The first is among them, if it is there.
    pub async fn events(
        &self,
        service: &'static str,
        shop: &Shop,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, Bytes)>, Error> {
        let partition = self.partition(shop);
        let filters = vec![format!("{service}.{partition}.{shop}.>")];
        let selection = Selection::new(streams::log(service, partition), filters);
        let (context, after) = (self.0.context.clone(), first.saturating_sub(1));
        let bounds = (MAX_EVENTS, MAX_BYTES);
        let (messages, _) = read_some(context, selection, after, last, "client", bounds).await?;
        Ok(messages.into_iter().map(|message| (message.sequence, message.payload)).collect())
    }
}
