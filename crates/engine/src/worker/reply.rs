//! What is told to who asked, by core NATS after the commit. It can be lost: then the asker asks
//! the service for the answer.

use std::collections::HashMap;

use async_nats::Client;
use events::id::Shop;
use serde::{Deserialize, Serialize};

use crate::projection::store::AnswerRow;

/// The service, the shop and the id of a command: the same id may come in all of them.
pub(crate) type Asked = (String, Shop, String);

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) shop: Shop,
    pub(crate) command_id: String,
    pub(crate) service: String,
    pub(crate) fingerprint: String,
    pub(crate) body: String,
    pub(crate) sequence: u64,
    pub(crate) repeated: bool,
}

impl Reply {
    /// The command that is answered.
    pub(crate) fn asked(&self) -> Asked {
        (self.service.clone(), self.shop.clone(), self.command_id.clone())
    }

    /// The answer to a command that was handled just now.
    pub(crate) fn first(row: &AnswerRow) -> Self {
        Self { repeated: false, ..Self::repeated(row) }
    }

    /// The answer to a command that was handled before.
    pub(crate) fn repeated(row: &AnswerRow) -> Self {
        Self {
            shop: row.shop.clone(),
            command_id: row.command_id.clone(),
            service: String::new(),
            fingerprint: row.fingerprint.clone(),
            body: row.body.clone(),
            sequence: row.sequence,
            repeated: true,
        }
    }
}

/// Sends the replies of a batch: one message for each asker, not one for each command.
pub(crate) async fn send(client: &Client, service: &str, replies: Vec<(String, Reply)>) {
    let mut by_subject: HashMap<String, Vec<Reply>> = HashMap::new();
    for (subject, reply) in replies {
        let reply = Reply { service: service.to_owned(), ..reply };
        by_subject.entry(subject).or_default().push(reply);
    }
    for (subject, replies) in by_subject {
        let Ok(payload) = serde_json::to_vec(&replies) else { continue };
        if let Err(error) = client.publish(subject, payload.into()).await {
            tracing::debug!(%error, "could not send replies; the askers will ask");
        }
    }
}
