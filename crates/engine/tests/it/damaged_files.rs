//! The file of a database that is damaged, or none, stops its service alone.

use std::{fs, path::PathBuf};

use engine::{AskError, Location, PartitionState, Remedy};
use prost::Message;
use protocol::proto::QueryFailureKind;
use testkit::{Db, eventually};
use tokio_util::sync::CancellationToken;

use crate::{
    contract::{ACCOUNT, GetAccount, INTAKE},
    ledger::Ledger,
    other::Other,
    rig::{Rig, Running, account, deposit, send, shop},
};

/// The files of a service's database.
fn files(db: &Db) -> [PathBuf; 3] {
    let Location::Folder(folder) = db.location() else { panic!("the database is no file") };
    ["", "-wal", "-shm"].map(|suffix| folder.join(format!("{ACCOUNT}.db{suffix}")))
}

/// Moves the files away, as an operator does.
fn move_away(db: &Db) {
    for file in files(db).iter().filter(|file| file.exists()) {
        fs::rename(file, file.with_extension("damaged")).expect("it can be moved");
    }
}

/// A service whose file holds these bytes fails with `reason` until they are moved away, and another one
/// of the process goes on.
async fn check(bytes: &[u8], reason: &str) {
    let rig = Rig::start(Db::sqlite()).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    running.stop().await;
    move_away(&rig.db);
    fs::write(&files(&rig.db)[0], bytes).expect("it can be written");

    let engine = rig.engine().await;
    let client = engine.client();
    let running = Running::start_claimed(&engine, &Ledger::default());
    let shutdown = CancellationToken::new();
    let other = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run(Other::<1>::definition(), shutdown).await }
    });
    let remedy = format!("; {:?}", Remedy::ReplaceDatabase);
    let is_named = |why: &str| why.contains(reason) && why.ends_with(&remedy);
    eventually("its partition is named, as often as it fails", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason: why, failures }
                if status.service == ACCOUNT && *failures > 2 && is_named(why))
        })
    })
    .await;
    assert_eq!(client.positions(INTAKE).await.expect("the other one answers").len(), 1);
    // Between two tries nobody answers.
    eventually("a question is answered with the reason", async || {
        let question = GetAccount { account: "A".to_owned(), padding: 0 }.encode_to_vec();
        let asked = client.query(ACCOUNT, &shop(), question, 0).await;
        let Err(AskError::Failed { kind, detail, .. }) = asked else { return false };
        kind == QueryFailureKind::NotReady && is_named(&detail)
    })
    .await;
    assert_eq!(fs::read(&files(&rig.db)[0]).expect("it is there"), bytes, "it is left as it is");

    move_away(&rig.db);
    let answered = send(&client, deposit("A", 2)).await;
    let found = account(&client, "A", answered.sequence).await.expect("it is there");
    assert_eq!(found.balance, 3, "the log was folded anew");
    rig.check(&engine).await;
    running.stop().await;
    shutdown.cancel();
    other.await.expect("it does not panic").expect("it stops without an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_stops_its_service_alone_until_it_is_moved_away() {
    check(&b"no database ".repeat(1_000), "file is not a database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_stops_its_service_alone_until_it_is_moved_away() {
    /// The length of a page, where the header says it, and the other numbers that it must have.
    const NUMBERS: [(usize, u8); 7] =
        [(16, 0x10), (18, 1), (19, 1), (21, 64), (22, 32), (23, 32), (47, 4)];
    let mut page = [0xff; 4_096];
    page[..100].fill(0);
    page[..15].copy_from_slice(b"SQLite format 3");
    for (at, number) in NUMBERS {
        page[at] = number;
    }
    check(&page, "database disk image is malformed").await;
}
