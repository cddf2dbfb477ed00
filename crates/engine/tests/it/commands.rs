//! A command has one effect and one answer, however often it comes.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use async_nats::HeaderMap;
use engine::{Answered, Config, Faults, Step};
use futures::{StreamExt, future::join_all};
use prost::Message;
use protocol::{
    proto::{Replies, Reply},
    subject::{AGGREGATE_HEADER, Lane, REPLY_HEADER},
};
use testkit::{Db, Entry, eventually};

use crate::{
    contract::{self, ACCOUNT, Command, FoundAccount, Nothing, Task},
    ledger::{HEAVY, Ledger},
    rig::{
        LIVE, Rig, Running, account, answer, close, counted, deposit, deposit_lines, deposits,
        kinds, send, store,
    },
};

testkit::on_both_databases!(
    a_command_is_handled_answered_and_projected,
    a_command_that_comes_again_gets_the_same_answer_and_no_second_effect,
    a_command_without_an_effect_is_decided_anew,
    a_duplicate_that_the_inbox_does_not_know_is_answered_from_the_log,
    the_same_id_is_another_command_for_another_service,
    what_is_live_overtakes_an_import,
    a_batch_of_more_than_a_thousand_events_is_split_between_inputs,
    every_partition_of_an_installation_is_run,
);

async fn a_command_is_handled_answered_and_projected(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();

    let command = deposit_lines("A", &[("x", 5), ("y", 7)]);
    let answered = send(&client, command.clone()).await;

    let expected = Answered {
        sequence: 3,
        fingerprint: command.fingerprint.clone(),
        body: contract::AccountAnswer::of_deposit(12).encode_to_vec(),
        repeated: false,
    };
    assert_eq!(answered, expected);
    let found = account(&client, "A", answered.sequence).await;
    assert_eq!(
        found,
        Some(FoundAccount { balance: 12, deposits: 2, version: 2, ..Default::default() })
    );
    assert_eq!(account(&client, "B", answered.sequence).await, None);
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, "A"), [5, 7]);
    assert_eq!(log[1].subject, "account.0.acme.deposited");
    assert_eq!(log[1].event.correlation_id, command.id);
    let cause = log[1].event.cause.as_ref().map(|cause| (&*cause.id, &*cause.kind));
    assert_eq!(cause, Some((&*command.id, "command.deposit")));
    running.stop().await;
}

async fn a_command_that_comes_again_gets_the_same_answer_and_no_second_effect(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let command = deposit("A", 5);
    let first = send(&engine.client(), command.clone()).await;
    let again = Answered { repeated: true, ..first.clone() };

    assert!(!first.repeated);
    assert_eq!(send(&engine.client(), command.clone()).await, again);
    running.stop().await;

    let restarted = rig.engine().await;
    let running = Running::start(&restarted, &Ledger::default());
    assert_eq!(send(&restarted.client(), command).await, again);
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn a_command_without_an_effect_is_decided_anew(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let command = close("nobody's");
    let first = send(&client, command.clone()).await;
    assert_eq!(answer(&first), contract::AccountAnswer::of_closing(false));

    // The inbox still knows its id. By now it has an effect, and has it once.
    send(&client, deposit("nobody's", 1)).await;
    let closed = send(&client, command.clone()).await;
    assert!(!closed.repeated && closed.sequence > first.sequence);
    assert_eq!(answer(&closed), contract::AccountAnswer::of_closing(true));
    assert_eq!(send(&client, command).await, Answered { repeated: true, ..closed });
    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "nobody's"), ["deposited", "closed"]);
    assert_eq!(log[0].subject, "engine.account.0.answered");
    running.stop().await;
}

async fn a_duplicate_that_the_inbox_does_not_know_is_answered_from_the_log(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let command = deposit("A", 5);
    let first = send(&engine.client(), command.clone()).await;
    let nats = rig.server.jetstream().await.client();
    let mut subscription = nats.subscribe("reply.test").await.expect("it can be subscribed to");
    nats.flush().await.expect("the server knows the subscription");

    // Twice at once, so that both may come in one batch, and once after a restart.
    let duplicate = async || {
        let mut headers = HeaderMap::new();
        headers.insert(AGGREGATE_HEADER, "A");
        headers.insert(REPLY_HEADER, "reply.test");
        rig.write_with(LIVE, headers, command.encode_to_vec()).await;
    };
    futures::join!(duplicate(), duplicate());
    let mut replies: Vec<Reply> = Vec::new();
    while replies.len() < 2 {
        let message = subscription.next().await.expect("a reply comes");
        replies.extend(Replies::decode(message.payload).expect("they are replies").replies);
    }
    running.stop().await;
    let running = Running::start(&rig.engine().await, &Ledger::default());
    duplicate().await;
    let message = subscription.next().await.expect("a reply comes");
    replies.extend(Replies::decode(message.payload).expect("they are replies").replies);

    // Inputs that lead to nothing leave no position in the log, so a restart may answer them again.
    assert!(replies.len() >= 3, "{}", replies.len());
    for reply in replies {
        assert!(reply.is_repeated);
        assert_eq!((reply.body, reply.sequence), (first.body.clone(), first.sequence));
    }
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn the_same_id_is_another_command_for_another_service(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let to_the_ledger = deposit("A", 5);
    let to_the_intake = Command { task: Some(Task::Count(Nothing {})), ..to_the_ledger.clone() };

    // Nobody runs the intake here: it is stored, and that must not block the other.
    store(&client, Lane::Live, to_the_intake).await;
    let answered = send(&client, to_the_ledger).await;

    assert!(!answered.repeated);
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn what_is_live_overtakes_an_import(db: Db) {
    const IMPORTED: usize = 60;
    let rig = Rig::start(db).await;
    let writer = rig.engine().await.client();
    // Each weighs a tenth of what goes into a batch.
    let import = (0..IMPORTED).map(|_| deposit_lines("import", &[(HEAVY, 1); 10]));
    join_all(import.map(|command| store(&writer, Lane::Bulk, command))).await;

    // The import has begun and waits until somebody comes live.
    let begun = Arc::new(AtomicBool::new(false));
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (has_begun, wait) = (begun.clone(), Mutex::new(wait));
    let engine = rig
        .engine_with(Faults::when(move |_, step| {
            if step == Step::BeforePublish {
                has_begun.store(true, Ordering::SeqCst);
                // An error as soon as the other end is dropped, and from then on.
                let wait = wait.lock().expect("nobody panics with it");
                tokio::task::block_in_place(|| wait.recv().ok());
            }
            false
        }))
        .await;
    let running = Running::start(&engine, &Ledger::default());
    eventually("the import has begun", async || begun.load(Ordering::SeqCst)).await;
    store(&writer, Lane::Live, deposit("live", 1)).await;
    drop(go_on);

    let imported = async || deposits(&rig.log().await, "import").len();
    eventually("all is imported", async || imported().await == 10 * IMPORTED).await;
    let log = rig.check(&engine).await;
    let live = log.iter().position(|entry| entry.event.aggregate_id == "live");
    let live = live.expect("it is in the log");
    assert!(live < log.len() / 2, "it came as number {live} of {}", log.len());
    running.stop().await;
}

async fn a_batch_of_more_than_a_thousand_events_is_split_between_inputs(db: Db) {
    const INPUTS: usize = 12;
    const EVENTS: usize = 300;
    let rig = Rig::start(db).await;
    rig.engine().await;
    // Not commands: those would be known again by their ids, whatever the positions say.
    for number in 0..INPUTS {
        rig.write_event("A", counted(number as i64, EVENTS as i64)).await;
    }

    // The worker dies between the two parts of the first batch that has two.
    let parts_of_this_batch = AtomicU32::new(0);
    let engine = rig
        .engine_with(Faults::when(move |_, step| match step {
            Step::BeforePublish => parts_of_this_batch.fetch_add(1, Ordering::SeqCst) == 1,
            Step::BeforeProject => {
                parts_of_this_batch.store(0, Ordering::SeqCst);
                false
            }
            Step::LoseAcknowledgement
            | Step::BeforeReply
            | Step::AfterProject
            | Step::RecordPositions => false,
        }))
        .await;
    let error = Running::start(&engine, &Ledger::default()).fails().await;
    assert!(matches!(error, engine::Error::Stopped(Step::BeforePublish)), "{error}");
    let log = rig.log().await;
    assert!(!log.is_empty() && log.len() < INPUTS * EVENTS, "{} events", log.len());
    assert!(log.len().is_multiple_of(EVENTS), "an input was cut: {} events", log.len());

    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let all = async || rig.log().await.len() >= INPUTS * EVENTS;
    eventually("all is deposited", all).await;
    running.stop().await;
    let log = rig.check(&engine).await;
    let once: Vec<_> = (0..INPUTS as i64).flat_map(|number| [number; EVENTS]).collect();
    assert_eq!(deposits(&log, "A"), once);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_among_many_commands_holds_none_of_them_up() {
    const COMMANDS: i64 = 400;
    let rig = Rig::start(Db::sqlite()).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let commands: Vec<_> = (0..COMMANDS).map(|number| deposit("A", number)).collect();
    for known in [&commands[17], &commands[300]] {
        store(&client, Lane::Live, known.clone()).await;
    }
    join_all(commands.into_iter().map(|command| store(&client, Lane::Live, command))).await;
    assert_eq!(engine.inbox_end(0).await.expect("it can be inspected"), COMMANDS as u64);

    // Each message that is one by itself, or ends a batch, is an append, and synced.
    let is_append = |entry: &Entry<Command>| {
        entry.headers.get("Nats-Batch-Id").is_none()
            || entry.headers.get("Nats-Batch-Commit").is_some()
    };
    let stored = rig.server.events("INBOX-0").await;
    let appends = stored.iter().filter(|entry| is_append(entry)).count();
    assert!((2..100).contains(&appends), "{appends} appends for {COMMANDS} commands");
}

async fn every_partition_of_an_installation_is_run(db: Db) {
    let rig = Rig::start(db).await;
    let config = Config { partitions: 16, ..rig.config() };
    let engine = crate::rig::connect(config).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    let client = engine.client();
    let shops = (0..40).map(|number| format!("shop-{number}"));
    join_all(shops.map(|shop| {
        let command = Command { shop, ..deposit("A", 5) };
        send(&client, command)
    }))
    .await;
    eventually("all is projected", async || {
        let positions = client.positions(ACCOUNT).await.expect("every partition answers");
        assert_eq!(positions.len(), 16);
        positions.iter().filter_map(|of| of.get("log")).map(|log| log.sequence).sum::<u64>() == 40
    })
    .await;
    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!(verified.mismatches, []);
    running.stop().await;
}
