//! A private Postgres server as a child process: for the benchmark, and for the cluster of the tests.
//!
//! - `programs`: finds what is installed, and the user who may run it;
//! - [`Server`]: one server, with a folder and a port of its own.

mod programs;

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::chown,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

pub use programs::{Programs, account, find_on_path, user_id};

/// The superuser of the server. Nobody has to authenticate: it listens on the loopback address only.
const USER: &str = "postgres";
/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long it may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// The interval between two attempts to connect.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A server that does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing.
    #[error(
        "Postgres is not installed: there is no initdb on the PATH, nor in {}",
        programs::DEBIAN
    )]
    NotInstalled,
    /// Postgres refuses to run as root, and there is no other user.
    #[error("Postgres does not run as root, and there is no user `postgres` or `nobody`")]
    NoAccount,
    /// A file, a port or a process is not to be had.
    #[error("{step}")]
    Io {
        /// What was tried.
        step: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program has failed.
    #[error("{program} failed with {status}: {log}")]
    Failed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it logged.
        log: String,
    },
    /// The server does not answer.
    #[error("Postgres did not answer within {START_TIMEOUT:?}: {log}")]
    Silent {
        /// What it logged.
        log: String,
    },
}

impl Error {
    fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        |source| Self::Io { step, source }
    }
}

/// A server with the settings that Postgres has by default: it fsyncs. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    programs: Programs,
    port: u16,
}

impl Server {
    /// Makes a cluster in `folder`, which must not exist, and starts a server on a free port of the
    /// loopback address; returns when it answers.
    pub async fn start(folder: &Path) -> Result<Self, Error> {
        let programs = Programs::find()?;
        let account = account()?;
        fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
        if let Some((user, group)) = account {
            chown(folder, Some(user), Some(group))
                .map_err(Error::io(format!("hand over {}", folder.display())))?;
        }
        let log = folder.join("log");
        let data = folder.join("data");
        let command = |program: &str| -> Result<Command, Error> {
            let to = File::options().create(true).append(true).open(&log);
            let to = to.map_err(Error::io("make the log of Postgres"))?;
            let mut command = Command::new(programs.path(program));
            command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(to);
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            Ok(command)
        };
        let made = command("initdb")?
            .arg("--pgdata")
            .arg(&data)
            .args(["--auth", "trust", "--username", USER, "--encoding", "UTF8"])
            .args(["--locale", "C", "--no-sync", "--no-instructions"])
            .status()
            .await
            .map_err(Error::io("run initdb"))?;
        if !made.success() {
            return Err(Error::Failed { program: "initdb", status: made, log: text(&log) });
        }
        let port = free_port().map_err(Error::io("find a free port"))?;
        let child = command("postgres")?
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("run postgres"))?;
        let mut server = Self { child, programs, port };
        server.await_answer(&log).await?;
        Ok(server)
    }

    async fn await_answer(&mut self, log: &Path) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.programs.answers(self.port) {
            let ended = self.child.try_wait().map_err(Error::io("wait for postgres"))?;
            if let Some(status) = ended {
                return Err(Error::Failed { program: "postgres", status, log: text(log) });
            }
            if Instant::now() > deadline {
                return Err(Error::Silent { log: text(log) });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// The process id of the server, whose children are its backends; `None` when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the server: its clients are disconnected, and its children end before it.
    pub async fn stop(mut self) -> Result<(), Error> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        let sent = Command::new("kill").args(["-s", "INT", &pid.to_string()]).status().await;
        sent.map_err(Error::io("run kill"))?;
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(ended) => ended.map(|_| ()).map_err(Error::io("wait for postgres")),
            Err(_) => self.child.kill().await.map_err(Error::io("kill postgres")),
        }
    }
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// A port of the loopback address that nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
