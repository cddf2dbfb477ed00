//! A private nats-server as a child process: for an installation within one process, and for tests.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{Error, plain_http};

/// How long the server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The memory at which the server's garbage collector goes to work at once (Go's `GOMEMLIMIT`): left
/// alone, it lets the heap grow to twice what is needed.
const MEMORY_LIMIT: &str = "170MiB";
/// The oldest server with atomic batches.
const OLDEST: &str = "2.12";

/// A nats-server that stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    port: u16,
    monitor_port: u16,
    /// Settings of JetStream beside the usual.
    extra: String,
    /// Who may connect; everybody without it.
    users: Option<Users>,
}

/// Who may connect to a server.
#[derive(Clone)]
pub struct Users {
    /// The part of the server's configuration that names them: an `authorization` block.
    pub configuration: String,
    /// The user that [`Server::url`] names.
    pub default: String,
    /// Names and passwords: of letters and digits.
    pub passwords: Vec<(String, String)>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("default", &self.default).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

impl Server {
    /// The nats-server to use: the environment's `NATS_SERVER`, or the one on the PATH.
    pub fn find() -> PathBuf {
        std::env::var_os("NATS_SERVER").map_or_else(|| "nats-server".into(), PathBuf::from)
    }

    /// Starts a server on free ports of the loopback address. It fsyncs before it acknowledges,
    /// and keeps its data in `folder`. `extra` holds settings of JetStream, such as
    /// `max_file: 1GB`.
    pub async fn start(binary: &Path, folder: &Path, extra: &str) -> Result<Self, Error> {
        Self::start_with_users(binary, folder, extra, None).await
    }

    /// The same, and lets in these users alone.
    pub async fn start_with_users(
        binary: &Path,
        folder: &Path,
        extra: &str,
        users: Option<Users>,
    ) -> Result<Self, Error> {
        let mut server = Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            child: None,
            port: 0,
            monitor_port: 0,
            extra: extra.to_owned(),
            users,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the server again after [`Server::kill`], on the same ports, with the same data.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        let failed =
            |reason: String| Error::Server { binary: self.binary.display().to_string(), reason };
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(error.to_string()))?;
        // Without symbolic links: the server answers with the path that it was given.
        let folder =
            std::fs::canonicalize(&self.folder).map_err(|error| failed(error.to_string()))?;
        let config = folder.join("nats.conf");
        std::fs::write(&config, self.configuration(&folder))
            .map_err(|error| failed(error.to_string()))?;
        let log = std::fs::File::create(folder.join("nats.log"))
            .map_err(|error| failed(error.to_string()))?;
        let memory_limit = std::env::var_os("GOMEMLIMIT").unwrap_or_else(|| MEMORY_LIMIT.into());
        let child = Command::new(&self.binary)
            .arg("--config")
            .arg(&config)
            .env("GOMEMLIMIT", memory_limit)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                failed(format!(
                    "{error}; install nats-server {OLDEST} or newer, or set NATS_SERVER"
                ))
            })?;
        let pid = child.id().unwrap_or_default();
        self.child = Some(child);
        let ports = self.await_ports(&folder, pid).await?;
        (self.port, self.monitor_port) = ports;
        Ok(())
    }

    fn configuration(&self, folder: &Path) -> String {
        let port = |port: u16| if port == 0 { "-1".to_owned() } else { port.to_string() };
        format!(
            "{}listen: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\nports_file_dir: \"{}\"\n\
             max_payload: 1MB\n\
             jetstream {{ store_dir: \"{}\", max_mem: 256M, sync_interval: always\n{} }}\n",
            self.users.as_ref().map_or("", |users| &users.configuration),
            port(self.port),
            port(self.monitor_port),
            folder.display(),
            folder.join("jetstream").display(),
            self.extra
        )
    }

    /// Waits until the server has written its ports and answers on them.
    async fn await_ports(&mut self, folder: &Path, pid: u32) -> Result<(u16, u16), Error> {
        let failed =
            |reason: String| Error::Server { binary: self.binary.display().to_string(), reason };
        let deadline = Instant::now() + START_TIMEOUT;
        let name = self.binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = folder.join(format!("{name}_{pid}.ports"));
        loop {
            if let Some(child) = self.child.as_mut()
                && let Ok(Some(status)) = child.try_wait()
            {
                let log = std::fs::read_to_string(folder.join("nats.log")).unwrap_or_default();
                return Err(failed(format!("it ended with {status}: {log}")));
            }
            let ports = std::fs::read(&file).ok();
            let ports = ports.and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
            if let Some(ports) = ports
                && let (Some(nats), Some(monitor)) = (port(&ports.nats), port(&ports.monitoring))
                && is_healthy(monitor).await
            {
                return Ok((nats, monitor));
            }
            if Instant::now() > deadline {
                return Err(failed(format!("it did not answer within {START_TIMEOUT:?}")));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The address for clients: of the default user, where it has users.
    pub fn url(&self) -> String {
        self.url_of(self.users.as_ref().map_or("", |users| &users.default))
    }

    /// The address for a user, with its password; that without a user for one that there is not.
    pub fn url_of(&self, user: &str) -> String {
        let known = self.users.iter().flat_map(|users| &users.passwords);
        let login =
            known.filter(|(name, _)| name == user).map(|(name, word)| format!("{name}:{word}@"));
        format!("nats://{}127.0.0.1:{}", login.collect::<String>(), self.port)
    }

    /// The address of the monitor.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Kills the server, as a power failure would.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.ok();
        }
    }
}

/// The port at the end of the first address.
fn port(addresses: &[String]) -> Option<u16> {
    addresses.first()?.rsplit(':').next()?.trim_end_matches('/').parse().ok()
}

async fn is_healthy(monitor_port: u16) -> bool {
    let url = format!("http://127.0.0.1:{monitor_port}/healthz?js-server-only=true");
    let Ok(client) = plain_http().build() else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}
