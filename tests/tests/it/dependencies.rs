//! Who may depend on whom, and why on what: the shape of the workspace, checked on its manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use node::services::NAMES as SERVICES;
use serde_json::Value;

const SECTION: &str = "[workspace.dependencies]";
const CODE_MAP: &str = "## Code map";

#[test]
fn dependencies_keep_to_the_architecture() {
    let workspace = Workspace::read();
    let others = [
        "audit",
        "client",
        "engine",
        "events",
        "gateway",
        "lab",
        "mail",
        "node",
        "postgres-server",
        "protocol",
        "testkit",
        "webhook-http",
    ];
    for name in SERVICES.iter().chain(&others) {
        assert!(
            workspace.0.contains_key(*name),
            "the rules name {name}, which is no crate of ours"
        );
    }
    let violations = violations(&workspace);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_engine_and_what_it_is_built_on_name_no_service() {
    for name in ["engine", "protocol", "testkit"] {
        let mut files = Vec::new();
        collect(&root().join("crates").join(name), &mut files);
        assert!(files.len() > 3, "{name} has only {} files", files.len());
        for file in files {
            let text = fs::read_to_string(&file).expect("it is text");
            let named = service_names(&text);
            assert!(named.is_empty(), "{} names {}", file.display(), named.join(", "));
        }
    }
}

/// It could be published by itself: what is the program's own comes with its `Program`.
#[test]
fn the_engine_names_no_product_and_needs_no_file_of_one() {
    let folder = root().join("crates/engine").canonicalize().expect("it is there");
    let mut files = ["Cargo.toml", "tests/streams.toml"].map(|it| folder.join(it)).to_vec();
    collect(&folder, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let named = product_names(&text);
        assert!(named.is_empty(), "{} names {}", file.display(), named.join(", "));
        for included in included(&text) {
            let path = file.parent().expect("it is in a folder").join(included);
            let path = path.canonicalize().expect("it is there");
            assert!(path.starts_with(&folder), "{} includes {included}", file.display());
        }
    }
}

/// Lists what names the product in a text: its name, its parts, the flags of its commands.
fn product_names(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words = ["tradewind", "gateway", "checkout", "webhook", "--nats", "--embedded"];
    words.into_iter().filter(|word| text.contains(word)).collect()
}

/// The files that a source file includes, as it names them.
fn included(text: &str) -> impl Iterator<Item = &str> {
    text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn a_product_is_found_by_its_name_and_a_file_by_its_path() {
    assert_eq!(product_names("run `tradewind log void`"), ["tradewind"]);
    assert_eq!(product_names("Tradewind, with --nats-key-file"), ["tradewind", "--nats"]);
    assert_eq!(product_names("nats-server --config"), [""; 0]);
    let text = "a(include_str!(\"../a.toml\")); b(include_str!(\"b\"))";
    assert_eq!(included(text).collect::<Vec<_>>(), ["../a.toml", "b"]);
}

/// Collects the Rust files in a folder and those within it.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Lists the names of services in a text: as a name in quotes, as a stream, as a token of a subject. As
/// a word of English, an order may be one of rows.
fn service_names(text: &str) -> Vec<String> {
    let forms = |service: &str| {
        let upper = service.to_uppercase();
        let mut forms =
            vec![format!("live.{service}."), format!("{upper}-"), format!("{upper}S\"")];
        // A shop is the engine's own word, too: the tenant of every message.
        if service != "shop" {
            forms.extend([format!("\"{service}\""), format!("\"{service}.")]);
        }
        forms
    };
    let forms = SERVICES.into_iter().flat_map(forms);
    let words = ["catalog", "inventory", "payment", "sku", "PlaceOrder", "place_order"];
    let all = forms.chain(words.map(str::to_owned));
    all.filter(|name| text.contains(name.as_str())).collect()
}

#[test]
fn a_service_is_found_by_its_name_and_an_order_of_rows_is_none() {
    let none = Vec::<String>::new();
    assert_eq!(service_names("rows in order, `order by key`, an order"), none);
    assert_eq!(service_names("query(\"order\")"), ["\"order\""]);
    assert_eq!(service_names("ORDER-0"), ["ORDER-"]);
    assert_eq!(service_names("SHOP-0 of \"shop\""), ["SHOP-"]);
    assert_eq!(service_names("inbox.0.live.order.acme.x"), ["live.order."]);
    assert_eq!(service_names("the catalogue"), ["catalog"]);
}

/// Bytes become values of the domain in `wire`, and the JSON of HTTP is the gateway's.
#[test]
fn a_service_sees_messages_in_its_wire_alone_and_no_http() {
    for name in SERVICES {
        let mut files = Vec::new();
        collect(&root().join("crates").join(name).join("src"), &mut files);
        for file in files {
            let shown = file.display().to_string();
            let text = fs::read_to_string(&file).expect("it is text");
            let text = text.replace("webhook_http::", "");
            assert!(!text.contains("http::"), "{shown} knows the JSON of HTTP");
            if !["/wire", "tests"].iter().any(|part| shown.contains(part)) {
                assert!(!text.contains("proto::"), "{shown} sees messages; wire.rs alone does");
            }
        }
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    assert!(manifest.contains(SECTION), "Cargo.toml has no {SECTION}");
    let missing = unexplained(&manifest);
    assert!(missing.is_empty(), "no comment directly above, in Cargo.toml: {}", missing.join(", "));
}

#[test]
fn the_code_map_shows_every_crate() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    let map = code_map(&page);
    assert!(!map.is_empty(), "docs/architecture.md has no table under {CODE_MAP:?}");
    let mapped: Vec<_> = map.iter().map(|(name, _)| name.clone()).collect();
    let folders = fs::read_dir(root().join("crates")).expect("there are crates");
    let mut folders: Vec<String> = folders
        .map(|it| it.expect("can be read").file_name().into_string().expect("UTF-8"))
        .collect();
    folders.sort();
    assert_eq!(mapped, folders, "the code map of docs/architecture.md, and the folders in crates/");
    for (name, manifest) in Workspace::manifests() {
        let folder = manifest.parent().and_then(|it| it.file_name()).expect("it is in a folder");
        assert_eq!(name.as_str(), folder, "a crate has the name of its folder");
    }
    let workspace = Workspace::read();
    for (name, shown) in map {
        let of_ours = |dependency: &&Dependency| {
            dependency.is_normal && workspace.0.contains_key(&dependency.name)
        };
        let dependencies = workspace.0[&name].iter().filter(of_ours);
        let dependencies: BTreeSet<_> = dependencies.map(|it| it.name.clone()).collect();
        assert_eq!(shown, dependencies, "the code map and the manifest of {name}");
    }
}

/// The rows of the code map by the name of the crate: the crates in the last column. "The services" are all
/// of them.
fn code_map(page: &str) -> Vec<(String, BTreeSet<String>)> {
    let section = page.lines().skip_while(|line| *line != CODE_MAP).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## "));
    let read = |row: &str| {
        let (name, _) = row.strip_prefix("| `")?.split_once('`')?;
        let (_, last) = row.strip_suffix(" |")?.rsplit_once(" | ")?;
        let named = last.split('`').skip(1).step_by(2).map(str::to_owned);
        let services = SERVICES.into_iter().filter(|_| last.contains("the services"));
        Some((name.to_owned(), named.chain(services.map(str::to_owned)).collect()))
    };
    let mut rows: Vec<_> = rows.filter_map(read).collect();
    rows.sort();
    rows
}

#[test]
fn a_code_map_names_each_crate_and_those_it_depends_on() {
    let page = "## Code map\n\n| crate | holds | depends on |\n|---|---|---|\n| `b` | B, with `x` | `a`, `c` |\n\
                | `a` | A | – |\n| `d` | D | `a`, the services |\n\n## Next\n\n| `e` | E | `a` |\n";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let all = SERVICES.into_iter().chain(["a"]).collect::<Vec<_>>();
    let expected: [(String, BTreeSet<String>); 3] =
        [("a".into(), names(&[])), ("b".into(), names(&["a", "c"])), ("d".into(), names(&all))];
    assert_eq!(code_map(page), expected);
}

/// The crates of ours that one may know; any, where none are named. The tests of all but `events` may
/// use `testkit` besides.
fn may_know(name: &str) -> Option<(&'static [&'static str], &'static str)> {
    match name {
        "protocol" => Some((&[], "protocol is what all others are built on")),
        "events" => Some((
            &["protocol"],
            "events is for integrators too: protocol, and no other crate of ours",
        )),
        "trace-context" => Some((&[], "trace-context is for libraries: no other crate of ours")),
        "telemetry" => Some((&["trace-context"], "telemetry knows nothing of what a process does")),
        "engine" => Some((
            &["protocol", "trace-context"],
            "engine knows protocol and trace-context: no contract and no service",
        )),
        "gateway" => {
            let ours = &[
                "events",
                "engine",
                "mail",
                "person-keys",
                "protocol",
                "trace-context",
                "webhook-http",
            ];
            Some((ours, "nobody but node knows a service"))
        }
        "person-keys" => {
            Some((&["protocol"], "what opens personal data knows no contract and no service"))
        }
        "postgres-server" => {
            Some((&[], "postgres-server starts a server, and knows nobody of ours"))
        }
        "webhook-http" => {
            Some((&[], "webhook-http makes HTTP requests, and knows no event and nobody of ours"))
        }
        "mail" => {
            Some((&[], "mail makes mails and sends them, and knows no event and nobody of ours"))
        }
        "testkit" => Some((
            &["engine", "postgres-server", "protocol"],
            "the tests of engine use it: it knows no contract and no service",
        )),
        "foldkit" => Some((
            &["events", "engine", "protocol"],
            "the tests of services use it, no service does",
        )),
        "client" => {
            let ours = &["events", "protocol"];
            Some((ours, "client is for strangers too: the contract, and no other crate of ours"))
        }
        "audit" => Some((
            &["events", "engine", "protocol"],
            "the auditor shares no code with what it checks: the contract, and raw logs from engine",
        )),
        "node" => Some((
            &[
                "events",
                "engine",
                "gateway",
                "catalog",
                "inventory",
                "mail",
                "notify",
                "order",
                "payment",
                "person-keys",
                "protocol",
                "shop",
                "webhook-http",
            ],
            "node runs services, and knows nobody who runs it",
        )),
        "lab" => Some((
            &[
                "audit",
                "client",
                "engine",
                "events",
                "node",
                "postgres-server",
                "protocol",
                "webhook-http",
            ],
            "lab reaches services through node and client alone, and measures what sends webhooks",
        )),
        "tradewind" => Some((
            &["client", "engine", "events", "lab", "node", "person-keys", "protocol", "telemetry"],
            "the command line reaches services through node alone",
        )),
        "notify" => Some((
            &["events", "engine", "mail", "person-keys", "protocol", "webhook-http"],
            "a service knows the contract and engine; this one sends, and opens what it sends with",
        )),
        service if SERVICES.contains(&service) => Some((
            &["events", "engine", "protocol"],
            "a service knows the contract and engine, and no other crate of ours",
        )),
        _ => None,
    }
}

/// Whether the crate is the contract, which integrators use as well.
fn is_contract(name: &str) -> bool {
    ["events", "protocol"].contains(&name)
}

/// Lists what contradicts the architecture.
fn violations(workspace: &Workspace) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, dependencies) in &workspace.0 {
        for Dependency { name: other, is_normal } in dependencies {
            // The program for integrators is one of its examples.
            if (name.as_str(), other.as_str(), is_normal) == ("tradewind", "async-nats", &false) {
                continue;
            }
            let is_for_tests = !is_normal
                && ["foldkit", "testkit"].contains(&other.as_str())
                && !is_contract(name);
            let may_know = may_know(name).filter(|_| workspace.0.contains_key(other));
            let rule = match (name.as_str(), other.as_str()) {
                (name, "sqlx" | "async-nats") if is_contract(name) => {
                    "the contract has no database and no broker"
                }
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
/// A comment explains what is directly below it: our own crates together, and otherwise one
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
        let packages = Self::packages().into_iter();
        Self(packages.map(|it| (text(&it["name"]), Dependency::all_of(&it))).collect())
    }

    /// By crate: where its manifest is.
    fn manifests() -> Vec<(String, PathBuf)> {
        let packages = Self::packages().into_iter();
        packages.map(|it| (text(&it["name"]), text(&it["manifest_path"]).into())).collect()
    }

    fn packages() -> Vec<Value> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(root())
            .output()
            .expect("cargo can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
        list(&metadata["packages"]).to_vec()
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
    let ours = [
        "audit",
        "client",
        "engine",
        "events",
        "foldkit",
        "gateway",
        "lab",
        "node",
        "order",
        "payment",
        "protocol",
        "telemetry",
        "testkit",
        "trace-context",
        "tradewind",
        "webhook-http",
    ];
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
fn telemetry_belongs_to_the_process_and_trace_context_to_libraries() {
    may("engine", "trace-context");
    may("gateway", "trace-context");
    may("tradewind", "telemetry");
    for name in ["engine", "gateway", "order"] {
        must_not(name, "telemetry");
    }
    must_not("telemetry", "engine");
    must_not("trace-context", "events");
}

#[test]
fn the_contract_depends_on_no_database_and_no_broker() {
    may("events", "prost");
    may("events", "protocol");
    must_not("protocol", "events");
    for name in ["events", "protocol"] {
        for other in ["engine", "order", "gateway", "testkit", "tradewind", "sqlx", "async-nats"] {
            must_not(name, other);
            assert!(!allows(name, other, false), "not even for its tests: {other}");
        }
    }
}

#[test]
fn engine_and_gateway_know_no_service() {
    may("engine", "protocol");
    may("gateway", "events");
    for name in ["engine", "testkit"] {
        must_not(name, "events");
        assert!(!allows(name, "events", false), "not even for its tests");
    }
    for name in ["engine", "gateway"] {
        for other in ["order", "tradewind"] {
            must_not(name, other);
            assert!(!allows(name, other, false));
        }
        must_not(name, "testkit");
        assert!(allows(name, "testkit", false));
    }
    must_not("engine", "gateway");
    may("gateway", "engine");
    may("node", "order");
}

#[test]
fn the_client_knows_the_contract_alone() {
    may("client", "events");
    for other in ["engine", "node", "order", "gateway"] {
        must_not("client", other);
        assert!(!allows("client", other, false));
    }
}

#[test]
fn the_auditor_shares_no_code_with_what_it_checks() {
    may("audit", "events");
    may("audit", "engine");
    for other in ["order", "node", "lab", "client", "gateway"] {
        must_not("audit", other);
        assert!(!allows("audit", other, false));
    }
}

#[test]
fn services_are_reached_through_node() {
    for name in ["lab", "tradewind"] {
        may(name, "node");
        must_not(name, "order");
        must_not(name, "gateway");
    }
    for other in ["lab", "tradewind", "client", "audit"] {
        must_not("node", other);
    }
}

#[test]
fn what_sends_webhooks_knows_nobody() {
    for other in ["engine", "events", "protocol", "client", "order", "async-nats"] {
        must_not("webhook-http", other);
    }
    assert!(allows("webhook-http", "testkit", false));
    may("lab", "webhook-http");
    must_not("tradewind", "webhook-http");
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
