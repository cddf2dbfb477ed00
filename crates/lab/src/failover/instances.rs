//! Processes that run all services, which can be killed. Each keeps its identity when it is started
//! again.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use node::{services, settings::Settings};
use tokio::process::{Child, Command};

/// The number of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instance(pub(super) usize);

/// Two processes on the databases of one folder; they are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Instances<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    running: [Option<Child>; 2],
}

impl<'a> Instances<'a> {
    /// None runs yet. `settings` are those of the gateway.
    pub(super) fn new(settings: &'a Settings, folder: &'a Path) -> Self {
        Self { settings, folder, running: [None, None] }
    }

    /// Starts a process that does not run, with the identity that it has.
    pub(super) fn start(&mut self, Instance(number): Instance) -> Result<()> {
        let program = std::env::current_exe().context("find this program")?;
        let settings = self.settings;
        let child = Command::new(program)
            .arg("serve")
            .args(services::NAMES)
            .args(["--log", settings.log.as_deref().unwrap_or("error")])
            .args(["--partitions", &settings.partitions.to_string()])
            .args(["--replicas", &settings.replicas.to_string()])
            // They may hold passwords, and others see the arguments of a process.
            .env("TRADEWIND_NATS_URL", &settings.nats_url)
            .env("TRADEWIND_DATABASE", &settings.database)
            .envs(settings.person_keys.iter().map(|keys| ("TRADEWIND_PERSON_KEYS", keys)))
            .arg("--provider-dir")
            .arg(&settings.provider_dir)
            .arg("--identity-file")
            .arg(self.folder.join(format!("instance-{number}")))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start a process with all services")?;
        self.running[number] = Some(child);
        Ok(())
    }

    /// Lets all processes finish what they have begun.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for child in self.running.iter_mut().flatten() {
            let process = child.id().context("a process with services has ended")?.to_string();
            let sent = Command::new("kill").args(["-s", "TERM", &process]).status().await;
            ensure!(sent.context("run kill")?.success(), "a process cannot be stopped");
            ensure!(child.wait().await?.success(), "a process with services failed");
        }
        Ok(())
    }

    /// Kills a process, as `kill -9` does.
    pub(super) async fn kill(&mut self, Instance(number): Instance) {
        if let Some(mut child) = self.running[number].take() {
            child.kill().await.ok();
        }
    }
}
