//! Answers to commands, sent by core NATS as soon as the events are in the log. One can be lost:
//! then the sender asks the service for it.

use std::collections::HashMap;

use async_nats::Client;
use protocol::id::Shop;
use serde::{Deserialize, Serialize};

use crate::projection::engine_rows::AnswerRow;

/// The service, the shop and the id of a command: the same id may come in all of them.
pub(crate) type CommandKey = (String, Shop, String);

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) shop: Shop,
    pub(crate) command_id: String,
    pub(crate) service: String,
    pub(crate) fingerprint: String,
    #[serde(with = "crate::base64")]
    pub(crate) body: Vec<u8>,
    pub(crate) sequence: u64,
    pub(crate) repeated: bool,
}

impl Reply {
    /// The command that is answered.
    pub(crate) fn command_key(&self) -> CommandKey {
        (self.service.clone(), self.shop.clone(), self.command_id.clone())
    }

    /// The answer to a command that was handled before.
    pub(crate) fn repeated(service: &str, shop: &Shop, command_id: &str, row: AnswerRow) -> Self {
        Self {
            shop: shop.clone(),
            command_id: command_id.to_owned(),
            service: service.to_owned(),
            fingerprint: row.fingerprint,
            body: row.body,
            sequence: row.sequence,
            repeated: true,
        }
    }
}

/// Sends the replies of a batch: one message for each sender, not one for each command.
pub(crate) async fn send(client: &Client, replies: Vec<(String, Reply)>) {
    let mut by_subject: HashMap<String, Vec<Reply>> = HashMap::new();
    for (subject, reply) in replies {
        by_subject.entry(subject).or_default().push(reply);
    }
    for (subject, replies) in by_subject {
        let Ok(payload) = serde_json::to_vec(&replies) else { continue };
        if let Err(error) = client.publish(subject, payload.into()).await {
            tracing::debug!(%error, "could not send replies; the senders will ask");
        }
    }
}
