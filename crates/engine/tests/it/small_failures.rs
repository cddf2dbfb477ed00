//! A message that nobody can read stops its partition alone, until an operator voids it.

use async_nats::HeaderMap;
use engine::{Config, Engine, Error, Logged, Operator, PartitionState, Remedy};
use prost::Message;
use protocol::{
    id::{Shop, hex},
    proto::{EngineEvent, Envelope, Voided, engine_event::Kind},
    subject::{self, POSITIONS_HEADER},
};
use sha2::{Digest, Sha256};
use sqlx::{Executor, Row};
use testkit::{Db, eventually};
use tokio_util::sync::CancellationToken;

use crate::{
    contract::{ACCOUNT, AccountAnswer, Amount, Body, Command, Event, INTAKE},
    ledger::Ledger,
    other::Other,
    rig::{ANSWER_TIMEOUT, LOG, Rig, Running, answer, connect, deposit, send},
};

testkit::on_both_databases!(
    bytes_that_are_no_event_stop_their_partition_alone_until_they_are_voided,
    bytes_in_the_log_of_an_idle_worker_are_noticed,
    a_partition_that_tries_again_is_shown_as_failing_until_it_runs,
    a_log_that_is_lost_under_an_idle_worker_is_noticed,
    an_event_of_a_newer_version_stops_its_partition_alone_until_this_version_is_replaced,
    an_event_that_reads_cannot_be_voided,
    a_copy_of_an_older_event_stops_its_partition_until_it_is_voided,
    what_is_voided_is_no_event_for_a_version_that_reads_it_either,
    a_service_of_another_format_folds_its_log_anew,
);

const OPERATOR: Operator = Operator::of::<Ledger>();

/// Two shops, in the two partitions.
fn shops() -> [Shop; 2] {
    [0, 1].map(|partition| {
        let mut names = (0..).map(|number| Shop::parse(&format!("shop-{number}")));
        names
            .find_map(|shop| shop.ok().filter(|shop| subject::partition(shop, 2) == partition))
            .expect("there is one")
    })
}

fn deposit_of(shop: &Shop, amount: i64) -> Command {
    let mut command = deposit("A", amount);
    command.shop = shop.to_string();
    command
}

/// Waits until the first partition fails at that message.
async fn await_failing(engine: &Engine, sequence: u64) {
    let named = format!("ACCOUNT-0 holds a message at {sequence} that this version cannot read");
    let remedy = Remedy::VoidMessage { service: "account", partition: 0, sequence };
    let remedy = format!("; {remedy:?}");
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, .. }
                if status.partition == 0 && reason.contains(&named) && reason.ends_with(&remedy))
        })
    })
    .await;
}

/// The messages of the log that are voided, as who checks the logs reads them.
async fn voided(engine: &Engine) -> Vec<u64> {
    let mut voided = Vec::new();
    let note = |logged: Logged<Event>| {
        if logged.is_voided {
            assert_eq!(logged.event, Event::default());
            voided.push(logged.sequence);
        }
    };
    engine.read_log(ACCOUNT, 0, note).await.expect("the log is read");
    voided
}

/// A worker without commands, so that it appends nothing, whose log has got bytes that are no event: it
/// fails at that message.
async fn failing_idle(rig: &Rig) -> (Engine, Running, u64) {
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    let sequence = rig.write("account.0.acme.charged", "A", b"no event".to_vec()).await;
    await_failing(&engine, sequence).await;
    (engine, running, sequence)
}

async fn bytes_in_the_log_of_an_idle_worker_are_noticed(db: Db) {
    let rig = Rig::start(db).await;
    let (_engine, running, _) = failing_idle(&rig).await;
    running.stop().await;
}

async fn a_partition_that_tries_again_is_shown_as_failing_until_it_runs(db: Db) {
    let rig = Rig::start(db).await;
    let (engine, running, sequence) = failing_idle(&rig).await;
    let state = || engine.partitions()[0].state.clone();
    // Each look is at the state between two tries, or during one.
    loop {
        match state() {
            PartitionState::Failing { failures, .. } if failures >= 4 => break,
            PartitionState::Failing { .. } => tokio::task::yield_now().await,
            healthy => panic!("a partition that cannot go on is shown as {healthy:?}"),
        }
    }
    let voided = OPERATOR.void_message(&engine, 0, sequence, "it is no event").await;
    voided.expect("it can be voided");
    eventually("it is shown as running", async || state() == PartitionState::Held).await;
    running.stop().await;
}

async fn a_log_that_is_lost_under_an_idle_worker_is_noticed(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    rig.create_anew(LOG).await;
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, .. }
                if reason.starts_with("ACCOUNT-0 ends at 0, but the projection of account holds it"))
        })
    })
    .await;
    running.stop().await;
}

/// A message in the first partition's log that stops it while it runs, and while it starts.
async fn check_stopped_alone(db: Db, payload: Vec<u8>) {
    let rig = Rig::start(db).await;
    let engine = connect(Config { partitions: 2, ..rig.config() }).await;
    let client = engine.client();
    let [first, second] = shops();
    let mut running = Running::start_claimed(&engine, &Ledger::default());
    let shutdown = CancellationToken::new();
    let other = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run(Other::<1>::definition(), shutdown).await }
    });
    for shop in [&first, &second] {
        send(&client, deposit_of(shop, 1)).await;
    }
    let sequence = rig.write("account.0.acme.charged", "A", payload).await;
    let (sender, command) = (client.clone(), deposit_of(&first, 2));
    let waiting = tokio::spawn(async move {
        sender.send(protocol::subject::Lane::Live, command.into(), ANSWER_TIMEOUT).await
    });
    await_failing(&engine, sequence).await;

    for is_restarted in [false, true] {
        if is_restarted {
            running.stop().await;
            running = Running::start_claimed(&engine, &Ledger::default());
            await_failing(&engine, sequence).await;
        }
        send(&client, deposit_of(&second, 2)).await;
        let others = client.positions(INTAKE).await;
        assert_eq!(others.expect("every partition of the other service answers").len(), 2);
        let partitions = engine.partitions();
        let held = partitions.iter().filter(|status| status.state == PartitionState::Held);
        assert_eq!(held.count(), 3, "{partitions:?}");
    }

    let voided = OPERATOR.void_message(&engine, 0, sequence, "it is no event").await;
    let voided = voided.expect("it can be voided");
    assert_eq!((voided.sequence, voided.recorded_at), (sequence, sequence + 1));
    waiting.await.expect("it does not panic").expect("it is stored");
    send(&client, deposit_of(&first, 3)).await;
    let verified = OPERATOR.verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.voided, verified.mismatches), (1, Vec::new()));
    assert_eq!(self::voided(&engine).await, [sequence]);
    let again = OPERATOR.void_message(&engine, 0, sequence, "it is no event").await;
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");

    running.stop().await;
    OPERATOR.rebuild(&engine).await.expect("it can be rebuilt");
    let verified = OPERATOR.verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.voided, verified.mismatches), (1, Vec::new()));
    shutdown.cancel();
    other.await.expect("it does not panic").expect("it stops without an error");
}

async fn bytes_that_are_no_event_stop_their_partition_alone_until_they_are_voided(db: Db) {
    check_stopped_alone(db, b"\xff\xff\xff".to_vec()).await;
}

async fn an_event_of_a_newer_version_stops_its_partition_alone_until_this_version_is_replaced(
    db: Db,
) {
    /// Field 900, of two bytes: no version so far has it.
    const UNKNOWN_BODY: &[u8] = &[0xa2, 0x38, 0x02, 0x08, 0x01];
    let mut payload = Envelope {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        shop: "acme".to_owned(),
        aggregate_id: "A".to_owned(),
        aggregate_version: 2,
        ..Default::default()
    }
    .encode_to_vec();
    payload.extend_from_slice(UNKNOWN_BODY);
    check_stopped_alone(db, payload).await;
}

async fn an_event_that_reads_cannot_be_voided(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    let refused = OPERATOR.void_message(&engine, 0, 1, "it is not wanted").await;
    let Err(Error::Refused(problem)) = refused else { panic!("{refused:?}") };
    assert!(problem.contains("the message 1 of ACCOUNT-0 is an event"), "{problem}");
    let missing = OPERATOR.void_message(&engine, 0, 9, "it is not there").await;
    let Err(Error::Refused(problem)) = missing else { panic!("{missing:?}") };
    assert_eq!(problem, "ACCOUNT-0 has no message 9");
    assert_eq!(rig.check(&engine).await.len(), 1);
    running.stop().await;
}

async fn a_copy_of_an_older_event_stops_its_partition_until_it_is_voided(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let running = Running::start_claimed(&engine, &Ledger::default());
    for amount in 1..=3 {
        send(&client, deposit("A", amount)).await;
    }
    running.stop().await;
    let copy = rig.log().await.remove(0).event.encode_to_vec();
    let sequence = rig.write("account.0.acme.deposited", "A", copy).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    let expected = format!("in ACCOUNT-0 at {sequence}, version 1 of A follows version 3");
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, .. }
                if reason.starts_with(&expected))
        })
    })
    .await;
    let refused = OPERATOR.void_message(&engine, 0, 2, "it is not the copy").await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let voided = OPERATOR.void_message(&engine, 0, sequence, "it is a copy").await;
    assert_eq!(voided.expect("it can be voided").sequence, sequence);
    assert_eq!(self::voided(&engine).await, [sequence]);
    let answered = send(&client, deposit("A", 4)).await;
    assert_eq!(answer(&answered), AccountAnswer::of_deposit(10));
    let verified = OPERATOR.verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.voided, verified.mismatches), (1, Vec::new()));
    running.stop().await;
    OPERATOR.rebuild(&engine).await.expect("it can be rebuilt");
    let verified = OPERATOR.verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.voided, verified.mismatches), (1, Vec::new()));
}

async fn what_is_voided_is_no_event_for_a_version_that_reads_it_either(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    running.stop().await;

    // The version that ran when it was voided could not read it; for this one it is the next event.
    let mut event = rig.log().await.remove(0).event;
    let time = event.time;
    "01890a5d-ac96-774b-bcce-b302099a8057".clone_into(&mut event.id);
    (event.aggregate_version, event.position, event.previous_position) = (2, 2, 1);
    event.cause = None;
    event.body = Some(Body::Deposited(Amount { amount: 5, balance: 6, ..Default::default() }));
    let payload = event.encode_to_vec();
    let sha256 = hex(&Sha256::digest(&payload));
    let sequence = rig.write("account.0.acme.deposited", "A", payload).await;
    let kind = Kind::Voided(Voided { sequence, sha256, reason: "it cannot be read".to_owned() });
    let voided = Event {
        id: "01890a5d-ac96-774b-bcce-b302099a8058".to_owned(),
        shop: Shop::unknown().to_string(),
        aggregate_id: format!("voided:0-{sequence}"),
        aggregate_version: 1,
        time,
        position: sequence + 1,
        body: Some(Body::Engine(EngineEvent { kind: Some(kind) })),
        ..Default::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(POSITIONS_HEADER, "");
    rig.write_with("engine.account.0.voided", headers, voided.encode_to_vec()).await;

    let running = Running::start(&engine, &Ledger::default());
    let answered = send(&engine.client(), deposit("A", 2)).await;
    assert_eq!(answer(&answered), AccountAnswer::of_deposit(3));
    running.stop().await;
    let verified = OPERATOR.verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.voided, verified.mismatches), (1, Vec::new()));
    assert_eq!(self::voided(&engine).await, [sequence]);
    let again = OPERATOR.void_message(&engine, 0, sequence, "it is no event").await;
    let Err(Error::Refused(problem)) = again else { panic!("{again:?}") };
    assert_eq!(problem, "the message 2 of ACCOUNT-0 is voided");
}

async fn a_service_of_another_format_folds_its_log_anew(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    count_one_more::<1>(&rig, &engine, 1).await;
    assert_eq!(counted(&rig).await, 1);
    count_one_more::<2>(&rig, &engine, 2).await;
    assert_eq!(counted(&rig).await, 20);
    // A version that was taken back folds anew as well.
    count_one_more::<1>(&rig, &engine, 3).await;
    assert_eq!(counted(&rig).await, 3);
    let verified = Operator::of::<Other<1>>().verify(&engine).await.expect("it can be verified");
    assert_eq!((verified.events, verified.mismatches), (3, Vec::new()));
}

/// Runs the service in that format until it has handled one command more: `all` of them.
async fn count_one_more<const FORMAT: u32>(rig: &Rig, engine: &Engine, all: usize) {
    let shutdown = CancellationToken::new();
    let (running, stop) = (engine.clone(), shutdown.clone());
    let running = async move { running.run_unclaimed(Other::<FORMAT>::definition(), stop).await };
    let running = tokio::spawn(Box::pin(running));
    let command = deposit("A", 1).encode_to_vec();
    rig.write("inbox.0.live.intake.acme.count", "A", command).await;
    let handled = async || rig.server.events::<Event>("INTAKE-0").await.len() == all;
    eventually("it is handled", handled).await;
    shutdown.cancel();
    running.await.expect("it does not panic").expect("it stops without an error");
}

async fn counted(rig: &Rig) -> i64 {
    let mut db = rig.db.connect(INTAKE).await;
    let row = db.fetch_one("select counted from counted").await.expect("there is one row");
    row.get(0)
}
