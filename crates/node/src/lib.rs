//! A process of an installation: its settings, the services that it runs, and how it stops.
//!
//! - `settings`: flags, environment and file, in that order; `engine_config`: what of them is for the engine;
//! - `program`: what the engine cannot know by itself: name, streams, what an operator does about errors;
//! - `services`: the one list of services: a new one is registered there and nowhere else;
//! - `serve`: runs services in one process, and drains them;
//! - `readiness`: whether the process can do its work, for whoever asks it;
//! - `embedded`: a whole installation in this process, with a nats-server of its own;
//! - `data_folder`: the folder of such an installation;
//! - `terminal`: printing, and being asked to stop.

pub mod data_folder;
pub mod embedded;
mod engine_config;
mod job;
pub mod nats_users;
pub mod program;
pub mod readiness;
pub mod serve;
pub mod services;
pub mod settings;
pub mod terminal;

use engine::metrics::Metric;

/// All metrics that processes record, but for the version of the program.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    engine::metrics::ALL.iter().chain(&gateway::metrics::ALL).chain(metrics_of_services())
}

/// Gives the recorder of this process the help texts of all metrics.
pub fn describe_metrics() {
    engine::metrics::describe();
    gateway::metrics::describe();
    metrics_of_services().for_each(Metric::describe);
}

fn metrics_of_services() -> impl Iterator<Item = &'static Metric> {
    services::SERVICES.iter().flat_map(|service| service.metrics)
}
