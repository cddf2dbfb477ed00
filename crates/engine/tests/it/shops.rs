//! Shops of one partition take turns: what one of them does holds up itself, and whatever crashes
//! meanwhile, every input of each is handled once and in its order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
};

use engine::{Client, Engine, Faults, Step};
use futures::{StreamExt, future::join_all};
use protocol::subject::{Lane, POSITIONS_HEADER};
use testkit::{Db, Entry, eventually};

use crate::{
    contract::{Body, Command, Event, Price, TARIFF, Task},
    ledger::{Ledger, was_read_of},
    rig::{Rig, Running, counted, deposit, deposit_then, deposits, kinds, of, send, store},
};

testkit::on_both_databases!(
    commands_of_one_shop_that_wait_to_be_stored_do_not_hold_up_another,
    a_backlog_of_one_shop_does_not_hold_up_another,
    an_import_of_one_shop_does_not_hold_up_that_of_another,
    every_crash_in_a_window_of_several_shops_loses_and_doubles_nothing,
    a_command_that_waits_for_a_replica_holds_up_its_shop_alone,
    a_replica_with_a_backlog_of_one_shop_holds_up_no_other,
    a_deadline_does_not_wait_for_the_backlog_of_another_shop,
);

/// More than a window holds of one shop.
const BACKLOG: usize = 4_000;

/// Counts the checks of backlogs in this process.
static CHECKS: AtomicU64 = AtomicU64::new(0);

/// How often more is written for a worker that has not crashed yet.
const MAX_ROUNDS: u32 = 20;

/// The deposits of a shop into an account, in order.
fn deposits_of(log: &[Entry<Event>], shop: &str, account: &str) -> Vec<i64> {
    let log: Vec<_> = log.iter().filter(|entry| entry.event.shop == shop).cloned().collect();
    deposits(&log, account)
}

/// By shop: the amounts that were sent, in the order of the inbox.
async fn sent(engine: &Engine) -> BTreeMap<String, Vec<i64>> {
    let mut sent: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let read = engine.read_inbox(0, |_, command: Command| {
        if let Some(Task::Deposit(deposit)) = command.task {
            let amounts = deposit.lines.iter().filter_map(|line| line.price);
            sent.entry(command.shop).or_default().extend(amounts);
        }
    });
    read.await.expect("it can be read");
    sent
}

/// Where the first event of a shop stands in the log.
fn first_of(log: &[Entry<Event>], shop: &str) -> usize {
    log.iter().position(|entry| entry.event.shop == shop).expect("it is in the log")
}

/// Whether a position in the log says that this shop is behind.
fn is_named(log: &[Entry<Event>], shop: &str) -> bool {
    let named = format!(";{shop}=");
    log.iter().any(|entry| {
        entry.headers.get(POSITIONS_HEADER).is_some_and(|at| at.as_str().contains(&named))
    })
}

/// Stores commands in order, so many at a time as go into one batch of the inbox.
async fn store_all(client: &Client, lane: Lane, commands: impl Iterator<Item = Command>) {
    let stored = commands.map(|command| store(client, lane, command));
    futures::stream::iter(stored).buffered(400).collect::<Vec<_>>().await;
}

/// Waits until the other end is dropped; from then on it does not wait.
fn wait_until_dropped(gate: &Mutex<Receiver<()>>) {
    let gate = gate.lock().expect("nobody panics with it");
    tokio::task::block_in_place(|| gate.recv().ok());
}

async fn await_events(rig: &Rig, count: usize) {
    eventually("all are in the log", async || rig.log().await.len() >= count).await;
}

async fn commands_of_one_shop_that_wait_to_be_stored_do_not_hold_up_another(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let flood = (0..BACKLOG).map(|number| of("flood", deposit("A", number as i64)));
    let late = [of("late", deposit("A", 1)), of("late", deposit("A", 2))];
    // All are sent at once, those of the other shop last.
    join_all(flood.chain(late).map(|command| store(&client, Lane::Live, command))).await;
    let mut shops = Vec::new();
    let read = engine.read_inbox(0, |_, command: Command| shops.push(command.shop));
    read.await.expect("it can be read");
    let last = shops.iter().rposition(|shop| shop == "late").expect("it is stored");
    // How many of the others are stored by then depends on the disk. Those that wait are overtaken: first
    // come, first served, it would be the very last.
    assert!(last < BACKLOG, "it was stored as number {last} of {}", shops.len());
}

async fn check_backlog(db: Db, lane: Lane) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let flood = (0..BACKLOG).map(|number| of("flood", deposit("A", number as i64)));
    store_all(&client, lane, flood).await;
    let small = format!("small-{}", CHECKS.fetch_add(1, Ordering::Relaxed));
    for number in 0..3 {
        store(&client, lane, of("small", deposit(&small, number))).await;
    }
    // The first batch may be taken before all is read; the next ones wait until it is.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let waiting = Faults::when(move |_, step| {
        if step == Step::BeforePublish {
            wait_until_dropped(&wait);
        }
        false
    });
    let running = Running::start(&rig.engine_with(waiting).await, &Ledger::default());
    eventually("all is read", async || was_read_of(&small)).await;
    drop(go_on);
    await_events(&rig, BACKLOG + 3).await;
    let log = rig.check(&engine).await;
    let first = first_of(&log, "small");
    assert!(first < BACKLOG / 2, "it came as number {first} of {}", log.len());
    assert!(is_named(&log, "flood"), "it was behind and no position says so");
    let sent = sent(&engine).await;
    for (shop, account) in [("flood", "A"), ("small", &*small)] {
        assert!(deposits_of(&log, shop, account) == sent[shop], "{shop} is not in order");
    }
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
}

async fn a_backlog_of_one_shop_does_not_hold_up_another(db: Db) {
    check_backlog(db, Lane::Live).await;
}

async fn an_import_of_one_shop_does_not_hold_up_that_of_another(db: Db) {
    check_backlog(db, Lane::Bulk).await;
}

async fn every_crash_in_a_window_of_several_shops_loses_and_doubles_nothing(db: Db) {
    let rig = Rig::start(db).await;
    rig.engine().await;
    let mut expected = BTreeMap::new();
    for step in [Step::BeforeReply, Step::BeforePublish, Step::BeforeProject, Step::AfterProject] {
        crash_again_and_again(&rig, step, &mut expected).await;
    }
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("B", 1)).await;
    let log = rig.check(&engine).await;
    assert!(is_named(&log, "flood"), "no shop was behind: the test tests nothing");
    for (shop, amounts) in expected {
        assert!(deposits_of(&log, shop, "A") == amounts, "{shop}");
    }
    running.stop().await;
}

/// Events of another service, which no id protects from being handled twice: the positions alone do.
/// One shop has more than a window holds, and the worker dies at the step again and again. What is
/// deposited by then is added to `expected`.
async fn crash_again_and_again(
    rig: &Rig,
    step: Step,
    expected: &mut BTreeMap<&'static str, Vec<i64>>,
) {
    let is_first = expected.is_empty();
    // So many are handled between two crashes: the first batch of a worker may be small, and three
    // batches may be taken before all is read.
    let (events, handled) = if is_first { (BACKLOG as i64, 1_600) } else { (1_500, 150) };
    let shop_of = |number: i64| match number % 110 {
        0..107 => "flood",
        rest => ["a", "b", "c"][(rest - 107) as usize],
    };
    let mut write = async || {
        let written = (0..events).map(|number| (shop_of(number), "A", counted(number, 1)));
        rig.write_events(written).await;
        for number in 0..events {
            expected.entry(shop_of(number)).or_default().push(number);
        }
        expected.values().map(Vec::len).sum::<usize>()
    };
    let mut all = write().await;
    let (gate, opened) = std::sync::mpsc::channel::<()>();
    let ledger = Ledger::default();
    let (decided, crashes) = (ledger.decided.clone(), Arc::new(AtomicU64::new(0)));
    let (count, opened) = (crashes.clone(), Mutex::new(opened));
    // How many inputs were decided on at the last publish, the one before, and the last crash.
    let published = Mutex::new((0, 0, 0));
    let crashing = Faults::when(move |_, at| {
        if at == Step::BeforePublish {
            wait_until_dropped(&opened);
        }
        let mut published = published.lock().expect("nobody panics with it");
        let (last, before, at_crash) = &mut *published;
        if at == Step::BeforePublish {
            (*last, *before) = (decided.load(Ordering::SeqCst), *last);
        }
        let strikes = at == step && *before >= *at_crash + handled;
        if strikes {
            *at_crash = *last;
            count.fetch_add(1, Ordering::SeqCst);
        }
        strikes
    });
    let engine = rig.engine_with(crashing).await;
    let restarting = tokio::spawn(async move {
        loop {
            let error = Running::start(&engine, &ledger).fails().await;
            assert!(matches!(error, engine::Error::Stopped(_)), "{error}");
        }
    });
    if is_first {
        // Then a shop is behind already when the second batch is taken.
        rig.await_read("INTAKE-0").await;
    }
    drop(gate);
    await_events(rig, all).await;
    // A worker that is done before it reaches the step gets more.
    for _ in 0..MAX_ROUNDS {
        if crashes.load(Ordering::SeqCst) > 0 {
            break;
        }
        all = write().await;
        await_events(rig, all).await;
    }
    restarting.abort();
    restarting.await.expect_err("it was aborted");
    assert!(crashes.load(Ordering::SeqCst) > 0, "it never crashed at {step:?}");
}

/// The command of somebody who has seen the tariff up to there.
fn after(tariff: u64, command: Command) -> Command {
    Command { after: [(TARIFF.to_owned(), tariff)].into(), ..command }
}

/// What tea costs from now on.
fn tea(price: i64) -> Body {
    Body::Priced(Price { item: "tea".to_owned(), price })
}

async fn a_command_that_waits_for_a_replica_holds_up_its_shop_alone(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    // It never gets that far.
    store(&client, Lane::Live, of("waits", after(1_000, deposit("A", 1)))).await;
    store(&client, Lane::Live, of("waits", deposit("A", 2))).await;
    send(&client, of("other", deposit("A", 3))).await;
    let log = rig.log().await;
    assert_eq!(deposits_of(&log, "waits", "A"), [0; 0], "it waited for nothing");

    await_events(&rig, 4).await;
    let log = rig.check(&engine).await;
    assert!(is_named(&log, "waits"), "it was behind and no position says so");
    assert_eq!(deposits_of(&log, "waits", "A"), [1, 2]);
    running.stop().await;
}

async fn a_replica_with_a_backlog_of_one_shop_holds_up_no_other(db: Db) {
    const IMPORTED: i64 = 1_500;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    running.stop().await;
    // What a worker finds when it recovers is folded at once; this is read live.
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("it", 2)).await;
    let prices = (1..=IMPORTED).map(|price| ("import", "tea", tea(price)));
    let last = rig.write_events(prices).await;
    let mine = rig.write_events([("small", "tea", tea(7))]).await;
    send(&client, of("small", after(mine, deposit("A", 1)))).await;
    send(&client, of("import", after(last, deposit("A", 1)))).await;
    rig.check(&engine).await;
    running.stop().await;
}

async fn a_deadline_does_not_wait_for_the_backlog_of_another_shop(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    for shop in ["waits", "other"] {
        store(&client, Lane::Live, of(shop, deposit_then(shop, 1, "promise"))).await;
    }
    // One of them has an input that waits for seconds: its deadline is later than that, as what
    // came before a deadline counts; the other's is not.
    store(&client, Lane::Live, of("waits", after(1_000, deposit("waits", 2)))).await;
    let lapsed = async |account| kinds(&rig.log().await, account).contains(&"lapsed");
    eventually("the promise of the one that waits lapses", async || lapsed("waits").await).await;
    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "waits"), ["deposited", "promised", "deposited", "lapsed"]);
    assert_eq!(kinds(&log, "other"), ["deposited", "promised", "lapsed"]);
    let other = log.iter().position(|entry| {
        entry.event.aggregate_id == "other" && entry.subject.ends_with(".lapsed")
    });
    let second = log.iter().rposition(|entry| {
        entry.event.aggregate_id == "waits" && entry.subject.ends_with(".deposited")
    });
    assert!(other < second, "a deadline waited for another shop");
    running.stop().await;
}
