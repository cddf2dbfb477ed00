//! What a setting may be: each function takes its text and gives it back, or says what it must be.

use std::time::Duration;

use anyhow::{Context, bail};
use protocol::{id::Shop, time::Timestamp};
use url::Url;

use super::MetricsListen;

/// The longest duration: a year. Nothing that is waited for takes longer.
const MAX_DURATION: Duration = Duration::from_hours(365 * 24);
/// How much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Whose logs there are: ours, and those of the libraries that have some.
const TARGETS: [&str; 29] = [
    "tradewind",
    "node",
    "client",
    "lab",
    "engine",
    "gateway",
    "catalog",
    "inventory",
    "notify",
    "order",
    "payment",
    "shop",
    "events",
    "async_nats",
    "axum",
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry-otlp",
    "opentelemetry_sdk",
    "person_keys",
    "reqwest",
    "sqlx",
    "telemetry",
    "tokio",
    "tower",
    "tracing",
    "webhook_http",
];

/// API keys, one a line: its id, the key, its scopes, and where it is limited `shop=NAME` and `expires=TIME`,
/// with blanks between them. Empty lines and those that begin with `#` say nothing.
pub(super) fn api_keys(text: &str) -> anyhow::Result<Vec<gateway::ApiKeySetting>> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(number, line)| api_key(line).with_context(|| format!("line {number}"))).collect()
}

fn api_key(line: &str) -> anyhow::Result<gateway::ApiKeySetting> {
    let mut words = line.split_ascii_whitespace();
    let (Some(id), Some(key)) = (words.next(), words.next()) else {
        bail!("it must be an id, a key, and scopes, with blanks between them");
    };
    let mut setting = gateway::ApiKeySetting {
        id: id.to_owned(),
        key: key.into(),
        scopes: Vec::new(),
        shops: Vec::new(),
        expires_at: None,
    };
    let known = || gateway::Scope::ALL.map(gateway::Scope::as_str).join(", ");
    for word in words {
        match word.split_once('=') {
            Some(("shop", shop)) => setting.shops.push(Shop::parse(shop)?),
            Some(("expires", time)) => {
                let time = Timestamp::parse_rfc3339(time)?;
                setting.expires_at = Some(time);
            }
            // The word is not shown: it may be a part of a key.
            _ => setting.scopes.push(gateway::Scope::parse(word).with_context(|| {
                format!("a word after the key is no scope; the scopes are {}", known())
            })?),
        }
    }
    if setting.scopes.is_empty() {
        bail!("the key has no scope, so it allows nothing; the scopes are {}", known());
    }
    Ok(setting)
}

/// The address of a NATS server, or several, separated by commas.
pub(super) fn nats_url(text: &str) -> Result<String, String> {
    for (number, address) in (1..).zip(text.split(',')) {
        let address = address.trim();
        let scheme = if address.contains("://") { "" } else { "nats://" };
        let whole = format!("{scheme}{address}");
        let url = Url::parse(&whole).map_err(|error| format!("address {number}: {error}"))?;
        if !["nats", "tls"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return Err(format!("address {number} must be nats://host:port or tls://host:port"));
        }
    }
    Ok(text.to_owned())
}

/// The address of an HTTP server without TLS: nats-server's monitor, a collector of traces.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; it must be http://host:port"))?;
    match url.scheme() {
        "http" => Ok(text.to_owned()),
        _ => Err("it must be http://host:port".to_owned()),
    }
}

/// A URL by HTTPS, or of this machine.
pub(super) fn url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; it must be https://…"))?;
    match url.scheme() {
        "http" | "https" => Ok(text.to_owned()),
        _ => Err("it must be https://…".to_owned()),
    }
}

/// A share: 0 for none, 1 for all.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

/// A folder, or a Postgres database.
pub(super) fn database(text: &str) -> Result<String, String> {
    let must = "it must be a folder or postgres://user@host/database";
    match text.split_once("://") {
        None if text.is_empty() => Err(must.to_owned()),
        None => Ok(text.to_owned()),
        Some(("postgres" | "postgresql", _)) => match Url::parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("{error}; {must}")),
        },
        Some((scheme, _)) => Err(format!("{scheme} is not a database that is known; {must}")),
    }
}

/// A duration such as `15m`: not 0, and a year at most.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// A duration such as `15m`, or `0s`; a year at most.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; it must be a duration such as 250ms, 10s or 15m"))?;
    if duration > MAX_DURATION {
        return Err("it must be a year at most".to_owned());
    }
    Ok(duration)
}

/// Where metrics are shown: an address, or `none`.
pub(super) fn metrics_listen(text: &str) -> Result<MetricsListen, String> {
    if text == "none" {
        return Ok(MetricsListen::Nowhere);
    }
    let address = text.parse().map_err(|_| "must be IP:PORT, or none")?;
    Ok(MetricsListen::At(address))
}

/// What is logged: a level, or levels by target.
pub(super) fn log(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(format!("{level:?} is no level; these are: {}", LEVELS.join(", ")));
        }
        let name = target.map(|target| target.split("::").next().unwrap_or_default());
        if let Some(name) = name.filter(|name| !TARGETS.contains(name)) {
            return Err(format!("nothing logs as {name:?}; these do: {}", TARGETS.join(", ")));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use secrecy::ExposeSecret;

    use super::*;

    #[track_caller]
    fn check<T>(read: fn(&str) -> Result<T, String>, good: &[&str], wrong: &[&str]) {
        for text in good {
            assert!(read(text).is_ok(), "{text:?} is refused");
        }
        for text in wrong {
            assert!(read(text).is_err(), "{text:?} is taken");
        }
    }

    #[test]
    fn api_keys_are_read_line_by_line() {
        let read = |text: &str| {
            let keys = super::api_keys(text)?;
            let shown = keys.into_iter().map(|it| {
                let scopes: Vec<_> = it.scopes.into_iter().map(gateway::Scope::as_str).collect();
                let limits = (it.shops, it.expires_at.map(Timestamp::millis));
                (it.id, it.key.expose_secret().to_owned(), scopes, limits)
            });
            anyhow::Ok(shown.collect::<Vec<_>>())
        };
        let text = "# Who sends orders.\nshop  secret-1 read orders\n\n erp secret-2 erp \
                    shop=acme shop=beta expires=1970-01-01T00:00:05Z\n";
        let key =
            |id: &str, key: &str, scopes, limits| (id.to_owned(), key.to_owned(), scopes, limits);
        let shops = ["acme", "beta"].map(|name| Shop::parse(name).expect("is a name"));
        let expected = [
            key("shop", "secret-1", vec!["read", "orders"], (vec![], None)),
            key("erp", "secret-2", vec!["erp"], (shops.to_vec(), Some(5_000))),
        ];
        assert_eq!(read(text).expect("is good"), expected);
        for (wrong, problem) in [
            ("shop", "line 1: it must be an id, a key, and scopes, with blanks between them"),
            (
                "\nshop secret all",
                "line 2: a word after the key is no scope; the scopes are read, orders, \
                 prices-as-sold, erp, fulfilment, webhooks, admin",
            ),
            (
                "shop secret",
                "line 1: the key has no scope, so it allows nothing; the scopes are read, orders, \
                 prices-as-sold, erp, fulfilment, webhooks, admin",
            ),
        ] {
            let error = read(wrong).expect_err("is wrong");
            assert_eq!(format!("{error:#}"), problem);
        }
    }

    #[test]
    fn a_share_is_from_none_to_all() {
        check(ratio, &["0", "0.25", "1", "1.0"], &["", "-0.1", "1.1", "NaN", "inf", "half"]);
    }

    #[test]
    fn nats_is_at_one_address_or_several() {
        check(
            nats_url,
            &["nats://127.0.0.1:4222", "a:4222", "tls://b", "nats://a:1,nats://b:2, c:3"],
            &["", "http://a", "nats://", "nats://a:port", "nats://a,", "a:4222,b:port"],
        );
    }

    #[test]
    fn a_wrong_address_is_not_shown() {
        let problem = nats_url("nats://me:secret@a:port").expect_err("is wrong");
        assert!(!problem.contains("secret"), "{problem}");
    }

    #[test]
    fn the_monitor_speaks_http() {
        check(http_url, &["http://127.0.0.1:8222"], &["", "127.0.0.1:8222", "https://a", "a"]);
    }

    #[test]
    fn a_database_is_a_folder_or_postgres() {
        check(
            database,
            &[".data", "/var/lib/tradewind", "postgres://me@db/x", "postgresql://db/x"],
            &["", "mysql://db/x", "sqlite://x.db", "postgres://db:port/x"],
        );
    }

    #[test]
    fn a_duration_is_neither_nothing_nor_for_ever() {
        check(duration, &["1ms", "15m", "365d"], &["0s", "0ms", "5", "soon", "366d", "-1s"]);
        check(duration_or_none, &["0ms", "0s", "2s"], &["", "2y"]);
    }

    #[test]
    fn metrics_are_shown_at_an_address_or_nowhere() {
        check(
            metrics_listen,
            &["127.0.0.1:9464", "0.0.0.0:0", "[::1]:9000", "none"],
            &["", "9464", "localhost:9464", "off"],
        );
    }

    /// Whether a source file under the folder logs.
    fn logs(folder: &Path) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        let mut paths = entries.map(|entry| entry.expect("it can be listed").path());
        paths.any(|path| {
            if path.is_dir() {
                return logs(&path);
            }
            let text = fs::read_to_string(&path).expect("it is text");
            let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.any(|line| {
                let is_import = line.starts_with("use tracing::");
                LEVELS.iter().any(|level| {
                    line.contains(&format!("tracing::{level}!("))
                        || is_import
                            && line.split([':', '{', '}', ',', ' ', ';']).any(|it| it == *level)
                })
            })
        })
    }

    #[test]
    fn every_crate_that_logs_is_a_target() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let crates = fs::read_dir(crates).expect("they are there");
        let names = crates.map(|entry| entry.expect("it can be listed").path());
        let logging = names
            .filter(|path| logs(&path.join("src")))
            .map(|path| path.file_name().expect("a name").to_string_lossy().replace('-', "_"));
        let logging: Vec<_> = logging.collect();
        assert!(logging.iter().any(|name| name == "node"), "{logging:?}");
        for name in logging {
            assert!(log(&format!("{name}=debug")).is_ok(), "{name} is no target");
        }
    }

    #[test]
    fn what_is_logged_is_a_level_or_levels_by_target() {
        check(
            log,
            &["off", "INFO", "warn,payment=error", "sqlx::query=debug,info"],
            &["", "loud", "verbos", "tradewind=loud", "oder=info", "info,", "gateway"],
        );
    }
}
