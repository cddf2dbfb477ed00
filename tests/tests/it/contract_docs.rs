//! `docs/events.md` and `docs/asyncapi.json` say what the contract says, with examples of a real run.
//!
//! Both are made of `proto/` and of the events of some runs in which nearly everything happens.
//! `make docs` writes them anew; otherwise they are compared with what is committed.

mod asyncapi;
mod day;
mod examples;
mod page;
mod trouble;

use std::{collections::BTreeMap, env, fs, path::Path};

use events::{catalogue::public_events, cloud_events, json};
use serde_json::Value;
use tests::stable;

/// An event of the run.
struct Example {
    /// As protobuf JSON, with the envelope.
    message: Value,
    /// As CloudEvents 1.0 JSON.
    cloud_event: Value,
}

/// By type: the first event of that type in the run.
type Examples = BTreeMap<String, Example>;

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_contract_are_up_to_date() {
    let mut examples = Examples::new();
    for (event_type, bytes) in examples::of_runs().await {
        let message =
            json::to_json("tradewind.events.v1.Event", &bytes).expect("an event has a JSON form");
        let cloud_event = cloud_events::render(&bytes).expect("a public event is rendered");
        let [message, cloud_event] = [message, cloud_event].map(stable::without_chance);
        examples.entry(event_type).or_insert(Example { message, cloud_event });
    }
    let missing: Vec<_> = public_events()
        .iter()
        .map(events::catalogue::PublicEvent::event_type)
        .filter(|event_type| !examples.contains_key(event_type))
        .collect();
    assert_eq!(missing, [""; 0], "did not happen in the run");

    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    check(&docs.join("events.md"), &page::render(&examples));
    check(&docs.join("asyncapi.json"), &asyncapi::render(&examples));
}

/// Compares a file with what it should be, or writes it.
fn check(path: &Path, expected: &str) {
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, expected).expect("it can be written");
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(expected.lines()).find(|(one, other)| one != other);
    assert!(
        committed == expected,
        "{} is not what the contract says: run `make docs` and commit it; the first difference: {differs:?}",
        path.display()
    );
}
