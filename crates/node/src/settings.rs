//! How a process takes part in an installation: by flags, environment and file, in that order.

mod file;
mod gateway;
mod jwt;
mod mail;
mod nats;
mod secrets;
mod value;
mod webhooks;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use person_keys::{MasterKeys, PersonKeys};
use secrecy::{ExposeSecret, SecretString};

use self::secrets::SecretValueParser;
pub use self::{
    file::with_file,
    gateway::{GatewayOptions, RateOption},
    jwt::JwtOptions,
    mail::{MailOptions, TlsOption},
    nats::NatsOptions,
    secrets::secret_in_flags,
    webhooks::{RetryPauses, WebhookOptions},
};

/// Where the keys of persons are kept unless a setting says otherwise.
const DEFAULT_PERSON_KEYS: &str = ".data/person-keys";

/// The share of traces that is exported unless a setting says otherwise.
const DEFAULT_TRACE_RATIO: f64 = 1.0;
/// The most traces that begin in a second unless a setting says otherwise: enough to see where time goes,
/// and under load a small part of all.
const DEFAULT_TRACES_PER_SECOND: u32 = 10;

/// The id of the API key of the settings, by which events name it.
const API_KEY_ID: &str = "default";

/// The settings of a process. Each is a flag, an environment variable, and a key of the file.
#[derive(Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// A TOML file with settings, named as the flags are; flags and environment win over it
    #[arg(long, global = true, env = "TRADEWIND_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where NATS is: an address, or those of a cluster's servers, separated by commas
    #[arg(long, global = true, env = "TRADEWIND_NATS_URL", hide_env_values = true,
          default_value = "nats://127.0.0.1:4222", value_parser = SecretValueParser(value::nats_url))]
    pub nats_url: String,

    /// How the process proves to NATS who it is
    #[command(flatten)]
    pub nats: NatsOptions,

    /// Where nats-server's monitor is; asked at start whether the server fsyncs
    #[arg(long, global = true, env = "TRADEWIND_NATS_MONITOR_URL", value_name = "URL",
          value_parser = value::http_url)]
    pub nats_monitor_url: Option<String>,

    /// A folder for SQLite files, or a Postgres database: `postgres://…`
    #[arg(long, global = true, env = "TRADEWIND_DATABASE", hide_env_values = true,
          default_value = ".data/projections", value_parser = SecretValueParser(value::database))]
    pub database: String,

    /// The number of partitions: fixed for good when the installation is made; 16 in production
    #[arg(long, global = true, env = "TRADEWIND_PARTITIONS", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub partitions: u32,

    /// The number of copies of each stream: 1 on one server, 3 on a cluster of three
    #[arg(long, global = true, env = "TRADEWIND_REPLICAS", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,

    /// Keep the streams for integrators (ORDERS from ORDER-0 …); stores each event a second time
    #[arg(long, global = true, env = "TRADEWIND_INTEGRATOR_STREAMS")]
    pub integrator_streams: bool,

    /// Where the gateway listens
    #[arg(long, global = true, env = "TRADEWIND_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Who may speak to the gateway, how, and how much
    #[command(flatten)]
    pub gateway: GatewayOptions,

    /// The API key of trusted clients: by the environment, --api-key-file or the file of --config; a flag,
    /// which other users of the machine would see in `ps`, is refused
    #[arg(long, global = true, env = "TRADEWIND_API_KEY", hide_env_values = true)]
    pub api_key: Option<SecretString>,

    /// A file whose only line is the API key
    #[arg(long, global = true, env = "TRADEWIND_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// A file with further API keys, one a line: its id, the key or `sha256:` and its digest, its scopes
    /// (read, orders, prices-as-sold, erp, fulfilment, webhooks, admin), and where it is limited `shop=NAME` and
    /// `expires=TIME`, with blanks between them
    #[arg(long, global = true, env = "TRADEWIND_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,

    /// The origins whose pages may use the API from a browser, such as
    /// `https://shop.example,https://admin.example`, or `*` for all [default: none]
    #[arg(long, global = true, env = "TRADEWIND_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<::gateway::CorsOrigins>,

    /// Tokens of an external issuer
    #[command(flatten)]
    pub jwt: JwtOptions,

    /// How long the gateway waits for an answer before it says 202
    #[arg(long, global = true, env = "TRADEWIND_ANSWER_TIMEOUT", default_value = "10s",
          value_parser = value::duration)]
    pub answer_timeout: Duration,

    /// How long stock is held for an order whose payment is not authorised
    #[arg(long, global = true, env = "TRADEWIND_HOLD_TTL", default_value = "15m",
          value_parser = value::duration)]
    pub hold_ttl: Duration,

    /// How long an order waits for its stock to be held
    #[arg(long, global = true, env = "TRADEWIND_RESERVATION_TIMEOUT", default_value = "5m",
          value_parser = value::duration)]
    pub reservation_timeout: Duration,

    /// How long an order waits for its payment to be authorised
    #[arg(long, global = true, env = "TRADEWIND_PAYMENT_TIMEOUT", default_value = "10m",
          value_parser = value::duration)]
    pub payment_timeout: Duration,

    /// How long an authorised order waits for its stock to be allocated
    #[arg(long, global = true, env = "TRADEWIND_ALLOCATION_TIMEOUT", default_value = "5m",
          value_parser = value::duration)]
    pub allocation_timeout: Duration,

    /// The folder of the simulated payment provider's own ledger
    #[arg(long, global = true, env = "TRADEWIND_PROVIDER_DIR", default_value = ".data/provider")]
    pub provider_dir: PathBuf,

    /// The keys with which personal data is sealed: a folder for a SQLite file, or a Postgres database of
    /// their own that all gateways share: `postgres://…` [default: .data/person-keys; none when
    /// --database is Postgres]
    #[arg(long, global = true, env = "TRADEWIND_PERSON_KEYS", hide_env_values = true,
          value_name = "DATABASE", value_parser = SecretValueParser(value::database))]
    pub person_keys: Option<String>,

    /// The file of the master keys that encrypt these keys [default: master-keys in their folder, made
    /// at the first start; none when they are on Postgres]
    #[arg(long, global = true, env = "TRADEWIND_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,

    /// What webhooks may be sent to
    #[command(flatten)]
    pub webhooks: WebhookOptions,

    /// How mails are sent
    #[command(flatten)]
    pub mail: MailOptions,

    /// How long the simulated payment provider takes for an answer
    #[arg(long, global = true, env = "TRADEWIND_PROVIDER_LATENCY", default_value = "0ms",
          value_parser = value::duration_or_none)]
    pub provider_latency: Duration,

    /// How long the payment service waits for the provider's answer before it asks again
    #[arg(long, global = true, env = "TRADEWIND_PROVIDER_TIMEOUT", default_value = "10s",
          value_parser = value::duration)]
    pub provider_timeout: Duration,

    /// How long the payment service waits before it looks up again what has become of an operation
    /// without an answer; each further pause is twice as long, up to 16 times
    #[arg(long, global = true, env = "TRADEWIND_PROVIDER_LOOKUP_INTERVAL", default_value = "30s",
          value_parser = value::duration)]
    pub provider_lookup_interval: Duration,

    /// For how long the provider may carry out a call that it did not answer; more than
    /// --provider-timeout
    #[arg(long, global = true, env = "TRADEWIND_PROVIDER_LATE_WINDOW", default_value = "15m",
          value_parser = value::duration)]
    pub provider_late_window: Duration,

    /// After how long without an answer an operation is for an operator to settle
    #[arg(long, global = true, env = "TRADEWIND_PAYMENT_STUCK_AFTER", default_value = "1h",
          value_parser = value::duration)]
    pub payment_stuck_after: Duration,

    /// How often the provider's list of transactions is compared with our log
    #[arg(long, global = true, env = "TRADEWIND_RECONCILIATION_INTERVAL", default_value = "1h",
          value_parser = value::duration)]
    pub reconciliation_interval: Duration,

    /// Only report what differs; otherwise what the provider has set aside or taken and we do not know of
    /// is given back, and any other difference is stuck until an operator settles it
    #[arg(long, global = true, env = "TRADEWIND_RECONCILIATION_REPORTS_ONLY")]
    pub reconciliation_reports_only: bool,

    /// The file with the identity of this process: after a crash, the next process that uses it need
    /// not wait [default: node-id in the folder of the SQLite files; none with Postgres]
    #[arg(long, global = true, env = "TRADEWIND_IDENTITY_FILE", value_name = "FILE")]
    pub identity_file: Option<PathBuf>,

    /// How long services that start wait for NATS and the database
    #[arg(long, global = true, env = "TRADEWIND_START_TIMEOUT", default_value = "60s",
          value_parser = value::duration_or_none)]
    pub start_timeout: Duration,

    /// How long a process may take to stop after SIGTERM
    #[arg(long, global = true, env = "TRADEWIND_DRAIN_TIMEOUT", default_value = "10s",
          value_parser = value::duration)]
    pub drain_timeout: Duration,

    /// What is logged: a level, or `module=level,…` [default: info; warn where there is a report]
    #[arg(long, global = true, env = "TRADEWIND_LOG", value_name = "LEVEL",
          value_parser = value::log)]
    pub log: Option<String>,

    /// How it is logged
    #[arg(long, global = true, env = "TRADEWIND_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Where a collector takes traces by OTLP over HTTP; nothing is exported without it. The
    /// variables of OpenTelemetry count too
    #[arg(long, global = true, env = "TRADEWIND_OTLP_ENDPOINT", value_name = "URL",
          value_parser = value::http_url)]
    pub otlp_endpoint: Option<String>,

    /// The share of traces begun here that is exported; a caller's traces are exported if it says so
    #[arg(long, global = true, env = "TRADEWIND_TRACE_RATIO", default_value_t = DEFAULT_TRACE_RATIO,
          value_parser = value::ratio)]
    pub trace_ratio: f64,

    /// The most traces that begin here in a second and are exported; 0: no limit
    #[arg(long, global = true, env = "TRADEWIND_TRACES_PER_SECOND",
          default_value_t = DEFAULT_TRACES_PER_SECOND)]
    pub traces_per_second: u32,

    /// Where a process that serves answers GET /metrics, /healthz and /readyz, without a key; `none`:
    /// nowhere [default: 127.0.0.1:9464, unless another process has it]
    #[arg(long, global = true, env = "TRADEWIND_METRICS_LISTEN", value_name = "ADDRESS",
          value_parser = value::metrics_listen)]
    pub metrics_listen: Option<MetricsListen>,

    /// Record no metrics: for the benchmark, which measures what they cost
    #[arg(long, global = true, hide = true)]
    pub no_metrics: bool,
}

/// Where metrics and health are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Nowhere,
    /// There, or the process does not start.
    At(SocketAddr),
}

/// Where a process that serves shows metrics and health unless a setting says otherwise: to this machine
/// alone, at the port that exporters of OpenTelemetry use.
pub const DEFAULT_METRICS_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object a line, for machines.
    Json,
}

/// Shows no setting that may hold a key or a password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("config", &self.config)
            .field("partitions", &self.partitions)
            .field("replicas", &self.replicas)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The settings of the environment, and the defaults of all others.
    pub fn from_environment() -> Result<Self, clap::Error> {
        let command = Self::augment_args(Command::new("tradewind"));
        Self::from_arg_matches(&command.try_get_matches_from(["tradewind"])?)
    }

    /// Reads the files with keys, where there are any.
    pub fn read_key_files(&mut self) -> Result<()> {
        self.nats.read_files()?;
        let Some(file) = &self.api_key_file else { return Ok(()) };
        if self.api_key.is_some() {
            bail!("api-key and api-key-file are both set: unset one of them");
        }
        let key = std::fs::read_to_string(file)
            .with_context(|| format!("read the API key in {}", file.display()))?;
        self.api_key = Some(key.trim_end().into());
        Ok(())
    }

    /// The API keys of the gateway: the API key, which has all scopes, and those of the file.
    pub fn api_keys(&self) -> Result<Vec<::gateway::ApiKeySetting>> {
        let of_setting = self
            .api_key
            .iter()
            .map(|key| ::gateway::ApiKeySetting::of_everything(API_KEY_ID, key.clone()));
        let mut keys: Vec<_> = of_setting.collect();
        if let Some(file) = &self.api_keys_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read the API keys in {}", file.display()))?;
            let of_file = value::api_keys(&text);
            keys.extend(of_file.with_context(|| format!("read the file {}", file.display()))?);
        }
        if keys.is_empty() && self.jwt.issuer.is_none() {
            bail!(
                "the gateway needs an API key: set TRADEWIND_API_KEY, --api-key-file, \
                 --api-keys-file or `api-key` in the file; or jwt-issuer, whose tokens it takes"
            );
        }
        Ok(keys)
    }

    /// The API key, for those who send it; empty without one.
    pub fn exposed_api_key(&self) -> &str {
        self.api_key.as_ref().map_or("", ExposeSecret::expose_secret)
    }

    /// The keys of persons; `None` when there are no settings for them.
    pub fn person_keys(&self) -> Result<Option<PersonKeys>> {
        let keys = self.key_store()?;
        Ok(keys.map(|(location, masters)| PersonKeys::new(location, masters)))
    }

    /// The master keys, which seal the secrets of webhooks too; `None` when there are no settings for
    /// them.
    pub fn master_keys(&self) -> Result<Option<MasterKeys>> {
        Ok(self.key_store()?.map(|(_, masters)| masters))
    }

    /// Where the keys of persons are, and the master keys.
    fn key_store(&self) -> Result<Option<(&str, MasterKeys)>> {
        let is_postgres = |database: &str| {
            let location: engine::Location =
                database.parse().unwrap_or_else(|never| match never {});
            matches!(location, engine::Location::Postgres(_))
        };
        let location = match &self.person_keys {
            Some(location) => location,
            None if !is_postgres(&self.database) => DEFAULT_PERSON_KEYS,
            None if self.master_key_file.is_some() => {
                bail!("master-key-file is set without person-keys, which says where the keys are")
            }
            None => return Ok(None),
        };
        let masters = match &self.master_key_file {
            Some(file) => MasterKeys::read(file)?,
            None if is_postgres(location) => {
                bail!("person-keys is on Postgres and there is no master key: set master-key-file")
            }
            None => MasterKeys::beside(Path::new(location))?,
        };
        Ok(Some((location, masters)))
    }

    /// A name that no other process has; each call makes a new one.
    pub fn instance() -> String {
        format!("process {} on {} ({})", std::process::id(), host(), unique())
    }
}

/// The name of this machine.
fn host() -> String {
    let set = std::env::var("HOSTNAME").ok();
    let read = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = set.filter(|name| !name.is_empty()).or_else(read);
    name.map_or_else(|| "an unnamed host".to_owned(), |name| name.trim().to_owned())
}

/// A few characters that no other start of a process has: numbers of processes come again, and
/// containers may all have the same.
#[expect(clippy::disallowed_methods, reason = "the edge, where a process gets its name")]
fn unique() -> String {
    uuid::Uuid::now_v7().simple().to_string().split_off(24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_show_no_key_and_no_password() {
        let command = Settings::augment_args(Command::new("tradewind"));
        let arguments = [
            "tradewind",
            "--api-key",
            "hush",
            "--nats-url",
            "nats://me:hush@a:1",
            "--database",
            "postgres://me:hush@db/x",
        ];
        let matches = command.try_get_matches_from(arguments).expect("it parses");
        let settings = Settings::from_arg_matches(&matches).expect("it is complete");
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
