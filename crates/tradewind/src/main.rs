//! The command `tradewind`; see the library for what it does.

use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use mimalloc::MiMalloc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tradewind::{
    admin, bench,
    cli::{Cli, Command, Replay},
    demo,
    print::failure,
    replay, serve,
    settings::{LogFormat, with_file},
    signal::interrupted,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    start_logging(&cli)?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(dispatch(cli))
}

fn start_logging(Cli { settings, command }: &Cli) -> Result<()> {
    let log = settings.log.as_deref().unwrap_or_else(|| default_log(command));
    let filter =
        EnvFilter::try_new(log).with_context(|| format!("read the setting log = {log:?}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

/// What is logged unless it is said: a report is not to drown in it.
fn default_log(command: &Command) -> &'static str {
    match command {
        Command::Serve { .. } => "info",
        // What they say is the report; that they connect is not part of it.
        Command::Rebuild { .. }
        | Command::Verify { .. }
        | Command::Parked(_)
        | Command::Streams(_) => "info,async_nats=warn",
        Command::Replay(_) | Command::Bench(_) => "warn",
        // The provider of the demo fails on purpose.
        Command::Demo(_) => "warn,payment=error",
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let settings = cli.settings;
    match cli.command {
        Command::Serve { services } => {
            let services = if services.is_empty() { serve::ALL.to_vec() } else { services };
            let (bound, _) = oneshot::channel();
            let shutdown = CancellationToken::new();
            let stop = shutdown.clone();
            let interrupted = interrupted();
            tokio::spawn(async move {
                interrupted.await;
                tracing::info!("stops: finishes what is at hand");
                stop.cancel();
            });
            serve::serve(&settings, &services, shutdown, bound).await?;
        }
        Command::Rebuild { service } => admin::print_rebuild(&settings, service).await?,
        Command::Verify { service } => admin::print_verify(&settings, service).await?,
        Command::Parked(what) => admin::print_parked(&settings, &what).await?,
        Command::Streams(what) => admin::print_streams(&settings, what).await?,
        Command::Replay(Replay::Retail(options)) => return replay::run(&settings, options).await,
        Command::Demo(options) => return demo::run(&settings, options).await,
        Command::Bench(options) => return bench::run(&settings, options).await,
    }
    Ok(ExitCode::SUCCESS)
}
