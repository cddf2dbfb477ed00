//! The rules given, when, then; the wire; the rows; the questions.

mod keys;
mod shops;

use events::questions::Question;
use prost::Message;
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, any::AnyPoolOptions};
use tempfile::TempDir;

use crate::{Shops, store::TABLES};

const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);

/// An empty database, gone when the folder is dropped.
async fn empty_database() -> (AnyPool, TempDir) {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().expect("a private folder");
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("shop.db").display());
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.expect("opens");
    let mut db = pool.acquire().await.expect("connects");
    engine::documents::create_tables(&mut db, TABLES).await.expect("creates the tables");
    drop(db);
    (pool, folder)
}

/// Asks by way of the wire, as the gateway does.
async fn ask<Q: Question>(db: &AnyPool, shop: &Shop, question: Q) -> Option<Q::Answer> {
    use engine::{Queries, Wire};
    let question = Shops::question(&question.encode()).expect("is a question");
    let found = Shops.query(db, shop, question).await.expect("answers");
    found.map(|found| Q::Answer::decode(&*Shops::encode_found(found)).expect("reads"))
}
