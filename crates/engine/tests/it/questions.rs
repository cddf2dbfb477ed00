//! Questions to whoever runs a partition, and why they are not answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engine::{AskError, Client, Config, Operator, Outcome};
use futures::{FutureExt, StreamExt, future::join_all};
use prost::Message;
use protocol::{
    id::Shop,
    proto::{
        NotFound, Queries, Query, QueryFailureKind, QueryResponse, QueryResponses,
        query_response::Outcome as QueryOutcome,
    },
    subject::Lane,
};
use testkit::{Db, eventually};
use tokio::sync::Semaphore;

use crate::{
    contract::{ACCOUNT, GetAccount, INTAKE},
    ledger::{Ledger, SLOW, SLOW_TO_READ, account_that_panics_in},
    rig::{Rig, Running, account, connect, deposit, send, shop},
};

testkit::on_both_databases!(
    a_question_that_cannot_be_answered_says_why,
    a_question_to_a_service_that_nobody_runs_says_that_it_is_silent,
    questions_that_wait_for_a_position_hold_up_no_other,
    questions_to_all_partitions_leave_connections_to_the_workers,
    questions_that_wait_for_somebody_else_hold_up_others_for_seconds_at_most,
    a_question_is_not_answered_from_rows_that_hold_a_part_of_the_log,
);

/// How long the sender of a command waits for its answer.
const PATIENT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_answer_asks_less_and_less_often() {
    let rig = Rig::start(Db::sqlite()).await;
    let client = rig.engine().await.client();
    // Whoever runs the partition has much to do, and has not come to the command.
    let nats = rig.server.jetstream().await.client();
    let mut questions = nats.subscribe("query.account.0").await.expect("it can be subscribed to");
    nats.flush().await.expect("the server knows the subscription");
    let asked = Arc::new(AtomicUsize::new(0));
    let answering = tokio::spawn({
        let asked = asked.clone();
        async move {
            while let Some(message) = questions.next().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let reply = message.reply.expect("it wants an answer");
                let asked = Queries::decode(message.payload).expect("they are questions").queries;
                let none = Some(QueryOutcome::NotFound(NotFound {}));
                let none = |query: Query| QueryResponse { id: query.id, outcome: none.clone() };
                let none = QueryResponses { responses: asked.into_iter().map(none).collect() };
                let answered = nats.publish(reply, none.encode_to_vec().into()).await;
                answered.expect("it is answered");
            }
        }
    });
    let outcome = client.send(Lane::Live, deposit("A", 1).into(), PATIENT).await;
    assert!(matches!(outcome, Ok(Outcome::Pending)), "{outcome:?}");
    // After 2 s, and then after 0.2, 0.4, 0.8, 1.6, 2 s; every 0.2 s it would be 30 times.
    let asked = asked.load(Ordering::SeqCst);
    assert!((3..=12).contains(&asked), "it asked {asked} times");
    answering.abort();
}

/// The kind of failure with which a question to the ledger ends.
async fn failure(client: &Client, question: Vec<u8>) -> QueryFailureKind {
    match client.query(ACCOUNT, &shop(), question, 0).await {
        Err(AskError::Failed { kind, .. }) => kind,
        answered => panic!("it was answered: {answered:?}"),
    }
}

async fn a_question_that_cannot_be_answered_says_why(db: Db) {
    /// More than the server takes in one message, and than the engine sends.
    const TOO_LARGE: u32 = 1_000_001;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let answered = send(&client, deposit("A", 1)).await;
    assert!(account(&client, "A", answered.sequence).await.is_some());
    assert_eq!(account(&client, "B", answered.sequence).await, None);

    assert_eq!(failure(&client, b"\xff\xff".to_vec()).await, QueryFailureKind::Unreadable);
    let large = GetAccount { account: "A".to_owned(), padding: TOO_LARGE };
    assert_eq!(failure(&client, large.encode_to_vec()).await, QueryFailureKind::TooLarge);
    let unlucky = GetAccount { account: account_that_panics_in("query"), padding: 0 };
    assert_eq!(failure(&client, unlucky.encode_to_vec()).await, QueryFailureKind::Failed);
    assert!(account(&client, "A", answered.sequence).await.is_some(), "others are answered");

    // What are no questions at all is left alone; a query without a question, as a newer version might
    // send it, is answered.
    let nats = rig.server.jetstream().await.client();
    let nothing = nats.publish("query.account.0", Bytes::from_static(b"\xff\xff")).await;
    nothing.expect("it is sent");
    let empty = Query { id: 7, shop: "acme".to_owned(), at_least: 0, question: None };
    let message = Queries { queries: vec![empty] }.encode_to_vec();
    let answer = nats.request("query.account.0", message.into()).await.expect("it is answered");
    let responses = QueryResponses::decode(answer.payload).expect("they are responses").responses;
    let [QueryResponse { id: 7, outcome: Some(QueryOutcome::Failure(failure)) }] = &responses[..]
    else {
        panic!("{responses:?}")
    };
    assert_eq!(failure.kind(), QueryFailureKind::Unreadable, "{failure:?}");
    running.stop().await;
}

async fn a_question_to_a_service_that_nobody_runs_says_that_it_is_silent(db: Db) {
    let rig = Rig::start(db).await;
    let client = rig.engine().await.client();
    let asked = client.query(INTAKE, &shop(), Vec::new(), 0).await;
    assert!(matches!(&asked, Err(AskError::Silent { service }) if service == INTAKE), "{asked:?}");
}

/// More questions than are answered at once wait for an event that does not come: behind them, another
/// one would not be answered before its sender gives up.
async fn questions_that_wait_for_a_position_hold_up_no_other(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let answered = send(&client, deposit("A", 1)).await;
    let mut waiting = Box::pin(join_all((0..20).map(|_| account(&client, "A", u64::MAX))));
    // They are sent.
    assert!((&mut waiting).now_or_never().is_none());
    for _ in 0..3 {
        assert!(account(&client, "A", answered.sequence).await.is_some());
    }
    drop(waiting);
    running.stop().await;
}

/// An engine of three partitions, and shops of each.
async fn three_partitions(rig: &Rig, ledger: &Ledger) -> (Running, Client, Vec<Shop>) {
    const PARTITIONS: u32 = 3;
    let engine = connect(Config { partitions: PARTITIONS, ..rig.config() }).await;
    let running = Running::start_claimed(&engine, ledger);
    let client = engine.client();
    let shops: Vec<_> = (0..10 * PARTITIONS)
        .map(|number| Shop::parse(&format!("shop-{number}")).expect("it is one"))
        .collect();
    for shop in &shops {
        let runs = async || ask(&client, shop, "A").await.is_ok();
        eventually("the partition of the shop runs", runs).await;
    }
    (running, client, shops)
}

/// Asks for an account of a shop.
async fn ask(client: &Client, shop: &Shop, account: &str) -> Result<Option<Bytes>, AskError> {
    let question = GetAccount { account: account.to_owned(), padding: 0 }.encode_to_vec();
    client.query(ACCOUNT, shop, question, 0).await
}

/// All partitions together have six connections for questions.
async fn questions_to_all_partitions_leave_connections_to_the_workers(db: Db) {
    const MOST: u64 = 6;
    let rig = Rig::start(db).await;
    let ledger = Ledger::default();
    let (running, client, shops) = three_partitions(&rig, &ledger).await;
    ledger.questions.forget_permits(Semaphore::MAX_PERMITS);
    let asking = join_all(shops.iter().map(|shop| ask(&client, shop, SLOW_TO_READ)));
    let answering = async || {
        let are_answered = async || ledger.answering.load(Ordering::SeqCst) >= MOST;
        eventually("so many are being answered", are_answered).await;
        // What is written meanwhile finds a connection.
        send(&client, deposit("A", 1)).await;
        assert_eq!(ledger.answering.load(Ordering::SeqCst), MOST);
        ledger.questions.add_permits(Semaphore::MAX_PERMITS);
    };
    let (answers, ()) = tokio::join!(asking, answering());
    assert!(answers.iter().all(|answer| matches!(answer, Ok(None))), "{answers:?}");
    running.stop().await;
}

/// A partition answers six questions at once. Those that wait for somebody else need no connection, and
/// nobody waits for their answers any more after five seconds.
async fn questions_that_wait_for_somebody_else_hold_up_others_for_seconds_at_most(db: Db) {
    const MOST: u64 = 6;
    let rig = Rig::start(db).await;
    let ledger = Ledger::default();
    let (running, client, shops) = three_partitions(&rig, &ledger).await;
    let (of_first, others): (Vec<_>, Vec<_>) =
        shops.iter().partition(|shop| client.partition(shop) == client.partition(&shops[0]));
    assert!(of_first.len() > 1 && !others.is_empty(), "{of_first:?} {others:?}");
    ledger.questions.forget_permits(Semaphore::MAX_PERMITS);
    let asked = of_first.iter().flat_map(|shop| (0..MOST).map(|_| ask(&client, shop, SLOW)));
    let asking = join_all(asked);
    let answering = async || {
        let are_answered = async || ledger.answering.load(Ordering::SeqCst) >= MOST;
        eventually("so many are being answered", are_answered).await;
        for shop in &others {
            let answer = ask(&client, shop, "A").await;
            assert!(matches!(answer, Ok(None)), "{answer:?}");
        }
    };
    let (answers, ()) = tokio::join!(asking, answering());
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    let is_answered = async || ask(&client, of_first[0], "A").await.is_ok();
    eventually("the partition answers again", is_answered).await;
    running.stop().await;
}

async fn a_question_is_not_answered_from_rows_that_hold_a_part_of_the_log(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    running.stop().await;
    let sequence = rig.write("account.0.acme.charged", "A", b"no event".to_vec()).await;

    // Its rows are folded anew, and cannot be.
    let elsewhere = rig.engine_elsewhere().await;
    let running = Running::start_claimed(&elsewhere, &Ledger::default());
    let client = elsewhere.client();
    let mut not_ready = 0;
    while not_ready < 5 {
        match ask(&client, &shop(), "A").await {
            Err(AskError::Failed { kind: QueryFailureKind::NotReady, detail, .. }) => {
                assert!(detail.contains("; VoidMessage {"), "{detail}");
                not_ready += 1;
            }
            // It failed just then.
            Err(AskError::Silent { .. }) => {}
            asked => panic!("{asked:?}"),
        }
    }
    let operator = Operator::of::<Ledger>();
    operator.void_message(&engine, 0, sequence, "it is no event").await.expect("it is voided");
    eventually("it is answered", async || matches!(ask(&client, &shop(), "A").await, Ok(Some(_))))
        .await;
    running.stop().await;
}
