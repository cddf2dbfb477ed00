//! What an operator does: rebuild, verify, parked inputs, voided messages, positions, streams.

use std::path::Path;

use anyhow::{Context, Result, bail};
use engine::{AskError, Client, Engine, ParkedInput, Position, Rebuilt, Redriving, Verified};
use events::{card_numbers::refuse_card_number, json};
use node::{
    say,
    services::{NAMES, SERVICES, Service},
    settings::Settings,
};

use crate::cli::{Log, Parked, Positions, Streams};

/// `tradewind rebuild SERVICE`.
pub(crate) async fn print_rebuild(settings: &Settings, service: &Service) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let Rebuilt { events, folding } = service.rebuild(&engine).await?;
    if events == 0 {
        say!(
            "{}: rebuilt in {:.2} s by the process that runs it",
            service.name,
            folding.as_secs_f64()
        );
        return Ok(());
    }
    let rate = events as f64 / folding.as_secs_f64().max(1e-3);
    let seconds = folding.as_secs_f64();
    say!("{}: {events} events in {seconds:.2} s ({rate:.0} events/s)", service.name);
    Ok(())
}

/// Rows that differ are shown up to this number a service.
const SHOWN: usize = 20;

/// `tradewind verify [SERVICE]`. An error when a row differs.
pub(crate) async fn print_verify(
    settings: &Settings,
    service: Option<&'static Service>,
) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let services = service.map_or(SERVICES.iter().collect(), |service| vec![service]);
    expect_logs(&engine, &services).await?;
    let mut differing = 0;
    for service in services {
        let Verified { events, rows, mismatches, mismatched, voided } =
            service.verify(&engine).await?;
        let verdict = if mismatched == 0 { "equal" } else { "DIFFERENT" };
        say!("{:<10} {events:>9} events → {rows:>9} rows: {verdict}", service.name);
        for mismatch in mismatches.iter().take(SHOWN) {
            let absent = || "(no such row)".to_owned();
            say!("  {}", mismatch.table);
            say!("    live: {}", mismatch.live.clone().unwrap_or_else(absent));
            say!("    log:  {}", mismatch.folded.clone().unwrap_or_else(absent));
        }
        let shown = mismatches.len().min(SHOWN) as u64;
        if mismatched > shown {
            say!("  … and {} more of {}", mismatched - shown, service.name);
        }
        if voided > 0 {
            say!("  voided messages of the log: {voided}");
        }
        differing += mismatched;
    }
    if differing > 0 {
        bail!("{differing} rows differ from the log; `tradewind rebuild SERVICE` repairs them");
    }
    Ok(())
}

/// An error that names the logs which NATS does not have: what is only read is not created.
async fn expect_logs(engine: &Engine, services: &[&Service]) -> Result<()> {
    let is_log = |stream: &str| {
        let name = stream.rsplit_once('-').map(|(name, _)| name.to_lowercase());
        services.iter().any(|service| name.as_deref() == Some(service.name))
    };
    let differences = engine.diff_streams().await?.into_iter();
    let missing: Vec<_> = differences
        .filter(|difference| difference.settings.is_empty() && is_log(&difference.stream))
        .map(|difference| difference.stream)
        .collect();
    if !missing.is_empty() {
        bail!(
            "NATS has no stream {}; see whether --nats-url and --partitions are those of the \
             installation (`tradewind serve` creates the streams of a new one)",
            missing.join(", ")
        );
    }
    Ok(())
}

/// `tradewind streams …`.
pub(crate) async fn print_streams(settings: &Settings, what: Streams) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let (differences, done) = match what {
        Streams::Apply => (engine.apply_streams().await?, true),
        Streams::Diff => (engine.diff_streams().await?, false),
    };
    for difference in &differences {
        match (difference.settings.as_slice(), done) {
            ([], true) => say!("{}: created", difference.stream),
            ([], false) => say!("{}: missing", difference.stream),
            (settings, _) => say!("{}: {}", difference.stream, settings.join("; ")),
        }
    }
    match (differences.len(), done) {
        (0, _) => say!("all streams are as defined"),
        (1, true) => say!("1 stream changed"),
        (1, false) => bail!("1 stream differs; `tradewind streams apply` changes it"),
        (count, true) => say!("{count} streams changed"),
        (count, false) => bail!("{count} streams differ; `tradewind streams apply` changes them"),
    }
    Ok(())
}

/// `tradewind log …`.
pub(crate) async fn print_log(settings: &Settings, what: &Log) -> Result<()> {
    let Log::Void { service, partition, sequence, reason } = what;
    refuse_card_number("--reason", reason)?;
    let engine = Engine::connect_only(settings.engine()).await?;
    let voided = service.operator.void_message(&engine, *partition, *sequence, reason).await?;
    say!(
        "voided the message {} of {}-{partition} (SHA-256 {}), recorded at {}",
        voided.sequence,
        service.name.to_uppercase(),
        voided.sha256,
        voided.recorded_at
    );
    Ok(())
}

/// `tradewind positions …`.
pub(crate) async fn print_positions(settings: &Settings, what: &Positions) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    match what {
        Positions::Show { service } => {
            let services = service.map_or(SERVICES.iter().collect(), |service| vec![service]);
            for service in services {
                let partitions = engine.client().positions(service.name).await?;
                for (partition, positions) in partitions.into_iter().enumerate() {
                    for (source, Position { sequence, behind }) in positions {
                        say!("{:<10} {partition:>3}  {source:<12} {sequence:>12}", service.name);
                        for (shop, sequence) in behind {
                            let shop = format!("  of {shop}");
                            say!("{:<10} {partition:>3}  {shop:<12} {sequence:>12}", service.name);
                        }
                    }
                }
            }
        }
        Positions::Reset { service, partition, source, to, reason } => {
            refuse_card_number("--reason", reason)?;
            let reset = service.operator.reset_position(&engine, *partition, source, *to, reason);
            let recorded = reset.await?;
            say!(
                "{}-{partition} reads {source} anew from {} on, recorded at {recorded}",
                service.name,
                to + 1
            );
        }
    }
    Ok(())
}

/// `tradewind parked …`.
pub(crate) async fn print_parked(settings: &Settings, what: &Parked) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let partitions = engine.config().partitions;
    let client = engine.client();
    match what {
        Parked::List { service } => list_parked(&client, *service, partitions).await,
        Parked::Show { id } => {
            let (_, row) = find_parked(&client, id).await?;
            let mut shown = serde_json::to_value(&row)?;
            if !row.payload.is_empty() {
                match json::to_json(json::message_of(&row.subject), &row.payload) {
                    Ok(message) => shown["message"] = message,
                    // It may be what it is parked for.
                    Err(error) => shown["message_error"] = format!("{error:#}").into(),
                }
            }
            say!("{}", serde_json::to_string_pretty(&shown)?);
            Ok(())
        }
        Parked::Redrive { id, edited } => redrive(&client, id, edited.as_deref()).await,
        Parked::Drop { id, reason } => drop_parked(&client, id, reason).await,
    }
}

async fn list_parked(
    client: &Client,
    service: Option<&'static Service>,
    partitions: u32,
) -> Result<()> {
    let services = service.map_or(NAMES.to_vec(), |service| vec![service.name]);
    let (mut count, mut silent) = (0, Vec::new());
    for service in services {
        for partition in 0..partitions {
            match list_partition(client, service, partition).await {
                Ok(listed) => count += listed,
                Err(AskError::Silent { .. }) => silent.push(format!("{service}-{partition}")),
                Err(error) if error.is_unavailable() => {
                    silent.push(format!("{service}-{partition} ({error})"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    say!("{count} parked");
    if !silent.is_empty() {
        bail!("no answer from {}: what is parked there is not shown; {RUNNING}", silent.join(", "));
    }
    Ok(())
}

/// Prints what is parked in a partition, page by page.
async fn list_partition(client: &Client, service: &str, partition: u32) -> Result<usize, AskError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = client.parked(service, partition, after).await?;
        for row in &page.parked {
            say!(
                "{}  {service:<9}  {}  {:<10}  {}  {}\n    {}",
                row.id,
                row.parked_at,
                row.shop,
                row.subject,
                row.aggregate_id,
                row.reason
            );
        }
        count += page.parked.len();
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

/// What to look at when a service does not answer.
const RUNNING: &str = "see whether it runs";

async fn find_parked(client: &Client, id: &str) -> Result<(&'static str, ParkedInput)> {
    let mut silent = Vec::new();
    for service in NAMES {
        match client.parked_input(service, id).await {
            Ok(Some(row)) => return Ok((service, row)),
            Ok(None) => {}
            Err(AskError::Silent { .. }) => silent.push(service.to_owned()),
            Err(error) if error.is_unavailable() => silent.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    if silent.is_empty() {
        bail!("nothing is parked under {id}; `tradewind parked list` shows what is");
    }
    bail!(
        "nothing is parked under {id} where it was asked; no answer from {}: {RUNNING}",
        silent.join(", ")
    )
}

async fn redrive(client: &Client, id: &str, edited: Option<&Path>) -> Result<()> {
    let (service, row) = find_parked(client, id).await?;
    let edited = match edited {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read the edited message in {}", file.display()))?;
            let message = serde_json::from_str(&text)
                .with_context(|| format!("parse the edited message in {}", file.display()))?;
            let bytes = json::from_json(json::message_of(&row.subject), &message)
                .with_context(|| format!("read the edited message in {}", file.display()))?;
            Some(bytes)
        }
    };
    let done = client.redrive(service, row.partition, id, edited.as_deref()).await?;
    say!("{} handled, {} still parked", done.handled.len(), done.still_parked.len());
    expect_none_parked(&done)
}

async fn drop_parked(client: &Client, id: &str, reason: &str) -> Result<()> {
    refuse_card_number("--reason", reason)?;
    let (service, row) = find_parked(client, id).await?;
    let done = client.drop_parked(service, row.partition, id, reason).await?;
    let (handled, parked) = (done.handled.len(), done.still_parked.len());
    say!("dropped {id}; {handled} handled behind it, {parked} still parked");
    expect_none_parked(&done)
}

fn expect_none_parked(done: &Redriving) -> Result<()> {
    match done.still_parked.first() {
        None => Ok(()),
        Some(first) => bail!("{first} failed again; `tradewind parked show` says why"),
    }
}
