//! `tradewind orders`.

use serde_json::{Value, json};

use crate::rig::{CommandOutput, Installation, SETTLE_TIMEOUT, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_filters_as_a_table_or_a_line_each_and_shown() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 5).await;
    installation.stock("CUP", 5).await;
    let mut ids = Vec::new();
    for (number, sku, customer) in [(1, "MUG", "C-1"), (2, "CUP", "C-2"), (3, "MUG", "C-2")] {
        let order = json!({"currency": "GBP", "lines": [{"sku": sku, "quantity": 1}],
            "customer_id": customer, "reference": format!("R-{number}")});
        let key = format!("key-{number}");
        let placed = installation.api().place(&order, &key, Some(SETTLE_TIMEOUT)).await;
        let placed = placed.expect("an answer").body;
        assert_eq!(placed["payment_status"], "paid", "{placed}");
        ids.push(placed["id"].as_str().expect("an id").to_owned());
    }
    let run = async |arguments: &[&str]| -> CommandOutput {
        let output = installation.run(&[&["orders"], arguments, &["--shop", SHOP]].concat()).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        output
    };
    let listed = async |filter: &[&str]| {
        let output = run(&[&["list", "--ndjson"], filter].concat()).await;
        let orders = output.out.lines().map(|line| serde_json::from_str(line).expect("is JSON"));
        let numbers = orders.map(|order: Value| order["number"].as_u64().expect("a number"));
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]).await, [3, 2, 1]);
    assert_eq!(listed(&["--oldest-first", "--limit", "2"]).await, [1, 2]);
    assert_eq!(listed(&["--sku", "MUG"]).await, [3, 1]);
    assert_eq!(listed(&["--sku", "MUG", "--customer-id", "C-2"]).await, [3]);
    assert_eq!(listed(&["--status", "confirmed", "--reference", "R-2"]).await, [2]);
    assert_eq!(listed(&["--q", "1"]).await, [1]);
    assert_eq!(listed(&["--on-hold"]).await, [0; 0]);
    assert_eq!(listed(&["--placed-until", "2020-01-01T00:00:00Z"]).await, [0; 0]);

    let table = run(&["list", "--payment-status", "paid"]).await.out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].contains("NUMBER") && lines[0].contains("REFERENCE"), "{table}");
    for text in [&ids[2], "confirmed", "paid", "unfulfilled", "2.50 GBP", "C-2", "R-3"] {
        assert!(lines[1].contains(text), "{text} is not in {table}");
    }
    let shown: Value = serde_json::from_str(&run(&["get", &ids[0]]).await.out).expect("is JSON");
    assert_eq!((&shown["id"], &shown["lines"][0]["sku"]), (&json!(ids[0]), &json!("MUG")));

    let wrong = installation.run(&["orders", "list", "--shop", SHOP, "--status", "open"]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("must be placed, confirmed, completed or cancelled"), "{wrong:?}");
    let unknown = uuid::Uuid::nil().to_string();
    let none = installation.run(&["orders", "get", "--shop", SHOP, &unknown]).await;
    assert!(none.code == Some(1) && none.err.contains("has no order"), "{none:?}");
    serving.stop().await;
}
