//! The projection is what the log says, and one that is not is found.

use engine::{Engine, Error, PartitionState, Remedy, Verified};
use sqlx::{AnyConnection, Executor, Row};
use testkit::{Db, eventually};

use crate::{
    contract::ACCOUNT,
    ledger::Ledger,
    rig::{LOG, Rig, Running, deposit, deposit_then, send},
};

testkit::on_both_databases!(
    a_log_that_has_lost_its_end_stops_the_worker,
    a_partition_that_fails_is_rebuilt_when_an_operator_asks,
    a_rebuild_that_fails_says_why,
    a_rebuilt_projection_is_the_live_one,
    a_rebuild_replaces_the_rows_that_differ,
    a_projection_that_is_lost_is_folded_at_the_next_start,
    a_row_that_was_changed_by_hand_is_named,
    every_row_that_differs_is_counted_and_null_is_told_from_a_text,
    verify_leaves_rows_of_another_format_as_they_are,
    verify_makes_no_database_that_is_missing,
);

/// Every row of the tables that a rebuild writes, as text.
async fn rows(db: &mut AnyConnection) -> Vec<String> {
    let mut rows = Vec::new();
    for select in [
        "select shop || key || document from account order by shop, key",
        "select shop || key || document || sequence from engine_answer order by shop, key",
        "select source || ' ' || sequence from engine_position \
         where source in ('log', 'inbox.live') order by source",
    ] {
        let found = db.fetch_all(select).await.expect("the table is there");
        rows.extend(found.iter().map(|row| row.get::<String, _>(0)));
    }
    rows
}

async fn fill(rig: &Rig) {
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::with_silent_provider());
    for number in 1..=20 {
        send(&engine.client(), deposit(&format!("account-{}", number % 7), number)).await;
    }
    send(&engine.client(), deposit_then("charged", 5, "charge")).await;
    running.stop().await;
}

async fn a_rebuilt_projection_is_the_live_one(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let engine = rig.engine().await;
    let live = rows(&mut rig.db.connect(ACCOUNT).await).await;

    let rebuilt = engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    assert_eq!(rebuilt.events, 23);
    assert_eq!(rows(&mut rig.db.connect(ACCOUNT).await).await, live);
    assert_eq!(live.len(), 8 + 21 + 2);
    rig.check(&engine).await;
}

async fn a_rebuild_replaces_the_rows_that_differ(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let engine = rig.engine().await;
    let mut connection = rig.db.connect(ACCOUNT).await;
    let live = rows(&mut connection).await;
    for tamper in [
        "update account set document = replace(document, 'balance', 'balanced') where key = 'account-1'",
        "update account set note = 'a column that the document does not say' where key = 'account-2'",
        "delete from account where key = 'account-3'",
        "insert into account (partition, shop, key, document) \
         select partition, shop, 'nobody', document from account where key = 'account-4'",
        "delete from engine_answer",
    ] {
        connection.execute(tamper).await.expect("it can be tampered with");
    }
    assert_ne!(rows(&mut connection).await, live);
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    assert_eq!(rows(&mut connection).await, live);
    rig.check(&engine).await;
}

async fn a_projection_that_is_lost_is_folded_at_the_next_start(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let live = rows(&mut rig.db.connect(ACCOUNT).await).await;
    let Some(other) = empty_database(&rig.db).await else { return };
    let rig = Rig { db: other, ..rig };
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::with_silent_provider());
    send(&engine.client(), deposit("account-1", 1)).await;
    running.stop().await;

    let now = rows(&mut rig.db.connect(ACCOUNT).await).await;
    let lost: Vec<_> = live.iter().filter(|row| !now.contains(row)).collect();
    // The account, and the positions in the log and the inbox.
    assert_eq!(lost.len(), 3, "{lost:?}");
    rig.check(&engine).await;
}

async fn a_log_that_has_lost_its_end_stops_the_worker(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let rig = Rig::start(rig.db).await;
    let engine = rig.engine().await;
    let error = Running::start(&engine, &Ledger::default()).fails().await;
    assert_eq!(
        error.to_string(),
        "ACCOUNT-0 ends at 0, but the projection of account holds it up to 23: the log was replaced, \
         or has lost its end"
    );
    assert_eq!(error.remedy(), Some(Remedy::Rebuild { service: "account" }));
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    let running = Running::start(&engine, &Ledger::default());
    send(&engine.client(), deposit("account-1", 1)).await;
    assert_eq!(rig.check(&engine).await.len(), 1);
    running.stop().await;
}

/// A database of the same kind with nothing in it.
async fn empty_database(db: &Db) -> Option<Db> {
    match db.location() {
        engine::Location::Folder(_) => Some(Db::sqlite()),
        engine::Location::Postgres(_) => Db::postgres().await,
    }
}

async fn a_row_that_was_changed_by_hand_is_named(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let engine = rig.engine().await;
    rig.check(&engine).await;
    let mut connection = rig.db.connect(ACCOUNT).await;
    for tamper in [
        "update account set document = replace(document, '\"balance\":30', '\"balance\":31') \
         where key = 'account-3'",
        "delete from account where key = 'charged'",
        "insert into account select partition, shop, 'invented', deadline, charge, note, document \
         from account where key = 'account-4'",
        "insert into price values (0, 'acme', 'tea', '5')",
    ] {
        connection.execute(tamper).await.expect("it can be tampered with");
    }

    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    let found: Vec<_> = verified
        .mismatches
        .iter()
        .map(|mismatch| {
            let shown = |row: &Option<String>| {
                row.as_ref().map(|row| {
                    let key = row.split(' ').find(|column| column.starts_with("key="));
                    let balance =
                        row.split("balance\\\":").nth(1).and_then(|at| at.split(',').next());
                    format!("{} {}", key.unwrap_or_default(), balance.unwrap_or_default())
                })
            };
            (mismatch.table.as_str(), shown(&mismatch.live), shown(&mismatch.folded))
        })
        .collect();
    let row = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            // 3 + 10 + 17, and one by hand.
            ("account", row("key=\"account-3\" 31"), row("key=\"account-3\" 30")),
            ("account", None, row("key=\"charged\" 5")),
            ("account", row("key=\"invented\" 33"), None),
            ("price", row("key=\"tea\" "), None),
        ]
    );
}

/// The error of a verification that is refused.
async fn refusal(engine: &Engine) -> String {
    let error = engine.verify::<Ledger>().await.expect_err("there is nothing to compare");
    let Error::Open { source, .. } = error else { panic!("{error:?}") };
    source.to_string()
}

async fn verify_leaves_rows_of_another_format_as_they_are(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let engine = rig.engine().await;
    // As the process of another version would have made them.
    rig.db.tamper(ACCOUNT, "update engine_format set format = 'that of another version'").await;
    let live = rows(&mut rig.db.connect(ACCOUNT).await).await;
    let refused = refusal(&engine).await;
    assert!(refused.starts_with("its rows are of another format"), "{refused}");
    let mut connection = rig.db.connect(ACCOUNT).await;
    assert_eq!(rows(&mut connection).await, live);
    let format = connection.fetch_one("select format from engine_format").await;
    assert_eq!(format.expect("it is there").get::<String, _>(0), "that of another version");
}

async fn verify_makes_no_database_that_is_missing(db: Db) {
    let rig = Rig::start(db).await;
    let verified = rig.engine().await.verify::<Ledger>().await;
    assert_eq!(verified.expect("it has never run"), Verified::default());
    fill(&rig).await;
    let Some(other) = empty_database(&rig.db).await else { return };
    let missing = match other.location() {
        engine::Location::Folder(folder) => engine::Location::Folder(folder.join("missing")),
        postgres @ engine::Location::Postgres(_) => postgres,
    };
    let before = other.dump().await;
    let config = engine::Config { database: missing.clone(), ..rig.config() };
    let engine = crate::rig::connect(config).await;
    let refused = refusal(&engine).await;
    assert!(refused.starts_with("there is none"), "{refused}");
    assert_eq!(other.dump().await, before);
    if let engine::Location::Folder(folder) = missing {
        assert!(!folder.exists());
    }
}

async fn every_row_that_differs_is_counted_and_null_is_told_from_a_text(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let many: Vec<_> = (0..30).map(|number| format!("account-{number:02}")).collect();
    for account in &many {
        send(&engine.client(), deposit(account, 1)).await;
    }
    running.stop().await;
    rig.check(&engine).await;

    let mut connection = rig.db.connect(ACCOUNT).await;
    // SQLite keeps a text in a column of numbers; Postgres has no such row.
    let (tamper, shown) = match rig.db.location() {
        engine::Location::Folder(_) => {
            ("update account set deadline = 'null' where key = 'account-00'", "deadline=\"null\"")
        }
        engine::Location::Postgres(_) => {
            ("update account set charge = 'null' where key = 'account-00'", "charge=\"null\"")
        }
    };
    connection.execute(tamper).await.expect("it can be tampered with");
    let tamper = "update account set document = replace(document, '\"balance\":1', '\"balance\":2') \
                  where key <> 'account-00'";
    connection.execute(tamper).await.expect("it can be tampered with");
    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!(verified.mismatches.len(), many.len());
    let first = &verified.mismatches[0];
    assert!(first.live.as_ref().is_some_and(|row| row.contains(shown)), "{first:?}");
    assert!(first.folded.as_ref().is_some_and(|row| row.contains("=null")), "{first:?}");
}

async fn await_failing(engine: &Engine, reason: &str) {
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason: why, .. }
                if why.starts_with(reason))
        })
    })
    .await;
}

async fn a_partition_that_fails_is_rebuilt_when_an_operator_asks(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    rig.create_anew(LOG).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    await_failing(&engine, "ACCOUNT-0 ends at 0, but the projection of account holds it").await;

    let operators = rig.engine().await;
    // A busy machine may answer later than an operator waits.
    let rebuilt = async || operators.rebuild::<Ledger>().await.is_ok();
    eventually("it is rebuilt", rebuilt).await;
    // The positions in the inbox went with the log, so the commands in it are handled again.
    send(&engine.client(), deposit("A", 1)).await;
    rig.check(&engine).await;
    running.stop().await;
}

async fn a_rebuild_that_fails_says_why(db: Db) {
    let rig = Rig::start(db).await;
    fill(&rig).await;
    let sequence = rig.write("account.0.acme.charged", "A", b"no event".to_vec()).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    await_failing(&engine, "ACCOUNT-0 holds a message").await;
    let operators = rig.engine().await;
    let way_out =
        format!("{:?}", Remedy::VoidMessage { service: "account", partition: 0, sequence });
    // Between two attempts at its partition, a process answers no operator.
    eventually("it is refused, with the way out", async || {
        let refused = operators.rebuild::<Ledger>().await;
        let Err(Error::Refused(reason)) = refused else { panic!("{refused:?}") };
        reason.starts_with("account-0: ") && reason.contains(&way_out)
    })
    .await;
    running.stop().await;
}
