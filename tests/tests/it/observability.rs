//! The page on observability, the dashboard and the alert rules speak of the metrics that the code
//! records, and of no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    process::Command,
};

use engine::metrics::{Kind, Metric};
use serde_json::Value;

const PAGE: &str = "docs/observability.md";
const DASHBOARD: &str = "ops/grafana/tradewind.json";
const ALERTS: &str = "ops/prometheus/alerts.yaml";

/// The one that `telemetry` records by itself, as a row of the page.
const BUILD_INFO: &str =
    "| `tradewind_build_info` | gauge | `version` | The version of the program that runs: 1. |";

#[test]
fn the_page_lists_each_metric_as_the_code_describes_it() {
    let mut rows: BTreeSet<String> = metrics().iter().map(row).collect();
    rows.insert(BUILD_INFO.to_owned());
    let page = read(PAGE);
    let listed = page.lines().filter(|line| line.starts_with("| `tradewind_"));
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    let missing: Vec<_> = rows.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&rows).collect();
    assert!(missing.is_empty(), "{PAGE} lacks {missing:#?}");
    assert!(unknown.is_empty(), "{PAGE} has what the code does not describe: {unknown:#?}");
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let expressions: Vec<String> = dashboard_expressions();
    let used: BTreeSet<String> =
        expressions.iter().flat_map(|expression| known_metrics_of(expression)).collect();
    let shown_nowhere: Vec<_> = metrics().into_keys().filter(|name| !used.contains(name)).collect();
    assert!(shown_nowhere.is_empty(), "{DASHBOARD} does not show {shown_nowhere:?}");
}

#[test]
fn each_alert_uses_known_metrics_and_has_its_section() {
    let page = read(PAGE);
    let sections: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    let rules = alert_rules();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = text(&rule["alert"]);
        known_metrics_of(text(&rule["expr"]));
        let runbook = text(&rule["annotations"]["runbook"]);
        let section = runbook.strip_prefix("docs/observability.md#").unwrap_or_default();
        assert!(sections.contains(section), "{name}: the page has no section {runbook}");
        assert!(page.contains(&format!("`{name}`")), "{PAGE} does not name {name}");
    }
}

#[test]
fn prometheus_accepts_the_alert_rules() {
    let output = Command::new("promtool").args(["check", "rules"]).arg(path(ALERTS)).output();
    let Ok(output) = output else {
        assert!(env::var_os("CI").is_none(), "promtool is missing");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

/// By the name that a scrape has: the recorder of the program puts its name before the metric's own.
fn metrics() -> BTreeMap<String, Metric> {
    node::metrics().map(|metric| (format!("tradewind_{}", metric.name), *metric)).collect()
}

/// The row of the page for a metric.
fn row((name, metric): (&String, &Metric)) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
    format!("| `{name}` | {kind} | {labels} | {} |", metric.help)
}

/// The metrics that an expression of `PromQL` uses, each of which must be known.
#[track_caller]
fn known_metrics_of(expression: &str) -> Vec<String> {
    let metrics = metrics();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(|letter| !is_part(letter));
    let names = words.filter(|word| word.starts_with("tradewind_")).map(|series| {
        let of_histogram = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| {
            let name = series.strip_suffix(suffix)?;
            let is_histogram = |metric: &Metric| metric.kind == Kind::Histogram;
            metrics.get(name).is_some_and(is_histogram).then_some(name)
        });
        let is_other = metrics.get(series).is_some_and(|metric| metric.kind != Kind::Histogram);
        let is_known = of_histogram.is_some() || is_other || series == "tradewind_build_info";
        assert!(is_known, "no code describes {series}, in {expression}");
        of_histogram.unwrap_or(series).to_owned()
    });
    names.collect()
}

fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| text(&target["expr"]).to_owned()).collect()
}

fn alert_rules() -> Vec<Value> {
    let rules: Value = serde_norway::from_str(&read(ALERTS)).expect("the rules are YAML");
    let groups = rules["groups"].as_array().expect("it has groups");
    groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("is a text")
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}
