//! The files in nats/: one server, and three of which one may fail.

use std::time::Duration;

use engine::{Answered, Client, Config, Engine, Faults, Outcome, plain_http};
use protocol::subject::Lane;
use testkit::{ConfiguredServer, Db, eventually};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use crate::{
    contract::{AccountAnswer, Command, PROGRAM, SERVICES},
    ledger::Ledger,
    rig::{ANSWER_TIMEOUT, Running, answer, connect, deposit, send},
};

fn config(servers: &[ConfiguredServer], db: &Db) -> Config {
    let urls: Vec<_> = servers.iter().map(ConfiguredServer::url).collect();
    Config {
        program: &PROGRAM,
        nats_url: urls.join(","),
        nats_security: engine::NatsSecurity::default(),
        nats_monitor_url: Some(servers[0].monitor_url()),
        database: db.location(),
        partitions: 1,
        replicas: servers.len(),
        integrator_streams: false,
        instance: "test".to_owned(),
        identity_file: None,
        start_timeout: Duration::from_secs(30),
        services: SERVICES,
        clock: testkit::system_clock(),
        faults: Faults::default(),
    }
}

/// Whether the server fsyncs before it acknowledges, as its monitor says.
async fn syncs_always(server: &ConfiguredServer) -> bool {
    let url = format!("{}/jsz?config=1", server.monitor_url());
    let http = plain_http().build().expect("a client");
    let answer = http.get(url).send().await.expect("the monitor answers");
    let jsz: serde_json::Value = answer.json().await.expect("it is JSON");
    jsz["config"]["sync_always"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_runs_with_single_conf() {
    let db = Db::sqlite();
    let servers = [ConfiguredServer::single().await];
    assert!(syncs_always(&servers[0]).await);
    let engine = connect(config(&servers, &db)).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    assert_eq!(
        answer(&send(&engine.client(), deposit("A", 1)).await),
        AccountAnswer::of_deposit(1)
    );
    running.stop().await;
    assert_eq!(engine.diff_streams().await.expect("they can be compared"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_run_with_cluster_conf_and_one_of_them_may_fail() {
    let db = Db::sqlite();
    let mut servers = ConfiguredServer::cluster().await;
    for server in &servers {
        assert!(syncs_always(server).await, "{}", server.name);
    }
    let config = config(&servers, &db);
    eventually("the servers have a leader", async || Engine::connect(config.clone()).await.is_ok())
        .await;
    let engine = connect(config).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    let client = engine.client();
    for balance in 1..=3 {
        let expected = AccountAnswer::of_deposit(balance);
        assert_eq!(answer(&send(&client, deposit("A", 1)).await), expected);
    }

    let leader = leader(&servers[0], "ACCOUNT-0").await;
    let leader = servers.iter_mut().find(|server| server.name == leader);
    leader.expect("it is one of them").kill().await;
    for balance in 4..=6 {
        let expected = AccountAnswer::of_deposit(balance);
        assert_eq!(answer(&send_again_and_again(&client, deposit("A", 1)).await), expected);
    }
    running.stop().await;
    // Consumers are made by another leader, that of all streams, which may have failed with it.
    let mut verified = None;
    eventually("it can be verified", async || {
        verified = engine.verify::<Ledger>().await.ok();
        verified.is_some()
    })
    .await;
    let found = verified.map(|verified| (verified.events, verified.mismatches));
    assert_eq!(found, Some((6, vec![])));
}

/// Sends a command under its one id until it is answered, as a caller does who is asked to try again.
async fn send_again_and_again(client: &Client, command: Command) -> Answered {
    for _ in 0..4 {
        match client.send(Lane::Live, command.clone().into(), ANSWER_TIMEOUT).await {
            Ok(Outcome::Answered(answered)) => return answered,
            Ok(Outcome::Pending) => tracing::warn!("no answer within {ANSWER_TIMEOUT:?}"),
            Err(error) => tracing::warn!(%error, "not sent"),
        }
    }
    panic!("no worker goes on");
}

/// The server that leads a stream.
async fn leader(server: &ConfiguredServer, stream: &str) -> String {
    let client = async_nats::connect(server.url()).await.expect("it takes connections");
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(stream).await.expect("it is there");
    let cluster = stream.cached_info().cluster.as_ref().expect("it is of a cluster");
    assert_eq!(cluster.replicas.len(), 2);
    cluster.leader.clone().expect("it has a leader")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_password_does_not_join_the_cluster() {
    let servers = ConfiguredServer::cluster().await;
    for user in ["", r#""user":"routes","pass":"guessed","#] {
        let route = TcpStream::connect(servers[0].route_address()).await.expect("it listens");
        let mut route = BufStream::new(route);
        let mut info = String::new();
        route.read_line(&mut info).await.expect("it introduces itself");
        assert!(info.contains(r#""auth_required":true"#), "{info}");
        let (_, cluster) = info.split_once(r#""cluster":""#).expect("it names its cluster");
        let (cluster, _) = cluster.split_once('"').expect("it names its cluster");
        let connect =
            format!("CONNECT {{{user}\"name\":\"S\",\"cluster\":\"{cluster}\"}}\r\nPING\r\n");
        route.write_all(connect.as_bytes()).await.expect("it reads");
        route.flush().await.expect("it reads");
        let mut answer = String::new();
        route.read_to_string(&mut answer).await.expect("it closes the connection");
        assert!(answer.contains("-ERR 'Authorization Violation'"), "{answer}");
    }
}
