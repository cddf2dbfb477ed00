//! The kit itself, against what it starts.

use engine::Location;
use sqlx::{Executor, Row};
use testkit::{Db, TestServer, eventually};

#[tokio::test]
async fn a_postgres_database_is_private_and_gone_afterwards() {
    let Some(db) = Db::postgres().await else { return };
    let Location::Postgres(url) = db.location() else { panic!("it is on Postgres") };
    let other = Db::postgres().await.expect("it was there a moment ago");
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.expect("it can be used");
    let own = async || {
        let process = format!("t_{}_", std::process::id());
        let select = "select cast(datname as text) from pg_database";
        let rows = pool.fetch_all(select).await.expect("it answers");
        let names = rows.iter().map(|row| row.get::<String, _>(0));
        names.filter(|name| name.starts_with(&process)).count()
    };
    assert_eq!(own().await, 2);
    drop(other);
    assert_eq!(own().await, 1);
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
