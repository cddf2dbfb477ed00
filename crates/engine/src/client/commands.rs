//! What has become of a command, for those who did not wait for its answer.

use prost::Message;
use protocol::{
    id::Shop,
    proto::{CommandEnvelope, Reply},
    subject::Lane,
};

use super::feed::PartLimits;
use crate::{AskError, Client, Error, jetstream::streams};

/// How much of the inbox is read at once.
const PART_LIMITS: PartLimits = PartLimits { events: 500, bytes: 4 << 20 };
/// The most parts of the inbox that are read for one question: what waits behind more is not looked for.
const MAX_PARTS: usize = 20;

/// What has become of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandState {
    /// It is in the inbox, and is handled in its turn.
    Stored,
    /// It could not be handled, and waits for an operator.
    Parked {
        /// Why, in words for an operator.
        reason: String,
    },
    /// It could not be handled, and an operator dropped it: it is not going to be.
    Dropped {
        /// Why, in the operator's words.
        reason: String,
    },
    /// It was handled.
    Answered(Reply),
}

/// It cannot be said what has become of a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandStateError {
    /// The service does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The inbox cannot be read.
    #[error(transparent)]
    Inbox(#[from] Error),
}

impl Client {
    /// What has become of a command to a service, by its log up to `at_least`; `None` when there is none of that
    /// id, or none of late: answers are kept for 8 days.
    pub async fn command_state(
        &self,
        service: &str,
        shop: &Shop,
        command_id: &str,
        at_least: u64,
    ) -> Result<Option<CommandState>, CommandStateError> {
        let reply = self.find_reply(service, shop, command_id, at_least).await?;
        // One that had no effect may have been sent again, and wait to be decided anew.
        if let Some(reply) = reply.filter(|reply| reply.has_effect) {
            return Ok(Some(CommandState::Answered(reply)));
        }
        if self.is_stored(service, shop, command_id).await? {
            return Ok(Some(CommandState::Stored));
        }
        // It may have been handled since it was looked for first.
        let dropped = match self.find_reply(service, shop, command_id, at_least).await? {
            Some(Reply { dropped: Some(reason), .. }) => Some(CommandState::Dropped { reason }),
            Some(reply) => return Ok(Some(CommandState::Answered(reply))),
            None => None,
        };
        // Also one that was dropped: it may have been sent again.
        let parked = self.parked_reason(service, shop, command_id).await?;
        Ok(parked.map(|reason| CommandState::Parked { reason }).or(dropped))
    }

    /// Whether a command waits in the inbox: it is behind what the service has handled.
    async fn is_stored(
        &self,
        service: &str,
        shop: &Shop,
        command_id: &str,
    ) -> Result<bool, CommandStateError> {
        let partition = self.partition(shop);
        let positions = self.positions_of(service, partition).await?;
        let inbox = streams::inbox(partition);
        let end = self.stream_end(&inbox).await?.last;
        for lane in [Lane::Live, Lane::Bulk] {
            let handled = positions.get(&format!("inbox.{}", lane.as_str()));
            let mut after = handled.map_or(0, |position| {
                position.behind.get(shop.as_str()).copied().unwrap_or(position.sequence)
            });
            let filter = format!("inbox.{partition}.{}.{service}.{shop}.>", lane.as_str());
            for _ in 0..MAX_PARTS {
                let range = (after, end);
                let part = self.stream_part(&inbox, &filter, range, PART_LIMITS).await?;
                let is_it = |(_, bytes): &(u64, bytes::Bytes)| {
                    CommandEnvelope::decode(bytes.clone()).is_ok_and(|it| it.id == command_id)
                };
                if part.events.iter().any(is_it) {
                    return Ok(true);
                }
                after = part.to;
                if after >= end {
                    break;
                }
            }
        }
        Ok(false)
    }

    /// Why a command is parked; `None` when it is not.
    async fn parked_reason(
        &self,
        service: &str,
        shop: &Shop,
        command_id: &str,
    ) -> Result<Option<String>, AskError> {
        let mut after = None;
        loop {
            let page = self.parked(service, self.partition(shop), after).await?;
            let is_it = |it: &&crate::ParkedInput| it.cause_id == command_id && it.shop == *shop;
            if let Some(parked) = page.parked.iter().find(is_it) {
                return Ok(Some(parked.reason.clone()));
            }
            if page.next.is_none() {
                return Ok(None);
            }
            after = page.next;
        }
    }
}
