//! What tests need: a real nats-server, real databases, and a look into a log.
//!
//! | module | what it gives |
//! |---|---|
//! | `nats` | [`TestServer`]: a private nats-server for each test, gone with it |
//! | `configured` | [`ConfiguredServer`]: servers as the files in nats/ configure them |
//! | `db` | [`Db`]: private databases for each test, on `SQLite` or on Postgres |
//! | `postgres` | the Postgres cluster behind it, one for all test processes |
//! | `intruder` | [`Intruder`]: a user of nats-server, who tries what it may not do |
//! | `collector` | [`Collector`]: takes the spans that a process exports |
//! | `log` | [`Entry`]: what is in a stream |
//! | `mail_server` | [`MailServer`]: takes mails, and misbehaves as a test wants it |
//! | `receiver` | [`Receiver`]: takes webhooks, and misbehaves as a test wants it; [`RawReceiver`]: worse |
//! | `tls` | [`Authority`]: certificates for it, good and bad ones |
//! | `dns` | [`DnsServer`]: a name server whose answers a test changes |
//! | `small_disk` | [`SmallDisk`]: a disk that a test can fill |
//! | `tools` | [`install_tools`]: what a test runs that is written in another language |
//!
//! A test is one function from a [`Db`], which [`on_both_databases!`] makes two tests of. Nothing
//! here sleeps for a fixed time until something is probably so: [`eventually`] looks until it is.

mod collector;
mod configured;
mod db;
mod dns;
mod intruder;
mod log;
mod mail_server;
mod nats;
mod postgres;
mod receiver;
mod small_disk;
mod tls;
mod tools;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use collector::Collector;
pub use configured::{ConfiguredServer, publish_much};
pub use db::{Db, files, plan};
pub use dns::DnsServer;
pub use intruder::{Answer, Answers, Intruder};
pub use log::Entry;
pub use mail_server::{MailServer, MailTls, ReceivedMail};
pub use nats::{TestServer, nats_server};
pub use receiver::{Behaviour, RawBehaviour, RawReceiver, Received, Receiver};
pub use small_disk::SmallDisk;
pub use tls::Authority;
pub use tools::install_tools;

/// How long [`eventually`] looks: far longer than anything takes that works, on a busy machine.
const EVENTUALLY_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Makes two tests of each `async fn(testkit::Db)` that is named: in the module `sqlite`, and in
/// the module `postgres`, which is skipped where there is no Postgres.
///
/// A macro, because a function can be run twice by a loop, but not be listed, chosen and reported
/// as two tests.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::Db::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    if let Some(db) = $crate::Db::postgres().await {
                        super::$name(db).await;
                    }
                }
            )+
        }
    };
}

/// The clock of this machine, for a test that does not turn one.
#[expect(clippy::disallowed_methods, reason = "the edge, where a test gets its clock")]
pub fn system_clock() -> engine::Clock {
    engine::Clock::system()
}

/// The program of a test: the streams of the installation in `nats/`, and remedies as they are.
pub static PROGRAM: engine::Program = engine::Program {
    name: "test",
    streams: include_str!("../../../nats/streams.toml"),
    remedy: |remedy| format!("{remedy:?}"),
};

/// How a process takes part in the installation of a test, whose streams are those of `services`.
pub fn engine_config(
    server: &TestServer,
    db: &Db,
    partitions: u32,
    services: &'static [&'static str],
) -> engine::Config {
    engine::Config {
        program: &PROGRAM,
        nats_url: server.url(),
        nats_security: engine::NatsSecurity::default(),
        nats_monitor_url: Some(server.monitor_url()),
        database: db.location(),
        partitions,
        replicas: 1,
        integrator_streams: false,
        services,
        instance: "test".to_owned(),
        identity_file: None,
        start_timeout: Duration::from_secs(10),
        clock: system_clock(),
        faults: engine::Faults::default(),
    }
}

/// Looks again and again until `holds`; panics with `what` when it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + EVENTUALLY_TIMEOUT;
    while !holds().await {
        assert!(
            Instant::now() < deadline,
            "within {EVENTUALLY_TIMEOUT:?} it was not so that {what}"
        );
        sleep(POLL_INTERVAL).await;
    }
}
