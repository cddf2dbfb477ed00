//! The contract read by strangers: types generated for Python and JavaScript, and the clients of NATS in
//! these languages, read a real stream for integrators.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use events::names::event_name;
use serde_json::{Value, json};
use testkit::{Db, eventually, install_tools};
use tests::{Installation, order, settle, stock};

/// Installs the tools and generates the types; nothing where the tools cannot be had.
async fn generate() -> Option<PathBuf> {
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers");
    let folder = install_tools(&listed, Path::new(env!("CARGO_TARGET_TMPDIR"))).await?;
    let mut script = Command::new(listed.join("generate.sh"));
    script.arg(&folder);
    let output = tokio::task::spawn_blocking(move || script.output()).await;
    let output = output.expect("it does not panic").expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(folder)
}

/// What a program prints: a line of JSON for each event.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    let lines = String::from_utf8(output.stdout).expect("it prints text");
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_javascript_read_what_rust_reads() {
    let Some(folder) = generate().await else { return };
    let db = Db::sqlite();
    let installation =
        Installation::start(&db, |settings| settings.integrator_streams = true).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    settle(&api, &order("MUG", 2, "card"), "first").await;
    settle(&api, &order("MUG", 9, "card"), "too-many").await;

    for (service, stream) in [("order", "ORDERS"), ("inventory", "INVENTORIES")] {
        let log = format!("{}-0", service.to_uppercase());
        // The log holds what the engine records for itself as well, the stream does not.
        let facts: Vec<_> = installation.server.events::<events::proto::Event>(&log).await;
        let facts = facts.into_iter().filter(|entry| !entry.subject.starts_with("engine."));
        let expected: Vec<_> = facts.map(|entry| line(service, &entry.event)).collect();
        assert!(expected.len() >= 3, "{expected:?}");
        eventually("the stream holds them all", async || {
            let stream = installation.server.jetstream().await.get_stream(stream).await;
            let state = stream.expect("it is there").cached_info().state.clone();
            state.messages == expected.len() as u64
        })
        .await;

        let url = installation.settings.nats_url.as_str();
        let count = expected.len().to_string();
        assert_eq!(run(&folder, "python/bin/python", &["read.py", url, stream, &count]), expected);
        let mut read = run(&folder, "node", &["read.mjs", url, stream, &count]);
        for line in &mut read {
            // JavaScript names the members of a oneof in its own way.
            line.as_object_mut().expect("an object").remove("kind").expect("it is known");
        }
        assert_eq!(read, expected);
    }
    installation.stop_and_verify().await;
}

/// What a reader prints of an event.
fn line(service: &str, event: &events::proto::Event) -> Value {
    let name = event.body.as_ref().and_then(event_name).expect("it has a name");
    json!({
        "id": event.id,
        "type": format!("{service}.{name}"),
        "shop": event.shop,
        "aggregate": event.aggregate_id,
        "version": event.aggregate_version.to_string(),
        "position": event.position.to_string(),
    })
}

#[tokio::test]
async fn the_asyncapi_document_is_valid() {
    let Some(folder) = generate().await else { return };
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.json");
    let output = Command::new("node")
        .args(["check_asyncapi.mjs", document])
        .current_dir(folder)
        .output()
        .expect("node runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected = format!("3.0.0 {} messages", events::catalogue::public_events().len());
    assert_eq!(printed.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}
