//! The command `tradewind`; see the library for what it does.

use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tradewind::{
    admin, bench,
    cli::{Cli, Command, Replay},
    demo, replay, serve,
    settings::{LogFormat, Settings, with_file},
};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = match with_file(Cli::command(), &arguments) {
        Ok(command) => command,
        Err(error) => {
            let error = Cli::command().error(clap::error::ErrorKind::ValueValidation, format!("{error:#}"));
            error.exit();
        }
    };
    let matches = command.get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    start_logging(&cli.settings)?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(dispatch(cli))
}

fn start_logging(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log)
        .with_context(|| format!("read the setting log = {:?}", settings.log))?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(
            std::io::stderr().is_terminal(),
        );
    match settings.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let settings = cli.settings;
    match cli.command {
        Command::Serve { services } => {
            let services = if services.is_empty() { serve::ALL.to_vec() } else { services };
            let (bound, _) = oneshot::channel();
            let shutdown = CancellationToken::new();
            tokio::spawn(cancel_on_signal(shutdown.clone()));
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

/// Stops the services on SIGTERM and Ctrl-C.
async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stops: finishes what is at hand");
    shutdown.cancel();
}
