//! schemathesis sends what the description allows, and what it does not, and compares the answers with it.

use std::process::Command;

use node::settings::WebhookOptions;
use reqwest::Method;
use serde_json::json;
use testkit::Db;
use tests::{Installation, order, settle, stock};

use super::{here, install};

/// The folder of the tool.
const FOLDER: &str = "schemathesis";

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_answers_as_it_is_described() {
    let Some(folder) = install(FOLDER).await else { return };
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        // Nothing is sent to anybody: no endpoint that the tool makes up has this port.
        let ports = "1".parse().ok();
        settings.webhooks = WebhookOptions { ports, ..WebhookOptions::on_this_machine() };
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 1_000).await;
    let order = settle(&api, &order("MUG", 2, "card"), "first").await.body;
    let order = order["id"].as_str().expect("an id").to_owned();
    let endpoint = json!({"url": "http://127.0.0.1:1/", "event_types": ["order.*"]});
    let made = api.send(api.request(Method::POST, "webhook-endpoints").json(&endpoint)).await;
    let endpoint = made.expect("an answer").body["id"].as_str().expect("an id").to_owned();

    let url = installation.url().to_owned();
    let run = move || {
        Command::new(folder.join("python/bin/schemathesis"))
            .args(["--config-file", &here(FOLDER).join("schemathesis.toml").display().to_string()])
            .args(["run", &format!("{url}/openapi.json"), "--url", &url])
            // Nothing of a suspended shop is reached.
            .args(["--exclude-operation-id", "suspend_shop"])
            .env("API_KEY", "secret")
            .env("ORDER_ID", order)
            .env("ENDPOINT_ID", endpoint)
            .current_dir(folder)
            .output()
            .expect("it runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    installation.stop_and_verify().await;
}
