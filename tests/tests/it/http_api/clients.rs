//! Clients that are generated from the description, by the usual tools of two languages, place an order and read it.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use testkit::Db;
use tests::{Installation, stock};

use super::{here, install};

/// The folder of the tools and of the clients.
const FOLDER: &str = "http-clients";

/// What the tools make of the description is what is tested: that they fail is a failure.
fn generate(folder: &Path) {
    let output = Command::new(here(FOLDER).join("generate.sh")).arg(folder).output();
    let output = output.expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_clients_place_an_order_and_read_it() {
    let Some(folder) = install(FOLDER).await else { return };
    let generated = folder.clone();
    tokio::task::spawn_blocking(move || generate(&generated)).await.expect("it does not panic");
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 10).await;
    for [program, file] in [["node", "order.js"], ["python/bin/python", "order.py"]] {
        let (folder, url) = (folder.clone(), installation.url().to_owned());
        let program = if program.contains('/') { folder.join(program) } else { program.into() };
        let run = move || Command::new(program).args([file, &url]).current_dir(folder).output();
        let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
        let output = output.expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {errors}");
        let text = String::from_utf8(output.stdout).expect("it prints text");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
        let expected = [
            json!({"same": true, "total": 500, "status": "confirmed", "sku": "MUG"}),
            json!({"code": "not_found", "status": 404}),
        ];
        assert_eq!(lines, expected, "{file}");
    }
    installation.stop_and_verify().await;
}
