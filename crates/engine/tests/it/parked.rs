//! What cannot be handled is set aside, in order, and nothing else waits for it.

use std::sync::atomic::Ordering;

use engine::{Client, Engine, ParkedInput, Redriving};
use prost::Message;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, AccountAnswer, Command, Event, INTAKE, Task},
    ledger::{Ledger, UNLUCKY},
    rig::{
        self, LIVE, Rig, Running, answer, counted, deposit, deposit_lines, deposit_then, deposits,
        kinds, redrive, send, store,
    },
};

testkit::on_both_databases!(
    what_cannot_be_read_is_parked_and_its_aggregate_waits_behind_it_in_order,
    what_is_parked_survives_a_restart_and_a_rebuild,
    what_panics_is_parked_until_the_rule_is_mended,
    an_event_that_cannot_be_read_is_parked_too,
    what_waits_before_one_that_fails_again_is_redriven,
    a_parked_command_that_came_twice_is_handled_once_and_neither_stays,
    a_deadline_waits_behind_what_is_parked,
    an_outcome_that_came_while_its_aggregate_was_parked_is_asked_for_again,
    the_largest_message_that_the_inbox_takes_can_be_parked,
    two_redrives_at_once_handle_an_input_once,
    what_is_parked_is_redriven_in_pages_up_to_the_first_that_fails,
    one_whose_source_is_not_read_any_more_stops_none_before_it,
);

/// The parked inputs with their bytes, as soon as there are that many.
async fn parked(client: &Client, count: usize) -> Vec<ParkedInput> {
    let rows = rig::parked(client, count).await;
    assert!(rows.iter().all(|row| row.payload.is_empty()), "a list carries no bytes");
    let mut parked = Vec::new();
    for row in rows {
        let row = client.parked_input(ACCOUNT, &row.id).await.expect("it is answered");
        parked.push(row.expect("it is parked"));
    }
    parked
}

async fn what_cannot_be_read_is_parked_and_its_aggregate_waits_behind_it_in_order(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
    store(&client, Lane::Live, deposit("A", 2)).await;
    store(&client, Lane::Live, deposit("A", 3)).await;
    // Others go on.
    send(&client, deposit("B", 1)).await;

    let waiting = parked(&client, 3).await;
    assert_eq!(
        waiting[0].reason,
        "the message does not decode: failed to decode Protobuf message: invalid varint"
    );
    assert_eq!(waiting[0].payload, b"\xff\xff");
    assert_eq!(waiting[0].subject, LIVE);
    assert_eq!(waiting[1].reason, "an earlier input of this aggregate is parked");
    let message = Command::decode(&*waiting[1].payload).expect("it can be read");
    let Some(Task::Deposit(second)) = message.task else { panic!("{message:?}") };
    assert_eq!(second.lines[0].price, Some(2));

    // The second cannot go before the first, and the first not as it is.
    let refused = client.redrive(ACCOUNT, 0, &waiting[1].id, None).await;
    let refused = refused.expect_err("it waits behind the first");
    assert!(refused.is_refused(), "{refused}");
    assert!(refused.to_string().contains(&waiting[0].id), "{refused}");
    let ids = || waiting.iter().map(|view| view.id.clone()).collect::<Vec<_>>();
    let redriven = redrive(&client, &waiting[0], None).await;
    assert_eq!(redriven, Redriving { handled: Vec::new(), still_parked: ids() });

    // Edited, it goes, and the others follow.
    let edited = deposit("A", 1).encode_to_vec();
    let redriven = redrive(&client, &waiting[0], Some(edited)).await;
    assert_eq!(redriven, Redriving { handled: ids(), still_parked: Vec::new() });
    assert_eq!(parked(&client, 0).await, []);
    send(&client, deposit("A", 4)).await;
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, "B")), (vec![1, 2, 3, 4], vec![1]));
    running.stop().await;
}

async fn what_is_parked_survives_a_restart_and_a_rebuild(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
    store(&engine.client(), Lane::Live, deposit("A", 2)).await;
    let before = parked(&engine.client(), 2).await;

    let restart = async |running: Running, engine: &Engine| {
        running.stop().await;
        let running = Running::start(engine, &Ledger::default());
        assert_eq!(parked(&engine.client(), 2).await, before);
        running
    };
    let running = restart(running, &engine).await;
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    let running = Running::start(&engine, &Ledger::default());
    assert_eq!(parked(&engine.client(), 2).await, before);

    // The aggregate is still known to wait.
    store(&engine.client(), Lane::Live, deposit("A", 3)).await;
    parked(&engine.client(), 3).await;
    redrive(&engine.client(), &before[0], Some(deposit("A", 1).encode_to_vec())).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2, 3]);
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2, 3]);
}

async fn what_panics_is_parked_until_the_rule_is_mended(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let unlucky = deposit_lines("A", &[("any", 1), (UNLUCKY, 2)]);
    store(&client, Lane::Live, unlucky.clone()).await;
    store(&client, Lane::Live, deposit("A", 3)).await;
    send(&client, deposit("B", 1)).await;

    let waiting = parked(&client, 2).await;
    assert_eq!(waiting[0].reason, "a rule panicked: an unlucky line");
    assert_eq!(redrive(&client, &waiting[0], None).await.handled, Vec::<String>::new());
    ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(redrive(&client, &waiting[0], None).await.handled.len(), 2);
    // Its sender can still be answered.
    assert_eq!(answer(&send(&client, unlucky).await), AccountAnswer::of_deposit(3));
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, "B")), (vec![1, 2, 3], vec![1]));
    running.stop().await;
}

async fn an_event_that_cannot_be_read_is_parked_too(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    rig.write("intake.0.acme.counted", "A", b"\xff\xff".to_vec()).await;
    let waiting = parked(&client, 1).await;
    assert_eq!((&*waiting[0].source, waiting[0].sequence), (INTAKE, 1));
    store(&client, Lane::Live, deposit("A", 2)).await;
    parked(&client, 2).await;

    let event = Event {
        shop: "acme".to_owned(),
        aggregate_id: "A".to_owned(),
        body: Some(counted(1, 1)),
        ..Default::default()
    };
    redrive(&client, &waiting[0], Some(event.encode_to_vec())).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2]);
    running.stop().await;
}

/// The first looks for a row that is not in memory, so the second is tried before it is its turn.
async fn what_waits_before_one_that_fails_again_is_redriven(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("A", 1)).await;
    for _ in 0..2 {
        rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
    }
    let waiting = parked(&client, 2).await;
    running.stop().await;

    let running = Running::start(&engine, &Ledger::default());
    let redriven = redrive(&client, &waiting[0], Some(deposit("A", 2).encode_to_vec())).await;
    let (handled, still_parked) = (vec![waiting[0].id.clone()], vec![waiting[1].id.clone()]);
    assert_eq!(redriven, Redriving { handled, still_parked });
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2]);
    running.stop().await;
}

async fn a_parked_command_that_came_twice_is_handled_once_and_neither_stays(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let unlucky = deposit_lines("A", &[(UNLUCKY, 1)]);
    rig.write(LIVE, "A", unlucky.encode_to_vec()).await;
    rig.write(LIVE, "A", unlucky.encode_to_vec()).await;
    let waiting = parked(&client, 2).await;

    ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(redrive(&client, &waiting[0], None).await.still_parked, Vec::<String>::new());
    assert_eq!(parked(&client, 0).await, []);
    running.stop().await;
    let running = Running::start(&engine, &ledger);
    send(&client, deposit("A", 2)).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2]);
    running.stop().await;
}

async fn a_deadline_waits_behind_what_is_parked(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    send(&client, deposit_then("A", 1, "promise")).await;
    store(&client, Lane::Live, deposit_lines("A", &[(UNLUCKY, 2)])).await;
    // A later promise of another account lapses, so that of A is long overdue.
    send(&client, deposit_then("B", 1, "promise")).await;
    let lapsed = async |account: &str| kinds(&rig.log().await, account).contains(&"lapsed");
    eventually("the promise to B lapses", async || lapsed("B").await).await;
    assert!(!lapsed("A").await);

    let waiting = parked(&client, 1).await;
    ledger.broken.store(false, Ordering::Relaxed);
    redrive(&client, &waiting[0], None).await;
    eventually("the promise to A lapses", async || lapsed("A").await).await;
    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "A"), ["deposited", "promised", "deposited", "lapsed"]);
    running.stop().await;
}

async fn an_outcome_that_came_while_its_aggregate_was_parked_is_asked_for_again(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::with_silent_provider();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    send(&client, deposit_then("A", 5, "charge")).await;
    store(&client, Lane::Live, deposit_lines("A", &[(UNLUCKY, 2)])).await;
    let waiting = parked(&client, 1).await;

    // The provider answers, and that is not handled: A waits. B's is, later in the same queue.
    ledger.provider.add_permits(1);
    eventually("the provider has answered", async || ledger.provider.available_permits() == 0)
        .await;
    ledger.provider.add_permits(100);
    send(&client, deposit_then("B", 1, "charge")).await;
    let paid = async |account: &str| kinds(&rig.log().await, account).contains(&"charged");
    eventually("B is charged", async || paid("B").await).await;
    assert!(!paid("A").await);

    ledger.broken.store(false, Ordering::Relaxed);
    redrive(&client, &waiting[0], None).await;
    eventually("A is charged", async || paid("A").await).await;
    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "A"), ["deposited", "charge_pending", "deposited", "charged"]);
    let of_a: Vec<_> = ledger.charges().into_iter().filter(|(account, _)| account == "A").collect();
    assert_eq!(of_a, [("A".to_owned(), false), ("A".to_owned(), true)]);
    running.stop().await;
}

async fn two_redrives_at_once_handle_an_input_once(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    // An event of another service: no answer says that it was handled before.
    rig.write("intake.0.acme.counted", "A", b"\xff\xff".to_vec()).await;
    let waiting = parked(&client, 1).await;
    let event = Event {
        shop: "acme".to_owned(),
        aggregate_id: "A".to_owned(),
        body: Some(counted(1, 1)),
        ..Default::default()
    };
    let edited = event.encode_to_vec();
    let redrive = || client.redrive(ACCOUNT, 0, &waiting[0].id, Some(&edited));
    let (one, other) = tokio::join!(redrive(), redrive());
    let (handled, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!((handled.len(), refused.len()), (1, 1), "{handled:?} {refused:?}");
    let refused = refused[0].as_ref().expect_err("the other one came first").to_string();
    assert!(refused.contains("has nothing parked under"), "{refused}");
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1]);
    running.stop().await;
}

async fn what_is_parked_is_redriven_in_pages_up_to_the_first_that_fails(db: Db) {
    /// More than two pages.
    const MANY: usize = 120;
    /// The one that fails again, on the second page.
    const FAILS: usize = 70;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    for number in 0..MANY {
        if number == 0 || number == FAILS {
            rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
        } else {
            store(&client, Lane::Live, deposit("A", number as i64)).await;
        }
    }
    let ids = async |count: usize| {
        let rows = eventually_parked(&client, count).await;
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let waiting = ids(MANY).await;
    let edited = |amount: usize| deposit("A", amount as i64).encode_to_vec();
    let redrive = async |id: &str, bytes: Vec<u8>| {
        let redriven = client.redrive(ACCOUNT, 0, id, Some(&bytes)).await;
        redriven.expect("it can be redriven")
    };
    let redriven = redrive(&waiting[0], edited(500)).await;
    assert_eq!(redriven.handled, waiting[..FAILS]);
    assert_eq!(redriven.still_parked, waiting[FAILS..]);
    let redriven = redrive(&waiting[FAILS], edited(600)).await;
    assert_eq!(redriven.handled, waiting[FAILS..]);
    assert_eq!(ids(0).await, Vec::<String>::new());
    let amounts: Vec<_> = (0..MANY as i64)
        .map(|number| match number as usize {
            0 => 500,
            FAILS => 600,
            _ => number,
        })
        .collect();
    assert_eq!(deposits(&rig.check(&engine).await, "A"), amounts);
    running.stop().await;
}

/// All that is parked, page by page, as soon as it is that many.
async fn eventually_parked(client: &Client, count: usize) -> Vec<ParkedInput> {
    let all = async || {
        let mut page = client.parked(ACCOUNT, 0, None).await.expect("it is answered");
        let mut all = std::mem::take(&mut page.parked);
        while let Some(after) = page.next {
            page = client.parked(ACCOUNT, 0, Some(after)).await.expect("it is answered");
            all.append(&mut page.parked);
        }
        all
    };
    eventually("the inputs are parked", async || all().await.len() == count).await;
    all().await
}

async fn one_whose_source_is_not_read_any_more_stops_none_before_it(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    rig.write(LIVE, "A", b"\xff\xff".to_vec()).await;
    store(&client, Lane::Live, deposit("A", 2)).await;
    store(&client, Lane::Live, deposit("A", 3)).await;
    let waiting = parked(&client, 3).await;
    // As if the second had come from a log that this version does not read.
    let statement = "update engine_parked set document = replace(document, 'inbox.live', 'stranger') \
                     where log_sequence = 2";
    rig.db.tamper(ACCOUNT, statement).await;
    let redriven = redrive(&client, &waiting[0], Some(deposit("A", 1).encode_to_vec())).await;
    let ids: Vec<_> = waiting.iter().map(|row| row.id.clone()).collect();
    assert_eq!((&redriven.handled[..], &redriven.still_parked[..]), (&ids[..1], &ids[1..]));
    let refused = client.redrive(ACCOUNT, 0, &ids[1], None).await;
    let refused = refused.expect_err("it cannot be read again").to_string();
    assert!(refused.contains("account no longer reads stranger"), "{refused}");
    assert_eq!(deposits(&rig.log().await, "A"), [1]);
    running.stop().await;
}

async fn the_largest_message_that_the_inbox_takes_can_be_parked(db: Db) {
    /// `max_message_size` of the inbox less what the headers take.
    const LARGEST: usize = 786_432 - 200;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    rig.write(LIVE, "A", vec![0xff; LARGEST]).await;
    send(&engine.client(), deposit("B", 1)).await;
    let log = rig.check(&engine).await;
    let kind = |entry: &testkit::Entry<Event>| Some(entry.event.body.as_ref()?.name().1);
    assert!(log.iter().any(|entry| kind(entry) == Some("parked")));
    assert_eq!(deposits(&log, "B"), [1]);
    running.stop().await;
}
