//! What an operator does: rebuild, verify, parked inputs, streams.

use std::path::Path;

use anyhow::{Context, Result, bail};
use engine::{AskError, Client, Engine, ParkedView, Rebuilt, SERVICES, Verified};
use futures::future::join_all;

use crate::{
    cli::{Parked, Projected, Streams},
    print::say,
    settings::Settings,
};

/// All services with a database.
pub const PROJECTED: [Projected; 4] =
    [Projected::Catalog, Projected::Inventory, Projected::Order, Projected::Payment];

impl Projected {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Inventory => "inventory",
            Self::Order => "order",
            Self::Payment => "payment",
        }
    }
}

/// Drops a service's database and folds its log anew.
pub async fn rebuild(engine: &Engine, service: Projected) -> Result<Rebuilt> {
    match service {
        Projected::Catalog => engine.rebuild::<catalog::Catalog>().await,
        Projected::Inventory => engine.rebuild::<inventory::Inventory>().await,
        Projected::Order => engine.rebuild::<order::Orders>().await,
        Projected::Payment => engine.rebuild::<payment::Payments>().await,
    }
    .with_context(|| format!("rebuild {}", service.name()))
}

/// Compares a service's database with its log.
pub async fn verify(engine: &Engine, service: Projected) -> Result<Verified> {
    match service {
        Projected::Catalog => engine.verify::<catalog::Catalog>().await,
        Projected::Inventory => engine.verify::<inventory::Inventory>().await,
        Projected::Order => engine.verify::<order::Orders>().await,
        Projected::Payment => engine.verify::<payment::Payments>().await,
    }
    .with_context(|| format!("verify {}", service.name()))
}

/// `tradewind rebuild SERVICE`.
pub async fn print_rebuild(settings: &Settings, service: Projected) -> Result<()> {
    let engine = Engine::connect(settings.engine()).await?;
    let Rebuilt { events, folding } = rebuild(&engine, service).await?;
    let rate = events as f64 / folding.as_secs_f64().max(1e-3);
    say!(
        "{}: {events} events in {:.2} s ({rate:.0} events/s)",
        service.name(),
        folding.as_secs_f64()
    );
    Ok(())
}

/// Rows that differ are shown up to this number a service.
const SHOWN: usize = 20;

/// `tradewind verify [SERVICE]`. An error when a row differs.
pub async fn print_verify(settings: &Settings, service: Option<Projected>) -> Result<()> {
    let engine = Engine::connect(settings.engine()).await?;
    let services = service.map_or(PROJECTED.to_vec(), |service| vec![service]);
    let mut differing = 0;
    for service in services {
        let Verified { events, rows, mismatches } = verify(&engine, service).await?;
        let verdict = if mismatches.is_empty() { "equal" } else { "DIFFERENT" };
        say!("{:<10} {events:>9} events → {rows:>9} rows: {verdict}", service.name());
        for mismatch in mismatches.iter().take(SHOWN) {
            let absent = || "(no such row)".to_owned();
            say!("  {}", mismatch.table);
            say!("    live: {}", mismatch.live.clone().unwrap_or_else(absent));
            say!("    log:  {}", mismatch.folded.clone().unwrap_or_else(absent));
        }
        if mismatches.len() > SHOWN {
            say!("  … and {} more of {}", mismatches.len() - SHOWN, service.name());
        }
        differing += mismatches.len();
    }
    if differing > 0 {
        bail!("{differing} rows differ from the log; `tradewind rebuild SERVICE` mends them");
    }
    Ok(())
}

/// `tradewind streams …`.
pub async fn print_streams(settings: &Settings, what: Streams) -> Result<()> {
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
        (count, true) => say!("{count} streams changed"),
        (count, false) => bail!("{count} streams differ; `tradewind streams apply` changes them"),
    }
    Ok(())
}

/// `tradewind parked …`.
pub async fn print_parked(settings: &Settings, what: &Parked) -> Result<()> {
    let client = Engine::connect_only(settings.engine()).await?.client();
    match what {
        Parked::List { service } => list_parked(&client, *service).await,
        Parked::Show { id } => {
            let (_, view) = find_parked(&client, id).await?;
            say!("{}", serde_json::to_string_pretty(&view)?);
            Ok(())
        }
        Parked::Redrive { id, edited } => redrive(&client, id, edited.as_deref()).await,
    }
}

async fn list_parked(client: &Client, service: Option<Projected>) -> Result<()> {
    let services = service.map_or(SERVICES.to_vec(), |service| vec![service.name()]);
    let (parked, silent) = ask_for_parked(client, &services).await?;
    for (service, ParkedView { row, .. }) in &parked {
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
    say!("{} parked", parked.len());
    if !silent.is_empty() {
        bail!("no answer from {}: what is parked there is not shown; {RUNNING}", silent.join(", "));
    }
    Ok(())
}

/// What to look at when a service does not answer.
const RUNNING: &str = "see whether it runs";

/// What is parked, with its service, and which services do not answer.
async fn ask_for_parked(
    client: &Client,
    services: &[&'static str],
) -> Result<(Vec<(&'static str, ParkedView)>, Vec<&'static str>)> {
    let ask = async |service: &&'static str| (*service, client.parked(service).await);
    let (mut parked, mut silent) = (Vec::new(), Vec::new());
    for (service, answer) in join_all(services.iter().map(ask)).await {
        match answer {
            Ok(views) => parked.extend(views.into_iter().map(|view| (service, view))),
            Err(AskError::Silent { .. }) => silent.push(service),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((parked, silent))
}

async fn find_parked(client: &Client, id: &str) -> Result<(&'static str, ParkedView)> {
    let (parked, silent) = ask_for_parked(client, SERVICES).await?;
    match parked.into_iter().find(|(_, view)| view.row.id == id) {
        Some(found) => Ok(found),
        None if silent.is_empty() => {
            bail!("nothing is parked under {id}; `tradewind parked list` shows what is")
        }
        None => bail!(
            "nothing is parked under {id} where it was asked; no answer from {}: {RUNNING}",
            silent.join(", ")
        ),
    }
}

async fn redrive(client: &Client, id: &str, edited: Option<&Path>) -> Result<()> {
    let (service, view) = find_parked(client, id).await?;
    let edited = match edited {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read the edited message in {}", file.display()))?;
            let json = serde_json::from_str(&text)
                .with_context(|| format!("parse the edited message in {}", file.display()))?;
            Some(json)
        }
    };
    let done = client.redrive(service, view.row.partition, id, edited).await?;
    say!("{} handled, {} still parked", done.handled.len(), done.still_parked.len());
    if !done.still_parked.is_empty() {
        bail!("{} failed again; `tradewind parked show` tells why", done.still_parked[0]);
    }
    Ok(())
}
