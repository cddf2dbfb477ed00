//! The connections to a projection's database: how many, how each is prepared, and when it is given up.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, any::AnyPoolOptions};
use tokio::time::timeout;

/// Connections of the workers of a service beside one for each partition: rows are fetched and counted
/// while others are written.
pub(super) const FOR_WORKERS: u32 = 2;
/// Connections for questions, of all partitions of a service together.
pub(super) const FOR_QUESTIONS: u32 = 6;
/// How long Postgres lets a transaction wait for its process. One never waits for anything but the
/// database, so a process that hangs in one must not hold up the one that takes its place.
const TRANSACTION_IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Pages of a `SQLite` file that a connection keeps, in KiB: what a worker's batches touch.
const SQLITE_CACHE_KIB: u32 = 8 * 1024;
/// The same for a scratch database: a rebuild touches all of it.
const SCRATCH_CACHE_KIB: u32 = 32 * 1024;
/// The pages (of 4 KiB) of `SQLite`'s write-ahead log after which a commit empties it, if nobody else has.
const CHECKPOINT_AT_PAGES: u32 = 16_000;
/// How long Postgres may take to answer that a connection is alive. A host that is gone without a word
/// is noticed by TCP only after a quarter of an hour.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a writer waits for another one, in `SQLite`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// To be read and written.
    Write,
    /// To be read: nothing in it changes.
    Read,
    /// To be thrown away after use: it is written without regard to a crash.
    Scratch,
}

/// The settings of connections to a schema of Postgres; without one, to a file of `SQLite`.
pub(super) fn options(schema: Option<&str>, access: Access) -> AnyPoolOptions {
    let prepare = match schema {
        Some(schema) => postgres_settings(schema, access),
        None => sqlite_settings(access),
    };
    let mut options = AnyPoolOptions::new();
    if access == Access::Scratch {
        // A moment without a connection, and another process takes the schema for abandoned.
        options = options.idle_timeout(None).max_lifetime(None);
    }
    let options = options.test_before_acquire(false).after_connect(move |connection, _| {
        let prepare = prepare.clone();
        Box::pin(async move { connection.execute(AssertSqlSafe(prepare)).await.map(|_| ()) })
    });
    if schema.is_none() {
        // A file does not go away between two statements, and asking whether it did takes as long as a small read.
        return options;
    }
    // A pool asks as well, and waits for the answer as long as it takes: a connection that is given back
    // because nobody waits for it any longer would count as one in use until then.
    options
        .before_acquire(|connection, _| Box::pin(is_alive(connection)))
        .after_release(|connection, _| Box::pin(is_alive(connection)))
}

/// Whether a connection answers; one that does not is closed, and another takes its place.
async fn is_alive(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let answered = timeout(PING_TIMEOUT, connection.ping()).await;
    Ok(matches!(answered, Ok(Ok(()))))
}

/// The log is the truth, so the projection needs no fsync of its own, and a scratch database no
/// journal.
fn sqlite_settings(access: Access) -> String {
    let (writing, cache_kib) = match access {
        Access::Write => {
            ("pragma journal_mode = wal; pragma synchronous = normal", SQLITE_CACHE_KIB)
        }
        Access::Read => ("pragma query_only = on", SQLITE_CACHE_KIB),
        Access::Scratch => {
            ("pragma journal_mode = off; pragma synchronous = off", SCRATCH_CACHE_KIB)
        }
    };
    format!(
        "{writing}; pragma busy_timeout = {}; pragma wal_autocheckpoint = {CHECKPOINT_AT_PAGES}; \
         pragma cache_size = -{cache_kib}; pragma temp_store = memory",
        BUSY_TIMEOUT.as_millis()
    )
}

/// Plans are made anew for each statement: one made while the tables were empty would stay. A
/// process that hangs in a transaction does not hold up the one that takes its place. Connections to a
/// scratch schema hold a lock by which others see that it is in use.
fn postgres_settings(schema: &str, access: Access) -> String {
    let settings = format!(
        "set search_path to \"{schema}\"; set synchronous_commit to off; \
         set plan_cache_mode to force_custom_plan; \
         set idle_in_transaction_session_timeout to {}",
        TRANSACTION_IDLE_TIMEOUT.as_millis()
    );
    match access {
        Access::Write => settings,
        Access::Read => settings + "; set default_transaction_read_only to on",
        Access::Scratch => {
            settings + &format!("; select pg_advisory_lock_shared(hashtext('{schema}'))")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use testkit::{Db, eventually};
    use tokio::{
        io::copy_bidirectional,
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    use super::*;

    /// Passes connections on to a server. When it falls silent, those that there are stay open, and
    /// nothing comes through them any more.
    struct Proxy {
        address: SocketAddr,
        silence: watch::Sender<()>,
    }

    impl Proxy {
        async fn to(server: String) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it has an address");
            let silence = watch::Sender::new(());
            let falls_silent = silence.clone();
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let (mut silenced, server) = (falls_silent.subscribe(), server.clone());
                    tokio::spawn(async move {
                        let connected = TcpStream::connect(server).await;
                        let mut server = connected.expect("the server is there");
                        tokio::select! {
                            _ = copy_bidirectional(&mut client, &mut server) => {}
                            _ = silenced.changed() => std::future::pending::<()>().await,
                        }
                    });
                }
            });
            Self { address, silence }
        }

        fn fall_silent(&self) {
            self.silence.send_replace(());
        }
    }

    #[tokio::test]
    async fn connections_to_a_server_that_is_silent_give_way_to_others() {
        /// Less than a pool waits for a connection.
        const GENEROUS: Duration = Duration::from_secs(20);
        let Some(db) = Db::postgres().await else { return };
        sqlx::any::install_default_drivers();
        let url = db.setting();
        let (server, name) = url.rsplit_once('/').expect("it names a database");
        let (user, server) = server.rsplit_once('@').expect("it names a user");
        let proxy = Proxy::to(server.to_owned()).await;
        let url = format!("{user}@{}/{name}", proxy.address);
        let pool = options(Some("ledger"), Access::Write).max_connections(1).connect(&url).await;
        let pool = pool.expect("it connects");
        for is_idle in [false, true] {
            let held = pool.acquire().await.expect("it is alive");
            if is_idle {
                drop(held);
                eventually("it is given back", async || pool.num_idle() == 1).await;
                proxy.fall_silent();
            } else {
                proxy.fall_silent();
                drop(held);
            }
            let next = timeout(GENEROUS, pool.acquire()).await;
            let mut next = next.expect("it is not waited for").expect("there is another one");
            next.ping().await.expect("it answers");
        }
    }
}
