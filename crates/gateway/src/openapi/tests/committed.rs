//! `docs/openapi.json` is the document, and a change of it breaks nobody who relies on the one before.

use std::{env, fs, path::Path};

use serde_json::Value;

use super::{breaking::breaking_changes, document};

/// `make docs` writes the document anew, unless that breaks those who rely on it; `UPDATE_DOCS=breaking` also then.
#[test]
fn the_committed_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let mut text = serde_json::to_string_pretty(document()).expect("is JSON");
    text.push('\n');
    let committed = fs::read_to_string(&path).expect("it is committed");
    let before: Value = serde_json::from_str(&committed).expect("is JSON");
    let broken = breaking_changes(&before, document());
    let update = env::var("UPDATE_DOCS").unwrap_or_default();
    assert!(
        broken.is_empty() || update == "breaking",
        "this breaks those who rely on docs/openapi.json; if it is meant, run `make docs UPDATE=breaking`:\n{}",
        broken.join("\n")
    );
    if !update.is_empty() {
        fs::write(&path, &text).expect("it can be written");
        return;
    }
    let differs = committed.lines().zip(text.lines()).find(|(one, other)| one != other);
    assert!(
        committed == text,
        "docs/openapi.json is not what the routes say: run `make docs` and commit it; the first difference: {differs:?}"
    );
}
