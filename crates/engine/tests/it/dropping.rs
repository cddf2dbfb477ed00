//! What is parked and cannot be handled any more is dropped by an operator, and the rest goes on.

use std::{sync::atomic::Ordering, time::Duration};

use engine::{Client, CommandState, Operator, Outcome, Redriving};
use prost::Message;
use protocol::{
    proto::{Dropped, engine_event::Kind},
    subject::Lane,
};
use testkit::{Db, Entry, eventually};

use crate::{
    contract::{ACCOUNT, AccountAnswer, Body, Command, Event, INTAKE},
    ledger::{Ledger, UNLUCKY},
    rig::{
        LIVE, Rig, Running, answer, deposit, deposit_lines, deposits, parked, send, shop, store,
    },
};

testkit::on_both_databases!(
    an_input_that_is_in_no_stream_any_more_is_dropped_and_what_waits_behind_it_goes_on,
    who_has_sent_a_command_sees_that_it_was_dropped_and_may_send_it_again,
    a_command_that_was_handled_stays_so_when_a_copy_of_it_is_dropped,
);

const REASON: &str = "lost with its stream";
/// How long a sender waits for an answer: it asks for it after a while.
const WAITS: Duration = Duration::from_secs(4);

async fn drop_parked(client: &Client, id: &str) -> Redriving {
    let dropped = client.drop_parked(ACCOUNT, 0, id, REASON).await;
    dropped.expect("it can be dropped")
}

async fn state(client: &Client, command: &Command) -> Option<CommandState> {
    let state = client.command_state(ACCOUNT, &shop(), &command.id, 0).await;
    state.expect("it is answered")
}

/// What was dropped, by whom.
fn dropped(log: &[Entry<Event>]) -> Vec<(Dropped, String)> {
    let dropped = log.iter().filter_map(|entry| match entry.event.body.as_ref()? {
        Body::Engine(engine) => match engine.kind.clone()? {
            Kind::Dropped(dropped) => {
                Some((dropped, entry.event.actor.clone().unwrap_or_default().kind))
            }
            _ => None,
        },
        _ => None,
    });
    dropped.collect()
}

async fn an_input_that_is_in_no_stream_any_more_is_dropped_and_what_waits_behind_it_goes_on(
    db: Db,
) {
    /// More bytes than a parked event keeps: they stay in the log of the intake alone.
    const BYTES: usize = 900_000;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    rig.write("intake.0.acme.counted", "A", vec![0xff; BYTES]).await;
    parked(&client, 1).await;
    store(&client, Lane::Live, deposit("A", 1)).await;
    rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
    store(&client, Lane::Live, deposit("A", 2)).await;
    let ids: Vec<_> = parked(&client, 4).await.into_iter().map(|row| row.id).collect();
    running.stop().await;
    rig.create_anew("INTAKE-0").await;
    let reset = Operator::of::<Ledger>().reset_position(&engine, 0, INTAKE, 0, REASON).await;
    reset.expect("it can be reset");

    let running = Running::start(&engine, &Ledger::default());
    let refused = client.redrive(ACCOUNT, 0, &ids[0], None).await;
    let refused = refused.expect_err("nobody knows what it was").to_string();
    assert!(refused.contains("INTAKE-0 has no message 1"), "{refused}");
    let refused = client.drop_parked(ACCOUNT, 0, &ids[1], REASON).await;
    let refused = refused.expect_err("it waits behind the first").to_string();
    assert!(refused.contains(&format!("waits behind {}", ids[0])), "{refused}");
    for reason in ["", &"x".repeat(1_001)] {
        let refused = client.drop_parked(ACCOUNT, 0, &ids[0], reason).await;
        let refused = refused.expect_err("it is no reason");
        assert!(refused.to_string().contains("1 to 1000 characters"), "{refused}");
    }

    // Those behind it go on, up to one that fails again.
    let outcome = drop_parked(&client, &ids[0]).await;
    let (handled, still_parked) = (ids[1..2].to_vec(), ids[2..].to_vec());
    assert_eq!(outcome, Redriving { handled, still_parked });
    let outcome = drop_parked(&client, &ids[2]).await;
    assert_eq!(outcome, Redriving { handled: ids[3..].to_vec(), still_parked: Vec::new() });
    assert_eq!(parked(&client, 0).await, []);
    send(&client, deposit("A", 3)).await;
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, "A"), [1, 2, 3]);
    let event = |parked_id: &String| {
        let (parked_id, reason) = (parked_id.clone(), REASON.to_owned());
        (Dropped { parked_id, reason, command_id: String::new() }, "operator".to_owned())
    };
    assert_eq!(dropped(&log), [event(&ids[0]), event(&ids[2])]);
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("A", 4)).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2, 3, 4]);
    running.stop().await;
}

async fn who_has_sent_a_command_sees_that_it_was_dropped_and_may_send_it_again(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let unlucky = deposit_lines("A", &[(UNLUCKY, 1)]);
    let waiting = tokio::spawn({
        let (client, command) = (client.clone(), unlucky.clone());
        async move { client.send(Lane::Live, command.into(), WAITS).await }
    });
    let id = parked(&client, 1).await.remove(0).id;
    let reason = "a rule panicked: an unlucky line".to_owned();
    assert_eq!(state(&client, &unlucky).await, Some(CommandState::Parked { reason }));

    drop_parked(&client, &id).await;
    let is_dropped = || Some(CommandState::Dropped { reason: REASON.to_owned() });
    assert_eq!(state(&client, &unlucky).await, is_dropped());
    let waited = waiting.await.expect("it does not panic");
    assert!(matches!(waited, Ok(Outcome::Pending)), "there is no answer: {waited:?}");
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
    let running = Running::start(&engine, &ledger);
    assert_eq!(state(&client, &unlucky).await, is_dropped());

    // Sent again while the rule is broken, it is parked again.
    store(&client, Lane::Live, unlucky.clone()).await;
    let again = parked(&client, 1).await.remove(0).id;
    assert!(matches!(state(&client, &unlucky).await, Some(CommandState::Parked { .. })));
    drop_parked(&client, &again).await;
    assert_eq!(state(&client, &unlucky).await, is_dropped());
    ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(answer(&send(&client, unlucky.clone()).await), AccountAnswer::of_deposit(1));
    assert!(matches!(state(&client, &unlucky).await, Some(CommandState::Answered(_))));
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), dropped(&log).len()), (vec![1], 2));
    running.stop().await;
}

async fn a_command_that_was_handled_stays_so_when_a_copy_of_it_is_dropped(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let command = deposit("A", 1);
    send(&client, command.clone()).await;
    let copy = Command { task: None, ..command.clone() };
    rig.write(LIVE, "A", copy.encode_to_vec()).await;
    let row = parked(&client, 1).await.remove(0);
    assert_eq!(row.cause_id, command.id);
    running.stop().await;

    // Whether it was handled is looked up in the database.
    let running = Running::start(&engine, &Ledger::default());
    drop_parked(&client, &row.id).await;
    eventually("nothing is parked", async || {
        client.parked(ACCOUNT, 0, None).await.is_ok_and(|page| page.parked.is_empty())
    })
    .await;
    assert!(matches!(state(&client, &command).await, Some(CommandState::Answered(_))));
    let log = rig.check(&engine).await;
    assert_eq!(dropped(&log)[0].0.command_id, "");
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
}
