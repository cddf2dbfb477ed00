//! Settings: which of them wins, and what is refused, by name and before anything is done.

use std::path::Path;

use tempfile::TempDir;

use crate::rig::{CommandOutput, bare, output};

/// A wrong value for each setting that can have one.
const WRONG: &[(&str, &str)] = &[
    ("nats-url", "nats://127.0.0.1:port"),
    ("nats-url", "http://127.0.0.1:4222"),
    ("nats-monitor-url", "127.0.0.1:8222"),
    ("database", "mysql://db/tradewind"),
    ("partitions", "0"),
    ("replicas", "7"),
    ("listen", "everywhere"),
    ("answer-timeout", "0s"),
    ("hold-ttl", "soon"),
    ("reservation-timeout", "0s"),
    ("payment-timeout", "0s"),
    ("allocation-timeout", "0s"),
    ("provider-latency", "-1s"),
    ("provider-timeout", "0s"),
    ("start-timeout", "soon"),
    ("drain-timeout", "0ms"),
    ("log", "tradewind=loud"),
    ("log", "verbos"),
    ("log-format", "xml"),
];

/// Runs `streams diff`, which fails at the address where no NATS is.
async fn diff(
    arguments: &[&str],
    environment: &[(&str, &str)],
    file: Option<(&Path, &str)>,
) -> CommandOutput {
    let mut command = bare(&["streams", "diff"]);
    if let Some((path, text)) = file {
        std::fs::write(path, text).expect("it can be written");
        command.arg("--config").arg(path);
    }
    output({
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
    for (tried, output) in [
        (&file, diff(&[], &[], from_file).await),
        (&environment, diff(&[], &variable, from_file).await),
        (&flag, diff(&["--nats-url", &flag], &variable, from_file).await),
    ] {
        assert_eq!(output.code, Some(1), "{output:?}");
        let expected = format!("error: cannot connect to NATS at {tried}; is nats-server running");
        assert!(output.err.contains(&expected), "{output:?}");
    }
}

#[tokio::test]
async fn what_the_file_may_not_hold_is_refused_by_name() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tradewind.toml");
    for (text, named) in [
        ("nats-ulr = \"nats://a\"", "there is no setting \"nats-ulr\""),
        ("partitions = [1]", "partitions must be"),
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
async fn the_cause_of_a_failure_is_printed_whatever_is_logged_and_no_password_is() {
    let url = "nats://me:hush@127.0.0.1:1";
    let failed = diff(&["--log", "off"], &[("TRADEWIND_NATS_URL", url)], None).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("error: cannot connect to NATS at nats://…@127.0.0.1:1"));
    let database = "mysql://me:hush@db/tradewind";
    let wrong = [("TRADEWIND_NATS_URL", "nats://me:hush@a:port")];
    let refused = diff(&[], &wrong, None).await;
    let other = diff(&[], &[("TRADEWIND_DATABASE", database)], None).await;
    let variables = [("TRADEWIND_NATS_URL", url), ("TRADEWIND_DATABASE", database)];
    let help = diff(&["--help"], &variables, None).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for output in [failed, refused, other, help] {
        assert!(!output.err.contains("hush") && !output.out.contains("hush"), "{output:?}");
    }
}

#[tokio::test]
async fn the_api_key_is_read_from_a_file_and_a_flag_with_it_is_refused() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "a-key-of-a-file\n").expect("it can be written");
    let file = file.to_str().expect("it is UTF-8");
    // Beyond the settings, the command fails for want of a nats-server.
    let nats = ["--nats-url", "nats://127.0.0.1:1"];
    let from_file = diff(&[&nats[..], &["--api-key-file", file]].concat(), &[], None).await;
    assert!(from_file.err.contains("cannot connect to NATS"), "{from_file:?}");
    let missing = diff(&[&nats[..], &["--api-key-file", "/nowhere/key"]].concat(), &[], None).await;
    assert!(missing.err.contains("read the API key in /nowhere/key"), "{missing:?}");
    let both = diff(
        &[&nats[..], &["--api-key-file", file]].concat(),
        &[("TRADEWIND_API_KEY", "another")],
        None,
    )
    .await;
    assert!(both.err.contains("api-key and api-key-file are both set"), "{both:?}");
    let flag = diff(&[&nats[..], &["--api-key", "hush-hush"]].concat(), &[], None).await;
    assert!(flag.err.contains("set TRADEWIND_API_KEY, or --api-key-file"), "{flag:?}");
    let nats = diff(&["--nats-url", "nats://me:hush-hush@127.0.0.1:1"], &[], None).await;
    assert!(nats.err.contains("set TRADEWIND_NATS_URL"), "{nats:?}");
    let database = "postgres://me:hush-hush@127.0.0.1:1/tradewind";
    let database = diff(&["--database", database], &[], None).await;
    assert!(database.err.contains("set TRADEWIND_DATABASE"), "{database:?}");
    assert_eq!([flag.code, nats.code, database.code], [Some(2); 3]);
    for output in [from_file, missing, both, flag, nats, database] {
        assert!(
            !output.err.contains("hush-hush") && !output.err.contains("a-key-of"),
            "{output:?}"
        );
    }
}

/// A gateway alone waits for the streams, which services create.
async fn make_streams(url: &str) {
    let made = output(bare(&["streams", "apply", "--nats-url", url])).await;
    assert_eq!(made.code, Some(0), "{made:?}");
}

#[tokio::test]
async fn a_gateway_does_not_start_with_a_key_that_can_be_guessed() {
    let server = testkit::TestServer::start().await;
    let url = server.url();
    make_streams(&url).await;
    for (key, listen, problem) in [
        ("", "127.0.0.1:0", "API key is empty"),
        ("too-short", "0.0.0.0:0", "must have at least 16"),
    ] {
        let mut command = bare(&["serve", "gateway", "--nats-url", &url, "--listen", listen]);
        let refused = output({
            command.env("TRADEWIND_API_KEY", key);
            command
        })
        .await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(problem), "{refused:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_others_can_reach_does_not_speak_plain_http_unless_it_may() {
    let server = testkit::TestServer::start().await;
    let url = server.url();
    make_streams(&url).await;
    let serve = ["serve", "gateway", "--nats-url", &url, "--listen", "0.0.0.0:0"];
    for (flags, problem) in [
        (
            &[][..],
            "set tls-cert-file and tls-key-file, or listen on 127.0.0.1, or set allow-plain-http",
        ),
        (&["--tls-cert-file", "cert.pem"], "go together: set both of them"),
        (
            &["--tls-cert-file", "none.pem", "--tls-key-file", "none.pem"],
            "prepare TLS: read none.pem",
        ),
    ] {
        let mut command = bare(&[&serve[..], flags].concat());
        let refused = output({
            command.env("TRADEWIND_API_KEY", "sixteen-letters!");
            command
        })
        .await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(problem), "{refused:?}");
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
        let help = output(bare(arguments)).await;
        assert_eq!(help.code, Some(0), "{arguments:?}");
        assert!(help.out.contains("NATS_SERVER"), "{arguments:?}: {}", help.out);
    }
}

#[tokio::test]
async fn serving_warns_of_a_server_that_lets_everybody_in() {
    let warning = "nats-server lets everybody in who reaches it";
    let open = testkit::TestServer::start().await;
    let closed = testkit::TestServer::start_with_users(node::nats_users::for_this_run()).await;
    for (server, is_open) in [(&open, true), (&closed, false)] {
        let operator = if is_open { server.url() } else { server.url_of("operator") };
        let mut apply = bare(&["streams", "apply"]);
        apply.env("TRADEWIND_NATS_URL", operator);
        let made = output(apply).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let mut serve = bare(&["serve", "gateway", "--listen", "127.0.0.1:0"]);
        // Such a key is refused after the server was looked at.
        serve.env("TRADEWIND_NATS_URL", server.url()).env("TRADEWIND_API_KEY", "");
        let served = output(serve).await;
        assert_eq!(served.code, Some(1), "{served:?}");
        assert_eq!(served.err.contains(warning), is_open, "{served:?}");
    }
}
