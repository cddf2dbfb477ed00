//! The streams are created as they are defined, and what differs is named.

mod cluster;

use std::time::Duration;

use async_nats::jetstream::stream::{Compression, Config as Stream};
use engine::{BrokerError, Config, Difference, Engine, Error, Faults, PartitionState, Step};
use protocol::subject::{Lane, POSITIONS_HEADER};
use testkit::{Db, eventually};
use tokio::time::sleep;

use crate::{
    contract::Event,
    gate::Gate,
    ledger::Ledger,
    rig::{Rig, Running, connect, deposit, deposits, send, store},
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_created_once_and_left_alone_after_that() {
    let rig = Rig::start(Db::sqlite()).await;
    let config = Config { integrator_streams: true, ..rig.config() };
    let only_looks = Engine::connect_only(config.clone()).await.expect("it connects");
    let missing = only_looks.diff_streams().await.expect("it can be compared");
    assert!(missing.iter().all(|difference| difference.settings.is_empty()), "{missing:?}");
    assert_eq!(missing.len(), 4 + 1 + 1 + 4);

    for _ in 0..2 {
        let engine = Engine::connect(config.clone()).await.expect("it connects");
        assert_eq!(engine.diff_streams().await.expect("it can be compared"), []);
        assert_eq!(engine.apply_streams().await.expect("there is nothing to do"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_before_nats_waits_for_it() {
    let mut rig = Rig::start(Db::sqlite()).await;
    rig.server.kill().await;
    let at_once = Config { start_timeout: Duration::ZERO, ..rig.config() };
    let error = Engine::connect(at_once).await.expect_err("nobody listens there");
    assert!(matches!(error, Error::Connect { .. }), "{error}");

    let config = rig.config();
    let starting = tokio::spawn(async move { Engine::connect(config).await });
    rig.server.start_again().await;
    let engine = starting.await.expect("it does not panic").expect("it waits");
    assert_eq!(engine.diff_streams().await.expect("they can be compared"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_ready_as_long_as_one_of_the_inboxes_answers() {
    let rig = Rig::start(Db::sqlite()).await;
    let client = connect(Config { partitions: 2, ..rig.config() }).await.client();
    assert!(client.ready().await.is_ok());
    rig.server.delete_stream("INBOX-0").await;
    assert!(client.ready().await.is_ok(), "the other one answers");
    rig.server.delete_stream("INBOX-1").await;
    assert!(matches!(client.ready().await, Err(BrokerError::Silent(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_integrators_holds_every_event_under_its_subject() {
    let rig = Rig::start(Db::sqlite()).await;
    let engine = connect(Config { integrator_streams: true, ..rig.config() }).await;
    let running = Running::start(&engine, &Ledger::default());
    for amount in [1, 2] {
        send(&engine.client(), deposit("A", amount)).await;
    }
    running.stop().await;
    eventually("the events are there", async || {
        rig.server.events::<Event>("ACCOUNTS").await.len() == 2
    })
    .await;
    let copied = rig.server.events::<Event>("ACCOUNTS").await;
    assert_eq!(deposits(&copied, "A"), [1, 2]);
    assert!(copied.iter().all(|entry| entry.subject == "account.0.acme.deposited"), "{copied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_differs_is_refused_by_name_and_mended_on_demand() {
    let rig = Rig::start(Db::sqlite()).await;
    rig.engine().await;
    let context = rig.server.jetstream().await;
    let inbox = context.get_stream("INBOX-0").await.expect("it was created");
    let defined = inbox.cached_info().config.clone();
    let changed = Stream { max_age: Duration::from_hours(1), ..defined };
    context.update_stream(changed).await.expect("it can be changed");

    let error = Engine::connect(rig.config()).await.expect_err("it differs");
    assert!(matches!(error, Error::Drift { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("stream INBOX-0 differs"), "{text}");
    assert!(text.contains("max_age: is 3600s, should be 604800s"), "{text}");

    let engine = Engine::connect_only(rig.config()).await.expect("it connects");
    let done = Difference {
        stream: "INBOX-0".to_owned(),
        settings: vec!["max_age: is 3600s, should be 604800s".to_owned()],
    };
    assert_eq!(engine.apply_streams().await.expect("it can be mended"), [done]);
    Engine::connect(rig.config()).await.expect("it is as it should be");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_somebody_changed_is_noticed() {
    let rig = Rig::start(Db::sqlite()).await;
    rig.engine().await;
    let context = rig.server.jetstream().await;
    let inbox = context.get_stream("INBOX-0").await.expect("it was created");
    let defined = inbox.cached_info().config.clone();
    let engine = Engine::connect_only(rig.config()).await.expect("it connects");
    let changes: [(Stream, &str); 4] = [
        (
            Stream { max_message_size: 100, ..defined.clone() },
            "max_msg_size: is 100, should be 786432",
        ),
        (Stream { no_ack: true, ..defined.clone() }, "no_ack: is true, should be unset"),
        (
            Stream { allow_rollup: true, ..defined.clone() },
            "allow_rollup_hdrs: is true, should be unset",
        ),
        (
            Stream { compression: Some(Compression::S2), ..defined.clone() },
            "compression: is \"s2\", should be unset",
        ),
    ];
    for (changed, expected) in changes {
        context.update_stream(changed).await.expect("it can be changed");
        let error = Engine::connect(rig.config()).await.expect_err("it differs");
        assert!(error.to_string().contains(expected), "{error}");
        let done = engine.apply_streams().await.expect("it can be mended");
        assert_eq!(done[0].settings, [expected]);
        Engine::connect(rig.config()).await.expect("it is as it should be");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions_is_refused() {
    let rig = Rig::start(Db::sqlite()).await;
    rig.engine().await;
    let other = Config { partitions: 2, ..rig.config() };
    let error = Engine::connect(other.clone()).await.expect_err("there is one partition");
    assert!(error.to_string().contains("partitions: is 1, should be 2"), "{error}");
    let engine = Engine::connect_only(other).await.expect("it connects");
    let error = engine.apply_streams().await.expect_err("it cannot be changed");
    assert!(error.to_string().contains("partitions: is 1, should be 2"), "{error}");
    Engine::connect(rig.config()).await.expect("nothing was changed");
}

testkit::on_both_databases!(
    inputs_that_retention_deleted_unhandled_stop_the_worker,
    a_quiet_service_whose_inputs_retention_deleted_can_be_rebuilt,
    a_service_may_be_new_to_an_inbox_that_has_forgotten,
    what_is_passed_together_with_the_last_input_is_recorded,
);

async fn inputs_that_retention_deleted_unhandled_stop_the_worker(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&client, deposit("A", 1)).await;
    running.stop().await;
    for amount in [2, 3] {
        store(&client, Lane::Live, deposit("A", amount)).await;
    }
    let inbox = rig.server.jetstream().await.get_stream("INBOX-0").await.expect("it is there");
    inbox.purge().sequence(3).await.expect("it can be purged");
    eventually("the second is gone", async || {
        let info = inbox.get_info().await.expect("it is there");
        info.state.first_sequence == 3
    })
    .await;

    let running = Running::start_claimed(&engine, &Ledger::default());
    assert_eq!(
        failure(&engine).await,
        "INBOX-0 begins at 3, but account has handled only up to 1: its retention has deleted inputs \
         that were never handled; restore the stream from a backup"
    );
    running.kill().await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1]);
}

/// Why the ledger's partition cannot go on, as soon as it cannot.
async fn failure(engine: &Engine) -> String {
    let reason = || {
        engine.partitions().into_iter().find_map(|status| match status.state {
            PartitionState::Failing { reason, .. } => Some(reason),
            _ => None,
        })
    };
    eventually("the partition is failing", async || reason().is_some()).await;
    reason().expect("it is failing")
}

/// The inbox goes on with what is for others until `first` is the oldest message in it.
async fn forget(rig: &Rig, first: u64) {
    let inbox = rig.server.jetstream().await.get_stream("INBOX-0").await.expect("it is there");
    inbox.purge().sequence(first).await.expect("it can be purged");
    eventually("the old ones are gone", async || {
        let info = inbox.get_info().await.expect("it is there");
        info.state.first_sequence == first
    })
    .await;
}

/// Writes commands into the inbox that are for another service.
async fn write_for_others(rig: &Rig, count: u64) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        last = rig.write("inbox.0.live.stranger.acme.other", "P", Vec::new()).await;
    }
    last
}

async fn a_quiet_service_whose_inputs_retention_deleted_can_be_rebuilt(db: Db) {
    let rig = Rig::start(db).await;
    let old = Faults::when(|_, step| step == Step::RecordPositions);
    let engine = rig.engine_with(old).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    running.stop().await;
    let last = write_for_others(&rig, 5).await;
    // It looks into the inbox, finds nothing for itself, and records that.
    let running = Running::start_claimed(&engine, &Ledger::default());
    await_recorded(&rig, last).await;
    running.stop().await;
    forget(&rig, last + 1).await;

    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 2)).await;
    running.stop().await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2]);
}

/// Waits until a service's log says that the inbox is handled up to `last`, in both lanes.
async fn await_recorded(rig: &Rig, last: u64) {
    let read = ["live", "bulk"].map(|lane| format!("inbox.{lane}={last}"));
    eventually("the log has the positions in both lanes", async || {
        let log = rig.log().await;
        let Some(entry) = log.last() else { return false };
        let positions = entry.headers.get(POSITIONS_HEADER).map_or("", |it| it.as_str());
        let has = |wanted: &String| positions.split(',').any(|position| position == wanted);
        kind(&entry.event) == Some("positions") && read.iter().all(has)
    })
    .await;
}

async fn what_is_passed_together_with_the_last_input_is_recorded(db: Db) {
    /// Time for two heartbeats, by which a reader hears how far the inbox is. With less, the test
    /// passes without having seen what it is about.
    const HEARTBEATS: Duration = Duration::from_millis(1_500);
    let rig = Rig::start(db).await;
    let gate = Gate::default();
    let faults = gate.faults_beside(|step| step == Step::RecordPositions);
    let engine = rig.engine_with(faults).await;
    let client = engine.client();
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&client, deposit("A", 1)).await;
    // While this one is being appended, a few inputs wait.
    let entering = gate.close();
    store(&client, Lane::Live, deposit("A", 2)).await;
    entering.await.expect("something is about to be appended");
    store(&client, Lane::Live, deposit("A", 3)).await;
    let last = write_for_others(&rig, 5).await;
    sleep(HEARTBEATS).await;
    gate.open();
    await_recorded(&rig, last).await;
    running.stop().await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2, 3]);
}

async fn a_service_may_be_new_to_an_inbox_that_has_forgotten(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let last = write_for_others(&rig, 5).await;
    forget(&rig, last).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    running.stop().await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1]);
}

fn kind(event: &Event) -> Option<&'static str> {
    event.body.as_ref().map(|body| body.name().1)
}
