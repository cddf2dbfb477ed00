//! Whatever dies, at whatever step: nothing is lost, nothing is doubled.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use engine::{Engine, Error, Faults, Outcome, Step};
use futures::future::join_all;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::AccountAnswer,
    gate::Gate,
    ledger::Ledger,
    rig::{ANSWER_TIMEOUT, LOG, Rig, Running, answer, counted, deposit, deposits, send, store},
};

testkit::on_both_databases!(
    a_crash_before_the_publish_loses_and_doubles_nothing,
    a_crash_between_publish_and_projection_loses_and_doubles_nothing,
    a_crash_after_the_projection_loses_and_doubles_nothing,
    every_batch_may_crash_at_every_step,
    a_lost_acknowledgement_is_found_in_the_log,
    a_nats_server_that_is_killed_loses_and_doubles_nothing,
    nothing_is_appended_behind_a_message_of_somebody_else,
);

async fn a_crash_before_the_publish_loses_and_doubles_nothing(db: Db) {
    // The input was decided on and left no trace: it is delivered again.
    crash_once(db, Step::BeforePublish, 0).await;
}

async fn a_crash_between_publish_and_projection_loses_and_doubles_nothing(db: Db) {
    crash_once(db, Step::BeforeProject, 1).await;
}

async fn a_crash_after_the_projection_loses_and_doubles_nothing(db: Db) {
    crash_once(db, Step::AfterProject, 1).await;
}

/// One command, one crash: then `published` events are in the log, and after a restart all is well.
async fn crash_once(db: Db, at: Step, published: usize) {
    let rig = Rig::start(db).await;
    let engine = rig.engine_with(Faults::when(move |_, step| step == at)).await;
    let command = deposit("A", 5);
    store(&engine.client(), Lane::Live, command.clone()).await;

    let error = Running::start(&engine, &Ledger::default()).fails().await;
    assert!(matches!(error, Error::Stopped(step) if step == at), "{error}");
    assert_eq!(rig.log().await.len(), published);

    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("B", 1)).await;
    let answered = send(&engine.client(), command).await;
    assert!(answered.repeated);
    assert_eq!(answer(&answered), AccountAnswer::of_deposit(5));
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, "B")), (vec![5], vec![1]));
    running.stop().await;
}

/// Commands and foreign events, and the worker dies the first time that it reaches each step of
/// each batch: so every input is delivered again, and every step is failed.
async fn every_batch_may_crash_at_every_step(db: Db) {
    let rig = Rig::start(db).await;
    let counts: Arc<[AtomicU32; 4]> = Arc::default();
    let engine = rig
        .engine_with(Faults::when(move |_, step| {
            let count = match step {
                Step::BeforePublish => &counts[0],
                Step::BeforeProject => &counts[1],
                Step::AfterProject => &counts[2],
                Step::BeforeReply => &counts[3],
                Step::LoseAcknowledgement | Step::RecordPositions => return false,
            };
            count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
        }))
        .await;
    let crashes = Arc::new(AtomicU32::new(0));
    let restarting = tokio::spawn(restart_again_and_again(engine.clone(), crashes.clone()));
    let client = engine.client();
    for number in 1..=10 {
        rig.write_event("A", counted(100 * number, 1)).await;
        store(&client, Lane::Live, deposit("A", number)).await;
        let all = 2 * usize::try_from(number).expect("it is small");
        let deposited = async || deposits(&rig.log().await, "A").len();
        eventually("both are deposited", async || deposited().await == all).await;
    }
    restarting.abort();
    restarting.await.expect_err("it was aborted");

    assert!(crashes.load(Ordering::SeqCst) >= 10);
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("B", 1)).await;
    let mut amounts = deposits(&rig.check(&engine).await, "A");
    amounts.sort_unstable();
    let once: Vec<_> = (1..=10).chain((1..=10).map(|number| 100 * number)).collect();
    assert_eq!(amounts, once);
    running.stop().await;
}

async fn restart_again_and_again(engine: Engine, crashes: Arc<AtomicU32>) {
    loop {
        let error = Running::start(&engine, &Ledger::default()).fails().await;
        assert!(matches!(error, Error::Stopped(_)), "{error}");
        crashes.fetch_add(1, Ordering::SeqCst);
    }
}

async fn a_lost_acknowledgement_is_found_in_the_log(db: Db) {
    let rig = Rig::start(db).await;
    let lost = Arc::new(AtomicU32::new(0));
    let count = lost.clone();
    let engine = rig
        .engine_with(Faults::when(move |_, step| {
            step == Step::LoseAcknowledgement && count.fetch_add(1, Ordering::SeqCst) < 2
        }))
        .await;
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    for amount in [5, 7, 9] {
        send(&engine.client(), deposit("A", amount)).await;
    }
    assert_eq!(lost.load(Ordering::SeqCst), 3);
    // The worker went on: nothing was decided on twice.
    assert_eq!(ledger.decided.load(Ordering::SeqCst), 3);
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5, 7, 9]);
    running.stop().await;
}

/// The database takes nothing until everything before it is full, and the worker waits to hand its
/// next plan in.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_fails_ends_a_worker_that_waits_for_it() {
    /// One plan at the projector, 16 that wait for it, and one that the publisher holds.
    const APPENDED: u64 = 18;
    /// More than half a batch: so many are decided on while another plan waits to be appended.
    const MORE: u64 = 300;
    let rig = Rig::start(Db::sqlite()).await;
    let (fail, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let engine = rig
        .engine_with(Faults::when(move |_, step| {
            if step == Step::BeforeProject {
                let wait = wait.lock().expect("nobody panics with it");
                tokio::task::block_in_place(|| wait.recv().ok());
            }
            step == Step::BeforeProject
        }))
        .await;
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    for _ in 0..APPENDED {
        send(&client, deposit("A", 1)).await;
    }
    let decided = async |count| {
        eventually("they are decided on", async || ledger.decided.load(Ordering::SeqCst) >= count)
            .await;
    };
    store(&client, Lane::Live, deposit("A", 1)).await;
    decided(APPENDED + 1).await;
    join_all((0..MORE).map(|_| store(&client, Lane::Live, deposit("A", 1)))).await;
    decided(APPENDED + 2).await;

    drop(fail);
    let error = running.fails().await;
    assert!(matches!(error, Error::Stopped(Step::BeforeProject)), "{error}");
}

async fn a_nats_server_that_is_killed_loses_and_doubles_nothing(db: Db) {
    const CLIENTS: i64 = 8;
    const EACH: i64 = 25;
    let mut rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let answered = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, answered) = (engine.client(), answered.clone());
            tokio::spawn(async move {
                for step in 1..=EACH {
                    let command = deposit(&number.to_string(), step);
                    // No answer to the writing either: then it is sent again, under its id.
                    while !matches!(
                        client.send(Lane::Live, command.clone().into(), ANSWER_TIMEOUT).await,
                        Ok(Outcome::Answered(_))
                    ) {}
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();

    eventually("some are answered", async || answered.load(Ordering::SeqCst) >= 40).await;
    rig.server.kill().await;
    let before = answered.load(Ordering::SeqCst);
    rig.server.start_again().await;
    for client in clients {
        client.await.expect("all are answered");
    }

    assert!(i64::from(before) < CLIENTS * EACH, "it was killed too late to matter");
    let log = rig.check(&engine).await;
    let in_order: Vec<_> = (1..=EACH).collect();
    for number in 0..CLIENTS {
        assert_eq!(deposits(&log, &number.to_string()), in_order);
    }
    running.stop().await;
}

/// Several commands, each of which becomes an event by itself; and somebody else writes one message before
/// the first of them is stored.
async fn nothing_is_appended_behind_a_message_of_somebody_else(db: Db) {
    const COMMANDS: u64 = 6;
    let rig = Rig::start(db).await;
    let gate = Gate::default();
    let engine = rig.engine_with(gate.faults()).await;
    for number in 0..COMMANDS {
        store(&engine.client(), Lane::Live, deposit(&number.to_string(), 1)).await;
    }
    let about_to_append = gate.close();
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    about_to_append.await.expect("it appends");
    eventually("all are decided on", async || ledger.decided.load(Ordering::SeqCst) >= COMMANDS)
        .await;
    let foreign = rig.write("account.0.acme.noise", "A", b"noise".to_vec()).await;
    gate.open();
    // It is refused, reads what is there, and cannot.
    running.fails().await;
    let log = rig.server.jetstream().await.get_stream(LOG).await.expect("it is there");
    assert_eq!((foreign, log.cached_info().state.last_sequence), (1, 1));
}
