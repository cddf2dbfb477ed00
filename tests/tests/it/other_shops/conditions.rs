//! No operation that writes passes over a condition: it holds what it writes to that version, or refuses the request.

use node::settings::WebhookOptions;
use reqwest::Method;
use serde_json::json;
use testkit::Db;
use tests::Installation;

use super::{ACME, Caller, Operation, fill, operations, snapshot};

/// A version that nothing has.
const OTHER_VERSION: &str = "\"424242\"";

impl Operation {
    /// Whether it describes that it takes this header.
    fn takes(&self, header: &str) -> bool {
        let mut parameters = self.described["parameters"].as_array().into_iter().flatten();
        parameters.any(|it| it["in"] == "header" && it["name"] == header)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_passes_over_a_condition() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let http = reqwest::Client::new();
    let root = Caller { http, url: installation.url().to_owned(), key: "secret".to_owned() };
    let acme = fill(&root).await;
    let before = snapshot(&root, &acme).await;
    let failed = (412, json!("precondition_failed"));
    let refused = (400, json!("invalid_header"));
    let (mut conditional, mut asked) = (0, 0);
    for operation in operations().iter().filter(|it| it.method != Method::GET) {
        for (name, value) in [("If-Match", OTHER_VERSION), ("If-None-Match", "*")] {
            let path = acme.path(operation, ACME);
            let header = (name, value);
            let answer = root.send_with(&operation.method, &path, operation.body(), header).await;
            let expected = if operation.takes(name) { &failed } else { &refused };
            let found = (answer.0, answer.1["code"].clone());
            assert_eq!(found, *expected, "{} with {name}: {}", operation.id, answer.1);
            asked += 1;
            conditional += u32::from(operation.takes(name));
        }
    }
    assert!(conditional > 12 && asked > 60, "{conditional} of {asked}");
    let after = snapshot(&root, &acme).await;
    for (id, body) in &before {
        assert_eq!(after[id], *body, "{id} has changed");
    }
    installation.stop_and_verify_with(&["shop", "order", "payment", "inventory", "catalog"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_version_of_the_condition_is_written() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let http = reqwest::Client::new();
    let root = Caller { http, url: installation.url().to_owned(), key: "secret".to_owned() };
    let acme = fill(&root).await;
    let all = operations();
    // Each after the other, with the version that the one before has led to.
    let (endpoint, shop) = ("get_webhook_endpoint", "get_shop");
    for (id, of) in [
        ("disable_webhook_endpoint", endpoint),
        ("enable_webhook_endpoint", endpoint),
        ("rotate_webhook_secret", endpoint),
        ("delete_webhook_endpoint", endpoint),
        ("suspend_shop", shop),
        ("resume_shop", shop),
    ] {
        let named = |name: &str| all.iter().find(|it| it.id == name).expect("it is described");
        let (_, known) = root.get(&acme.path(named(of), ACME)).await;
        let version = format!("\"{}\"", known["version"]);
        let operation = named(id);
        let path = acme.path(operation, ACME);
        let condition = ("If-Match", version.as_str());
        let body = json!({});
        let body = operation.described.get("requestBody").map(|_| &body);
        let (status, answer) = root.send_with(&operation.method, &path, body, condition).await;
        assert!((200..300).contains(&status), "{id} at {version}: {status} {answer}");
    }
    installation.stop_and_verify_with(&["shop", "order", "payment", "inventory", "catalog"]).await;
}
