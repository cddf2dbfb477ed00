//! Settings: which of them wins, and what is refused, by name and before anything is done.

use std::path::Path;

use tempfile::TempDir;

use crate::rig::{Said, bare, said};

/// A wrong value for each setting that can have one.
const WRONG: &[(&str, &str)] = &[
    ("nats-url", "nats://127.0.0.1:port"),
    ("nats-url", "http://127.0.0.1:4222"),
    ("nats-monitor-url", "127.0.0.1:8222"),
    ("database", "mysql://db/tradewind"),
    ("partitions", "0"),
    ("replicas", "7"),
    ("listen", "everywhere"),
    ("answer-within", "0s"),
    ("hold-ttl", "soon"),
    ("reserve-within", "0s"),
    ("pay-within", "0s"),
    ("allocate-within", "0s"),
    ("provider-latency", "-1s"),
    ("provider-timeout", "0s"),
    ("drain-within", "0ms"),
    ("log", "tradewind=loud"),
    ("log", "verbos"),
    ("log-format", "xml"),
];

/// Runs `streams diff`, which fails at the address where no NATS is.
async fn diff(
    arguments: &[&str],
    environment: &[(&str, &str)],
    file: Option<(&Path, &str)>,
) -> Said {
    let mut command = bare(&["streams", "diff"]);
    if let Some((path, text)) = file {
        std::fs::write(path, text).expect("it can be written");
        command.arg("--config").arg(path);
    }
    said({
        command.args(arguments).envs(environment.iter().copied());
        command
    })
    .await
}

#[tokio::test]
async fn a_wrong_value_is_refused_by_name_wherever_it_came_from() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tradewind.toml");
    for (name, value) in WRONG {
        let variable = format!("TRADEWIND_{}", name.replace('-', "_").to_uppercase());
        let line = format!("{name} = {value:?}");
        for refused in [
            diff(&[&format!("--{name}={value}")], &[], None).await,
            diff(&[], &[(&variable, value)], None).await,
            diff(&[], &[], Some((&path, &line))).await,
        ] {
            assert_eq!(refused.code, Some(2), "{name} = {value}: {refused:?}");
            assert!(refused.err.contains(&format!("--{name}")), "{name} = {value}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tradewind.toml");
    let at = |port| format!("nats://127.0.0.1:{port}");
    let (file, environment, flag) = (at(1), at(2), at(3));
    let line = format!("nats-url = {file:?}");
    let from_file = Some((path.as_path(), line.as_str()));
    let variable = [("TRADEWIND_NATS_URL", environment.as_str())];
    for (tried, said) in [
        (&file, diff(&[], &[], from_file).await),
        (&environment, diff(&[], &variable, from_file).await),
        (&flag, diff(&["--nats-url", &flag], &variable, from_file).await),
    ] {
        assert_eq!(said.code, Some(1), "{said:?}");
        let expected = format!("error: cannot connect to NATS at {tried}; is nats-server running");
        assert!(said.err.contains(&expected), "{said:?}");
    }
}

#[tokio::test]
async fn what_the_file_may_not_hold_is_refused_by_name() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tradewind.toml");
    for (text, named) in [
        ("nats-ulr = \"nats://a\"", "there is no setting \"nats-ulr\""),
        ("partitions = 1.5", "partitions must be a text, a whole number"),
        ("partitions = ", "parse the settings"),
    ] {
        let refused = diff(&[], &[], Some((&path, text))).await;
        assert_eq!(refused.code, Some(2), "{text}: {refused:?}");
        assert!(refused.err.contains(named), "{text}: {refused:?}");
        assert!(refused.err.contains("tradewind.toml"), "{text}: {refused:?}");
    }
    let missing = diff(&["--config", "/nowhere/tradewind.toml"], &[], None).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("/nowhere/tradewind.toml"), "{missing:?}");
}

#[tokio::test]
async fn why_it_failed_is_said_whatever_is_logged_and_no_password_is() {
    let url = "nats://me:hush@127.0.0.1:1";
    let failed = diff(&["--log", "off", "--nats-url", url], &[], None).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("error: cannot connect to NATS at nats://…@127.0.0.1:1"));
    let database = "mysql://me:hush@db/tradewind";
    let refused = diff(&["--nats-url", "nats://me:hush@a:port"], &[], None).await;
    let other = diff(&["--database", database], &[], None).await;
    let variables = [("TRADEWIND_NATS_URL", url), ("TRADEWIND_DATABASE", database)];
    let help = diff(&["--help"], &variables, None).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for said in [failed, refused, other, help] {
        assert!(!said.err.contains("hush") && !said.out.contains("hush"), "{said:?}");
    }
}

#[tokio::test]
async fn help_names_the_variable_of_the_server_where_one_is_started() {
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["bench", "--help"],
        &["replay", "retail", "--help"],
    ] {
        let help = said(bare(arguments)).await;
        assert_eq!(help.code, Some(0), "{arguments:?}");
        assert!(help.out.contains("NATS_SERVER"), "{arguments:?}: {}", help.out);
    }
}
