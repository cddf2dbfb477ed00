//! The engine's part of the settings.

use std::time::Duration;

use crate::{program::PROGRAM, services::NAMES, settings::Settings};

impl Settings {
    /// The engine's part of the settings, for a command that somebody waits for: it does not wait
    /// for servers that are not there.
    #[expect(clippy::disallowed_methods, reason = "the edge, where a process gets its clock")]
    pub fn engine(&self) -> engine::Config {
        let database = self.database.parse().unwrap_or_else(|never| match never {});
        let identity_file = self.identity_file.clone().or_else(|| match &database {
            engine::Location::Folder(folder) => Some(folder.join("node-id")),
            engine::Location::Postgres(_) => None,
        });
        engine::Config {
            program: &PROGRAM,
            nats_url: self.nats_url.clone(),
            nats_security: self.nats.security.clone(),
            nats_monitor_url: self.nats_monitor_url.clone(),
            database,
            partitions: self.partitions,
            replicas: usize::from(self.replicas),
            integrator_streams: self.integrator_streams,
            instance: Self::instance(),
            identity_file,
            start_timeout: Duration::ZERO,
            services: &NAMES,
            clock: engine::Clock::system(),
            faults: engine::Faults::default(),
        }
    }
}
