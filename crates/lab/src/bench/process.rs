//! The services in a process of their own, as `tradewind serve` runs them.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use engine::plain_http;
use node::settings::Settings;
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long the services may take until they hold every partition.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long they may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two requests for their readiness.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The kernel's ticks in a second, on every system that has /proc.
const TICKS_PER_S: f64 = 100.0;
/// What the environment must not change: the figures are those of the defaults.
const PREFIXES: [&str; 2] = ["TRADEWIND_", "OTEL_"];

/// The process; killed when it is dropped.
#[derive(Debug)]
pub(super) struct ServiceProcess {
    child: Child,
}

#[derive(Debug, Deserialize)]
struct Ready {
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    state: String,
}

impl ServiceProcess {
    /// Starts all services and the gateway; returns when they hold every partition.
    pub(super) async fn start(program: &Path, settings: &Settings, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let monitor = settings.nats_monitor_url.as_deref().unwrap_or_default();
        command
            .args(["serve", "--log", "warn"])
            .args(["--nats-monitor-url", monitor])
            // They may hold passwords, and others see the arguments of a process.
            .env("TRADEWIND_NATS_URL", &settings.nats_url)
            .env("TRADEWIND_DATABASE", &settings.database)
            .envs(settings.person_keys.iter().map(|keys| ("TRADEWIND_PERSON_KEYS", keys)))
            .args(["--partitions", &settings.partitions.to_string()])
            .args(["--replicas", &settings.replicas.to_string()])
            .args(["--listen", &settings.listen.to_string()])
            .arg("--provider-dir")
            .arg(&settings.provider_dir)
            .args(flags)
            .env("TRADEWIND_API_KEY", settings.exposed_api_key())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().context("start the services")?;
        let mut process = Self { child };
        process.await_ready(&format!("http://{}/readyz", settings.listen)).await?;
        Ok(process)
    }

    async fn await_ready(&mut self, url: &str) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let http = plain_http().timeout(POLL_INTERVAL * 10).build()?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the services ended with {status}; their log says why");
            }
            if let Ok(response) = http.get(url).send().await
                && response.status().is_success()
                && let Ok(Ready { partitions }) = response.json().await
                && !partitions.is_empty()
                && partitions.iter().all(|partition| partition.state == "held")
            {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the services are not ready");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The process id; `None` when it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The time that processors have spent on it so far, in ticks of the kernel; `None` where the
    /// system does not say.
    pub(super) fn cpu_ticks(&self) -> Option<u64> {
        cpu_ticks_of(&self.pid()?.to_string())
    }

    /// Stops the services, which finish what they have begun.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let sent = Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status().await;
        ensure!(sent.context("run kill")?.success(), "the services cannot be stopped");
        let ended = timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.context("the services do not stop")??;
        ensure!(status.success(), "the services ended with {status}");
        Ok(())
    }
}

/// The time that ticks of the kernel are.
pub(super) fn ticks_as_time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / TICKS_PER_S)
}

/// The same for this process.
pub(super) fn own_cpu_ticks() -> Option<u64> {
    cpu_ticks_of("self")
}

/// The same for a thread, named such as `12/task/13`.
pub(super) fn thread_cpu_ticks(thread: &str) -> Option<u64> {
    cpu_ticks_of(thread)
}

fn cpu_ticks_of(process: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    cpu_ticks(&stat)
}

/// The sum of `utime` and `stime`. The name of the program, in brackets, may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_user_and_system() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 9 0 100 1000";
        assert_eq!(cpu_ticks(stat), Some(281));
    }
}
