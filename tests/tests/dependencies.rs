//! Who may depend on whom, and why on what: the shape of the workspace, checked on its manifests.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command};

use serde_json::Value;

const SERVICES: [&str; 4] = ["catalog", "inventory", "order", "payment"];
const SECTION: &str = "[workspace.dependencies]";

#[test]
fn dependencies_keep_to_the_architecture() {
    let workspace = Workspace::read();
    for name in SERVICES.iter().chain(&["engine", "events", "gateway", "testkit"]) {
        assert!(
            workspace.0.contains_key(*name),
            "the rules name {name}, which is no crate of ours"
        );
    }
    let violations = violations(&workspace);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    assert!(manifest.contains(SECTION), "Cargo.toml has no {SECTION}");
    let missing = unexplained(&manifest);
    assert!(missing.is_empty(), "no comment directly above, in Cargo.toml: {}", missing.join(", "));
}

/// The crates of ours that one may know; any, where none are named. The tests of all but `events` may
/// use `testkit` besides.
fn may_know(name: &str) -> Option<(&'static [&'static str], &'static str)> {
    match name {
        "events" => Some((&[], "events is for integrators too: no other crate of ours")),
        "engine" => Some((&["events"], "engine knows events, and no other crate of ours")),
        "gateway" | "testkit" => {
            Some((&["events", "engine"], "nobody but the binary knows a service"))
        }
        service if SERVICES.contains(&service) => Some((
            &["events", "engine"],
            "a service knows events and engine, and no other crate of ours",
        )),
        _ => None,
    }
}

/// Lists what contradicts the architecture.
fn violations(workspace: &Workspace) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, dependencies) in &workspace.0 {
        for Dependency { name: other, is_normal } in dependencies {
            let is_for_tests = !is_normal && other == "testkit" && name != "events";
            let may_know = may_know(name).filter(|_| workspace.0.contains_key(other));
            let rule = match (name.as_str(), other.as_str()) {
                ("events", "sqlx" | "async-nats") => "events has no database and no broker",
                (name, "async-nats") if !["engine", "testkit"].contains(&name) => {
                    "only engine talks to NATS, and testkit where a test must"
                }
                (_, other) => match may_know {
                    Some((ours, rule)) if !ours.contains(&other) && !is_for_tests => rule,
                    Some(_) | None => continue,
                },
            };
            violations.push(format!("{name} depends on {other}: {rule}"));
        }
    }
    violations
}

/// Lists the entries of `[workspace.dependencies]` that no comment explains.
///
/// A comment explains what stands directly below it: our own crates together, and otherwise one
/// crate with those whose names begin with its name.
fn unexplained(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().skip_while(|line| *line != SECTION).skip(1);
    let mut missing = Vec::new();
    let mut is_commented = false;
    // The crate that the comment above begins with, and whether it is ours.
    let mut explained: Option<(&str, bool)> = None;
    for line in section.take_while(|line| !line.starts_with('[')) {
        if line.starts_with('#') || line.is_empty() {
            is_commented = line.trim_start_matches('#').contains(char::is_alphabetic);
            explained = None;
        } else if let Some((name, value)) = line.split_once(" = ") {
            let is_ours = value.starts_with("{ path = ");
            explained = match explained {
                None if is_commented => Some((name, is_ours)),
                Some((first, true)) if is_ours => Some((first, true)),
                Some((first, false)) if name.starts_with(first) => Some((first, false)),
                _ => {
                    missing.push(name);
                    None
                }
            };
            is_commented = false;
        }
    }
    missing
}

/// The crates of the workspace by name, with what each depends on.
struct Workspace(BTreeMap<String, Vec<Dependency>>);

struct Dependency {
    name: String,
    /// Neither for tests nor for the build script.
    is_normal: bool,
}

impl Workspace {
    fn read() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(root())
            .output()
            .expect("cargo can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");

        let packages = list(&metadata["packages"]).iter();
        Self(packages.map(|it| (text(&it["name"]), Dependency::all_of(it))).collect())
    }
}

impl Dependency {
    fn all_of(package: &Value) -> Vec<Self> {
        let dependencies = list(&package["dependencies"]).iter();
        dependencies
            .map(|it| Self { name: text(&it["name"]), is_normal: it["kind"].is_null() })
            .collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo metadata has a text here").to_owned()
}

/// Tells whether the crate may have the dependency, for all its code or for its tests only.
fn allows(name: &str, dependency: &str, is_normal: bool) -> bool {
    let ours = ["engine", "events", "gateway", "order", "payment", "testkit", "tradewind"];
    let mut crates: BTreeMap<_, _> = ours.map(|it| (it.to_owned(), Vec::new())).into();
    crates.insert(name.to_owned(), vec![Dependency { name: dependency.to_owned(), is_normal }]);
    violations(&Workspace(crates)).is_empty()
}

#[track_caller]
fn may(name: &str, dependency: &str) {
    assert!(allows(name, dependency, true), "{name} may depend on {dependency}");
}

#[track_caller]
fn must_not(name: &str, dependency: &str) {
    assert!(!allows(name, dependency, true), "{name} must not depend on {dependency}");
}

#[test]
fn a_service_depends_on_events_and_engine_alone() {
    may("order", "events");
    may("order", "engine");
    may("order", "sqlx");
    must_not("order", "payment");
    must_not("order", "gateway");
    assert!(allows("order", "testkit", false));
    must_not("order", "testkit");
    // Neither its tests nor its build script.
    assert!(!allows("order", "payment", false));
    assert!(!allows("order", "gateway", false));
}

#[test]
fn events_depends_on_no_other_crate_nor_database_nor_broker() {
    may("events", "prost");
    for other in ["engine", "order", "gateway", "testkit", "tradewind", "sqlx", "async-nats"] {
        must_not("events", other);
        assert!(!allows("events", other, false), "not even for its tests: {other}");
    }
}

#[test]
fn engine_and_gateway_know_no_service() {
    for name in ["engine", "gateway"] {
        may(name, "events");
        for other in ["order", "tradewind"] {
            must_not(name, other);
            assert!(!allows(name, other, false));
        }
        must_not(name, "testkit");
        assert!(allows(name, "testkit", false));
    }
    must_not("engine", "gateway");
    may("gateway", "engine");
    may("tradewind", "order");
}

#[test]
fn only_engine_and_testkit_talk_to_nats() {
    may("engine", "async-nats");
    may("testkit", "async-nats");
    for name in ["order", "gateway", "tradewind", "tests"] {
        must_not(name, "async-nats");
    }
}

#[test]
fn a_comment_explains_only_what_stands_below_it() {
    let manifest = r#"
[workspace.dependencies]
# Our own crates.
engine = { path = "crates/engine" }
events = { path = "crates/events" }
surplus = "1"

late = "1"
# Configuration.
serde = { version = "1", features = ["derive"] }
serde_json = "1"
stowaway = "1"
#
mute = "1"
# Logs.
tracing = "0.1"

[profile.release]
debug = 1
"#;
    assert_eq!(unexplained(manifest), ["surplus", "late", "stowaway", "mute"]);
}
