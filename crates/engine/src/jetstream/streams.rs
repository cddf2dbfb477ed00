//! The definitions of the streams: applied idempotently, drift named.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_nats::jetstream::{
    Context,
    context::{ContextBuilder, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, RetentionPolicy, Source, StorageType},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, jetstream::membership};

/// The largest message that the inbox may take, in bytes: its `max_message_size`. A larger input comes
/// from another service's log, and is parked without its bytes: they are read there. An edited one is
/// not larger either.
pub(crate) const MAX_INPUT_BYTES: usize = 786_432;
/// How long the server may take to make or change a stream.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The name under which a stream remembers the installation's number of partitions.
const PARTITIONS: &str = "partitions";
/// What the server adds to a stream's metadata begins with this.
const SERVER_METADATA: &str = "_nats.";

/// What an installation chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installation {
    pub(crate) partitions: u32,
    pub(crate) replicas: usize,
    pub(crate) integrator_streams: bool,
    /// The services that own events.
    pub(crate) services: &'static [&'static str],
    /// The definitions, as TOML.
    pub(crate) definitions: &'static str,
}

/// How a stream differs from its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream.
    pub stream: String,
    /// Each setting that differs, as `setting: is … , should be …`; empty when the stream is missing.
    pub settings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definitions {
    stream: Vec<Definition>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of JetStream's own")]
struct Definition {
    name: String,
    /// The services that have such a stream; empty: all.
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    subjects: Vec<String>,
    sources: Option<String>,
    #[serde(default)]
    integrator: bool,
    #[serde(default)]
    storage: Storage,
    #[serde(default, deserialize_with = "duration")]
    max_age: Duration,
    #[serde(default = "default_duplicate_window", deserialize_with = "duration")]
    duplicate_window: Duration,
    #[serde(default = "unlimited")]
    max_messages_per_subject: i64,
    #[serde(default = "any_size")]
    max_message_size: i32,
    #[serde(default)]
    allow_atomic_publish: bool,
    #[serde(default)]
    allow_direct: bool,
    #[serde(default)]
    allow_message_ttl: bool,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default)]
    deny_purge: bool,
}

/// Where a stream is kept.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Storage {
    /// On disk.
    #[default]
    File,
    /// In the memory of its servers: lost when all of them restart.
    Memory,
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::File => Self::File,
            Storage::Memory => Self::Memory,
        }
    }
}

/// The stream of the inbox of a partition.
pub(crate) fn inbox(partition: u32) -> String {
    format!("INBOX-{partition}")
}

/// The stream of a service's log in a partition.
pub(crate) fn log(service: &str, partition: u32) -> String {
    format!("{}-{partition}", service.to_uppercase())
}

/// A stream beside a service's log in a partition.
pub(crate) fn side(service: &str, name: &str, partition: u32) -> String {
    format!("{}-{}-{partition}", service.to_uppercase(), name.to_uppercase())
}

/// All streams of an installation, as they should be.
pub(crate) fn wanted(installation: Installation) -> Result<Vec<Config>, Error> {
    let definitions: Definitions = toml::from_str(installation.definitions)?;
    Ok(definitions
        .stream
        .iter()
        .filter(|definition| installation.integrator_streams || !definition.integrator)
        .flat_map(|definition| expand(definition, installation))
        .collect())
}

/// The stream of the members and their claims.
pub(crate) fn members(installation: Installation) -> Result<Config, Error> {
    let wanted = wanted(installation)?.into_iter().find(|config| config.name == membership::STREAM);
    wanted.ok_or_else(|| Error::jetstream("define", membership::STREAM, "it is not in the file"))
}

/// Creates what is missing. A stream that differs is an error that says what differs.
pub(crate) async fn create_missing(context: &Context, wanted: &[Config]) -> Result<(), Error> {
    for config in wanted {
        match existing(context, &config.name).await? {
            None => {
                for_changes(context)
                    .create_stream(config.clone())
                    .await
                    .map_err(|error| Error::jetstream("create", &config.name, error))?;
                tracing::info!(stream = config.name, "created the stream");
            }
            Some(existing) => {
                let differences = compare(&existing, config)?;
                if !differences.is_empty() {
                    return Err(Error::Drift {
                        stream: config.name.clone(),
                        differences: differences.join("; "),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Fails when a stream is missing or differs, and says which.
pub(crate) async fn require(context: &Context, wanted: &[Config]) -> Result<(), Error> {
    let Some(Difference { stream, settings }) = diff(context, wanted).await?.into_iter().next()
    else {
        return Ok(());
    };
    if settings.is_empty() {
        return Err(Error::NoStream { stream });
    }
    Err(Error::Drift { stream, differences: settings.join("; ") })
}

/// Creates what is missing and changes what differs; returns what it did.
pub(crate) async fn apply(context: &Context, wanted: &[Config]) -> Result<Vec<Difference>, Error> {
    let differences = diff(context, wanted).await?;
    // Another number of partitions would look for a shop's past in another stream.
    for Difference { stream, settings } in &differences {
        if let Some(setting) = settings.iter().find(|setting| setting.starts_with(PARTITIONS)) {
            let differences = format!("{setting}; the number of partitions is fixed for good");
            return Err(Error::Drift { stream: stream.clone(), differences });
        }
    }
    for config in wanted {
        if differences.iter().any(|difference| difference.stream == config.name) {
            for_changes(context)
                .create_or_update_stream(config.clone())
                .await
                .map_err(|error| Error::jetstream("change", &config.name, error))?;
        }
    }
    Ok(differences)
}

/// A context that waits longer than one for questions: for a change, files are made on each server.
fn for_changes(context: &Context) -> Context {
    ContextBuilder::new().timeout(CHANGE_TIMEOUT).build(context.client())
}

/// What is missing or differs.
pub(crate) async fn diff(context: &Context, wanted: &[Config]) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    for config in wanted {
        let settings = match existing(context, &config.name).await? {
            None => Some(Vec::new()),
            Some(existing) => Some(compare(&existing, config)?).filter(|found| !found.is_empty()),
        };
        if let Some(settings) = settings {
            differences.push(Difference { stream: config.name.clone(), settings });
        }
    }
    Ok(differences)
}

async fn existing(context: &Context, name: &str) -> Result<Option<Config>, Error> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(ref answer) if answer.code() == 404 => Ok(None),
            _ => Err(Error::jetstream("inspect", name, error)),
        },
    }
}

/// The streams that one definition describes.
fn expand(definition: &Definition, installation: Installation) -> Vec<Config> {
    let services: &[&str] =
        if definition.name.contains("{SERVICE") { installation.services } else { &["all"] };
    let partitions =
        if definition.name.contains("{partition}") { installation.partitions } else { 1 };
    services
        .iter()
        .filter(|service| {
            definition.services.is_empty() || definition.services.iter().any(|it| it == *service)
        })
        .flat_map(|service| {
            (0..partitions).map(|partition| config(definition, installation, service, partition))
        })
        .collect()
}

fn config(
    definition: &Definition,
    installation: Installation,
    service: &str,
    partition: u32,
) -> Config {
    let fill = |text: &str| {
        text.replace("{SERVICES}", &plural(service).to_uppercase())
            .replace("{SERVICE}", &service.to_uppercase())
            .replace("{service}", service)
            .replace("{partition}", &partition.to_string())
    };
    let sources = definition.sources.as_ref().map(|_| {
        (0..installation.partitions)
            .map(|partition| Source {
                name: log(service, partition),
                filter_subject: Some(format!("{service}.{partition}.>")),
                ..Default::default()
            })
            .collect()
    });
    Config {
        name: fill(&definition.name),
        subjects: definition.subjects.iter().map(|subject| fill(subject)).collect(),
        sources,
        retention: RetentionPolicy::Limits,
        storage: definition.storage.into(),
        discard: DiscardPolicy::Old,
        num_replicas: installation.replicas,
        max_age: definition.max_age,
        duplicate_window: definition.duplicate_window,
        max_messages: -1,
        max_bytes: -1,
        max_message_size: definition.max_message_size,
        max_consumers: -1,
        max_messages_per_subject: definition.max_messages_per_subject,
        allow_atomic_publish: definition.allow_atomic_publish,
        allow_direct: definition.allow_direct,
        allow_message_ttl: definition.allow_message_ttl,
        deny_delete: definition.deny_delete,
        deny_purge: definition.deny_purge,
        metadata: HashMap::from([(PARTITIONS.to_owned(), installation.partitions.to_string())]),
        ..Default::default()
    }
}

/// The plural of a service's name: `till` → `tills`, `tally` → `tallies`.
fn plural(service: &str) -> String {
    match service.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{service}s"),
    }
}

/// Each setting that differs, with both values, by its name in JetStream's own JSON.
fn compare(existing: &Config, wanted: &Config) -> Result<Vec<String>, Error> {
    let read = |config: &Config| {
        settings(config).map_err(|error| Error::jetstream("compare", &config.name, error))
    };
    let (is, should) = (read(existing)?, read(wanted)?);
    let names: BTreeSet<_> = is.keys().chain(should.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("unset", String::as_str).to_owned();
    Ok(names
        .into_iter()
        .map(|name| (name, is.get(name), should.get(name)))
        .filter(|(_, is, should)| is != should)
        .map(|(name, is, should)| format!("{name}: is {}, should be {}", shown(is), shown(should)))
        .collect())
}

/// All settings of a stream but what the server adds by itself.
fn settings(config: &Config) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let mut settings = BTreeMap::new();
    let Value::Object(members) = serde_json::to_value(config)? else { return Ok(settings) };
    for (name, value) in members {
        let shown = match name.as_str() {
            "max_age" => format!("{:?}", config.max_age),
            "duplicate_window" => format!("{:?}", config.duplicate_window),
            "metadata" => continue,
            // That it is not compressed need not be said.
            "compression" if value == "none" => continue,
            _ if value.is_null() => continue,
            _ => value.to_string(),
        };
        settings.insert(name, shown);
    }
    settings.extend(metadata(config));
    Ok(settings)
}

/// What somebody wrote down with the stream: the number of partitions, as a number.
fn metadata(config: &Config) -> impl Iterator<Item = (String, String)> {
    let own = config.metadata.iter().filter(|(name, _)| !name.starts_with(SERVER_METADATA));
    own.map(|(name, value)| match name.as_str() {
        PARTITIONS => (name.clone(), value.clone()),
        _ => (format!("metadata.{name}"), format!("{value:?}")),
    })
}

fn default_duplicate_window() -> Duration {
    Duration::from_mins(2)
}

fn any_size() -> i32 {
    -1
}

fn unlimited() -> i64 {
    -1
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is no duration: {error}")))
}

#[cfg(test)]
mod tests;
