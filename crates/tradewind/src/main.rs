//! The command `tradewind`: reads the command line and hands over to what does the work.
//!
//! - `cli`: the command line;
//! - `admin`: what an operator does: rebuild, verify, parked inputs, streams;
//! - `erp`: pushing files of an ERP;
//! - `feed`: reading the event feed;
//! - `gateway`: the gateway that commands speak to as any client does;
//! - `init`: what an installation needs before its first start;
//! - `integrator`: users of nats-server who read public events, and programs that read with them;
//! - `keys`: API keys, through a gateway;
//! - `mails`: mails to the customers of orders;
//! - `orders`: the orders of a shop;
//! - `payments`: what an operator does about payments that do not come to an end;
//! - `persons`: what an operator does with personal data;
//! - `shops`: what an operator does with shops;
//! - `webhooks`: receiving webhooks on this machine;
//! - the crate `node`: settings, and running services;
//! - the crate `lab`: demo, benchmark, replay.

mod admin;
mod cli;
mod erp;
mod feed;
mod gateway;
mod init;
mod integrator;
mod keys;
mod mails;
mod orders;
mod payments;
mod persons;
mod shops;
mod webhooks;

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use lab::{bench, demo, failover, replay};
use node::{
    readiness::{HealthAnswer, ProcessHealth},
    serve,
    services::Component,
    settings::{
        DEFAULT_METRICS_LISTEN, LogFormat, MetricsListen, Settings, secret_in_flags, with_file,
    },
    terminal::{failure, interrupted},
};
use telemetry::{HealthSource, Telemetry};
use tikv_jemallocator::Jemalloc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::cli::{Cli, Command, Connector, Replay};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = match with_file(Cli::command(), &arguments) {
        Ok(command) => command,
        Err(error) => {
            let error =
                Cli::command().error(clap::error::ErrorKind::ValueValidation, format!("{error:#}"));
            error.exit();
        }
    };
    let matches = command.get_matches_from(arguments);
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(problem) = secret_in_flags(&matches) {
        Cli::command().error(clap::error::ErrorKind::ValueValidation, problem).exit();
    }
    let telemetry = start_telemetry(&cli)?;
    cli.settings.read_key_files()?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let health = ProcessHealth::default();
    if matches!(cli.command, Command::Serve { .. }) {
        telemetry.show_health(health_source(&health));
    }
    runtime.block_on(dispatch(cli, health))
}

/// The health of the process, for the listener of its metrics.
fn health_source(health: &ProcessHealth) -> HealthSource {
    let shown = |HealthAnswer { status, content_type, body }: HealthAnswer| {
        telemetry::HealthAnswer { status, content_type, body }
    };
    let health = health.clone();
    HealthSource {
        healthz: Box::new(move || shown(ProcessHealth::healthz())),
        readyz: Box::new(move || shown(health.readyz())),
    }
}

/// Starts the log, the traces and the metrics; what is returned exports the last spans when it is
/// dropped, after all else has stopped.
fn start_telemetry(Cli { settings, command }: &Cli) -> Result<Telemetry> {
    let log = settings.log.as_deref().unwrap_or_else(|| default_log(command));
    let telemetry = telemetry::start(&telemetry::Settings {
        service: "tradewind",
        version: env!("CARGO_PKG_VERSION"),
        instance: Settings::instance(),
        log: log.to_owned(),
        log_format: match settings.log_format {
            LogFormat::Text => telemetry::LogFormat::Text,
            LogFormat::Json => telemetry::LogFormat::Json,
        },
        otlp_endpoint: settings.otlp_endpoint.clone(),
        trace_ratio: settings.trace_ratio,
        traces_per_second: settings.traces_per_second,
        metrics: !settings.no_metrics,
        metrics_listen: metrics_listen(settings, command),
    })
    .context("start the log, traces and metrics")?;
    node::describe_metrics();
    Ok(telemetry)
}

/// Where metrics are shown: by what runs services. A command that an operator runs beside a process does not
/// take that one's address, whatever the environment says.
fn metrics_listen(settings: &Settings, command: &Command) -> telemetry::MetricsListen {
    match (settings.metrics_listen, command) {
        (None, Command::Serve { .. }) => telemetry::MetricsListen::AtIfFree(DEFAULT_METRICS_LISTEN),
        (
            Some(MetricsListen::At(address)),
            Command::Serve { .. }
            | Command::Demo(_)
            | Command::Bench(_)
            | Command::Replay(_)
            | Command::Failover(_),
        ) => telemetry::MetricsListen::At(address),
        _ => telemetry::MetricsListen::Off,
    }
}

/// What is logged unless it is said: a report is not to drown in it.
fn default_log(command: &Command) -> &'static str {
    match command {
        Command::Serve { .. } => "info",
        // What they say is the report; that they connect is not part of it.
        Command::Rebuild { .. }
        | Command::Verify { .. }
        | Command::Parked(_)
        | Command::Log(_)
        | Command::Positions(_)
        | Command::Payments(_)
        | Command::Persons(_)
        | Command::Shops(_)
        | Command::Keys(_)
        | Command::Webhooks(_)
        | Command::Mails(_)
        | Command::Orders(_)
        | Command::Events(_)
        | Command::Erp(_)
        | Command::Streams(_)
        | Command::Init(_)
        | Command::Integrator(_)
        | Command::Connector(_) => "info,async_nats=warn",
        Command::Replay(_) | Command::Bench(_) => "warn",
        // Connections are lost on purpose.
        Command::Failover(_) => "error",
        // The provider of the demo fails on purpose.
        Command::Demo(_) => "warn,payment=error",
    }
}

async fn dispatch(cli: Cli, health: ProcessHealth) -> Result<ExitCode> {
    let settings = cli.settings;
    match cli.command {
        Command::Serve { services } => {
            let services = if services.is_empty() { Component::all() } else { services };
            let (bound, _) = oneshot::channel();
            let shutdown = CancellationToken::new();
            let stop = shutdown.clone();
            let interrupted = interrupted();
            tokio::spawn(async move {
                interrupted.await;
                tracing::info!("stopping: requests and batches in progress are finished");
                stop.cancel();
            });
            serve::serve(&settings, &services, shutdown, health, bound).await?;
        }
        Command::Rebuild { service } => admin::print_rebuild(&settings, service).await?,
        Command::Verify { service } => admin::print_verify(&settings, service).await?,
        Command::Parked(what) => admin::print_parked(&settings, &what).await?,
        Command::Log(what) => admin::print_log(&settings, &what).await?,
        Command::Positions(what) => admin::print_positions(&settings, &what).await?,
        Command::Payments(what) => payments::run(&settings, &what).await?,
        Command::Persons(what) => persons::run(&settings, &what).await?,
        Command::Shops(what) => shops::print_shops(&settings, &what).await?,
        Command::Keys(what) => keys::run(&settings, what).await?,
        Command::Webhooks(what) => webhooks::run(&settings, what).await?,
        Command::Mails(what) => mails::run(&settings, what).await?,
        Command::Orders(what) => orders::run(&settings, what).await?,
        Command::Init(options) => init::init(&options)?,
        Command::Integrator(what) => integrator::run(&settings, &what)?,
        Command::Connector(Connector::Add(options)) => init::add_connector(&options)?,
        Command::Erp(what) => erp::run(&settings, what).await?,
        Command::Events(what) => feed::run(&settings, what).await?,
        Command::Streams(what) => admin::print_streams(&settings, what).await?,
        Command::Replay(Replay::Retail(options)) => {
            return Box::pin(replay::run(&settings, options)).await;
        }
        Command::Demo(options) => return demo::run(&settings, options).await,
        Command::Bench(options) => return Box::pin(bench::run(&settings, options)).await,
        Command::Failover(options) => return failover::run(&settings, options).await,
    }
    Ok(ExitCode::SUCCESS)
}
