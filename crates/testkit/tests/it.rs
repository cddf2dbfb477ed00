//! The kit itself, against what it starts.

use engine::Location;
use sqlx::{Executor, Row};
use testkit::{Db, TestServer, eventually};

testkit::on_both_databases!(a_database_is_private_and_gone_afterwards);

async fn a_database_is_private_and_gone_afterwards(db: Db) {
    let Location::Postgres(url) = db.location() else { return };
    let other = Db::postgres().await.expect("it was there a moment ago");
    assert_ne!(other.location(), db.location());
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.expect("it can be used");
    drop(other);
    let rows = pool.fetch_all("select datname from pg_database").await.expect("it answers");
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let process = format!("t_{}_", std::process::id());
    let own: Vec<_> = names.iter().filter(|name| name.starts_with(&process)).collect();
    assert_eq!(own.len(), 1, "{names:?}");
}

#[tokio::test]
async fn a_server_starts_again_with_its_data_on_the_same_port() {
    let mut server = TestServer::start().await;
    let url = server.url();
    let context = server.jetstream().await;
    context.create_stream("KEPT").await.expect("a stream can be made");
    server.kill().await;
    server.start_again().await;
    assert_eq!(server.url(), url);
    eventually("the stream is there again", async || {
        server.jetstream().await.get_stream("KEPT").await.is_ok()
    })
    .await;
}
