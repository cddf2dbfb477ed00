//! Answers to commands, sent by core NATS as soon as the events are in the log. One can be lost:
//! then the sender asks the service for it.

use std::collections::HashMap;

use async_nats::Client;
use prost::Message;
use protocol::{
    id::Shop,
    proto::{Replies, Reply},
};

use crate::projection::engine_rows::AnswerRow;

/// The service, the shop and the id of a command: the same id may come in all of them.
pub(crate) type CommandKey = (String, String, String);

/// The command that is answered.
pub(crate) fn command_key(reply: &Reply) -> CommandKey {
    (reply.service.clone(), reply.shop.clone(), reply.command_id.clone())
}

/// The reply to a command whose answer is in the log.
pub(crate) fn reply(
    service: &str,
    shop: &Shop,
    command_id: &str,
    row: &AnswerRow,
    is_repeated: bool,
) -> Reply {
    Reply {
        shop: shop.to_string(),
        command_id: command_id.to_owned(),
        service: service.to_owned(),
        fingerprint: row.fingerprint.clone(),
        body: row.body.clone(),
        sequence: row.sequence,
        is_repeated,
        has_effect: row.has_effect,
        dropped: row.dropped.clone(),
    }
}

/// Sends the replies of a batch: one message for each sender, not one for each command.
pub(crate) async fn send(client: &Client, replies: Vec<(String, Reply)>) {
    let mut by_subject: HashMap<String, Vec<Reply>> = HashMap::new();
    for (subject, reply) in replies {
        by_subject.entry(subject).or_default().push(reply);
    }
    for (subject, replies) in by_subject {
        let payload = Replies { replies }.encode_to_vec();
        if let Err(error) = client.publish(subject, payload.into()).await {
            tracing::debug!(%error, "could not send replies; the senders will ask");
        }
    }
}
