//! The answers to questions on their way: those that are ready for a sender go in one message.

use std::collections::HashMap;

use async_nats::{Client, Subject};
use prost::Message as _;
use protocol::proto;
use tokio::{sync::mpsc, task::yield_now};

use super::{MAX_ANSWER_BYTES, MAX_UNSENT};

/// Answers for one sender.
struct Answers {
    /// Where one of its messages is to be answered to: any of them will do.
    reply: Subject,
    responses: Vec<proto::QueryResponse>,
    bytes: usize,
}

/// Sends answers, as many in a message as are ready.
pub(super) async fn send(
    client: Client,
    mut unsent: mpsc::Receiver<(Subject, proto::QueryResponse)>,
) {
    while let Some(first) = unsent.recv().await {
        // Others that are about to be found are so now.
        yield_now().await;
        let mut by_sender: HashMap<String, Answers> = HashMap::new();
        let (mut count, mut next) = (0, Some(first));
        while let Some((reply, response)) = next {
            // The last part of the subject distinguishes the messages of the sender.
            let sender = reply.rsplit_once('.').map_or(&*reply, |(sender, _)| sender);
            let answers = by_sender.entry(sender.to_owned());
            let answers = answers.or_insert_with(|| Answers { reply, responses: vec![], bytes: 0 });
            let bytes = response.encoded_len();
            if answers.bytes + bytes > MAX_ANSWER_BYTES {
                publish(&client, answers).await;
            }
            answers.bytes += bytes;
            answers.responses.push(response);
            count += 1;
            next = if count < MAX_UNSENT { unsent.try_recv().ok() } else { None };
        }
        for answers in by_sender.values_mut() {
            publish(&client, answers).await;
        }
    }
}

/// Sends the answers that there are.
async fn publish(client: &Client, answers: &mut Answers) {
    let responses = std::mem::take(&mut answers.responses);
    answers.bytes = 0;
    if responses.is_empty() {
        return;
    }
    let payload = proto::QueryResponses { responses }.encode_to_vec();
    if let Err(error) = client.publish(answers.reply.clone(), payload.into()).await {
        tracing::warn!(subject = %answers.reply, %error, "could not send answers");
    }
}
