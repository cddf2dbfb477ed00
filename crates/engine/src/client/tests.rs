//! Commands whose acknowledgement is lost.

use std::collections::HashSet;

use protocol::proto::{
    CommandEnvelope, NotFound, Queries, Query, QueryResponse, QueryResponses,
    query_response::Outcome as QueryOutcome,
};
use testkit::TestServer;

use super::*;

/// How long an answer is waited for; here, the question for an earlier one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes a command that the inbox holds already, to an inbox whose first acknowledgement is lost and a
/// service with that answer to it. Returns the ids under which the inbox was sent it.
async fn write_known(answer: Option<Reply>) -> (Written, Vec<String>) {
    let server = TestServer::start().await;
    let context = server.jetstream().await;
    let nats = context.client();
    let mut commands = nats.subscribe("inbox.>").await.expect("it is subscribed to");
    let mut questions = nats.subscribe("query.>").await.expect("it is subscribed to");
    nats.flush().await.expect("the server knows the subscriptions");
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (to_inbox, to_service, sending) = (nats.clone(), nats.clone(), sent.clone());
    tokio::spawn(async move {
        let mut known = HashSet::from(["account/acme/c-1".to_owned()]);
        while let Some(message) = commands.next().await {
            let headers = message.headers.expect("it has an id");
            let id = headers.get("Nats-Msg-Id").expect("it has an id").to_string();
            sending.lock().expect("nobody panics with it").push(id.clone());
            let duplicate = !known.insert(id);
            if sending.lock().expect("nobody panics with it").len() > 1 {
                let stored = format!(r#"{{"stream":"S","seq":1,"duplicate":{duplicate}}}"#);
                let reply = message.reply.expect("it wants an answer");
                to_inbox.publish(reply, stored.into()).await.expect("it is answered");
            }
        }
    });
    tokio::spawn(async move {
        let none = QueryOutcome::NotFound(NotFound {});
        let found = answer.map(|answer| QueryOutcome::Found(answer.encode_to_vec()));
        let outcome = Some(found.unwrap_or(none));
        while let Some(message) = questions.next().await {
            let reply = message.reply.expect("it wants an answer");
            let asked = Queries::decode(message.payload).expect("they are questions").queries;
            let answer = |query: Query| QueryResponse { id: query.id, outcome: outcome.clone() };
            let answers = QueryResponses { responses: asked.into_iter().map(answer).collect() };
            let answers = answers.encode_to_vec().into();
            to_service.publish(reply, answers).await.expect("it is answered");
        }
    });
    let client = Client::new(nats, context, Monitor::new(None), 1);
    let envelope =
        CommandEnvelope { id: "c-1".to_owned(), shop: "acme".to_owned(), ..Default::default() };
    let command = OutgoingCommand {
        service: "account",
        name: "deposit",
        aggregate: "A".to_owned(),
        envelope,
        body: Vec::new(),
    };
    let written = client.write(Lane::Live, command, ANSWER_TIMEOUT).await.expect("it is stored");
    let sent = sent.lock().expect("nobody panics with it").clone();
    (written, sent)
}

#[tokio::test]
async fn a_command_whose_acknowledgement_is_lost_is_not_repeated() {
    let of_effect = Reply { sequence: 7, has_effect: true, ..Default::default() };
    for answer in [None, Some(of_effect)] {
        let (written, sent) = write_known(answer).await;
        assert!(!written.duplicate);
        assert_eq!(sent, ["account/acme/c-1"; 2]);
    }
}

#[tokio::test]
async fn what_had_no_effect_is_decided_anew_after_a_lost_acknowledgement() {
    let answer = Reply { sequence: 7, has_effect: false, ..Default::default() };
    let (written, sent) = write_known(Some(answer)).await;
    assert_eq!(sent, ["account/acme/c-1", "account/acme/c-1", "account/acme/c-1/7"]);
    assert_eq!((written.superseded, written.duplicate), (7, false));
}
