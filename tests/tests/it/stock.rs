//! Stock of a whole installation: what an ERP says of it, and what orders have of it.

use client::Client;
use events::proto::{Event, event::Body};
use serde_json::{Value, json};
use testkit::{Db, on_both_databases};
use tests::{Installation, order, settle, stock};

on_both_databases!(
    what_an_erp_ships_is_counted_once,
    an_order_is_served_from_the_first_location_that_has_all_of_it,
);

/// What was answered to stock lines, one after the other.
async fn push(api: &Client, lines: Value) -> Vec<String> {
    let request = api.request(reqwest::Method::POST, "inventory").json(&json!({"lines": lines}));
    let answer = api.send(request).await.expect("an answer");
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    results.iter().map(|it| it["result"].as_str().expect("a result").to_owned()).collect()
}

/// On hand, held, allocated and available.
async fn units(api: &Client, sku: &str) -> [i64; 4] {
    let level: Value = api.get(&format!("inventory/{sku}")).await.expect("the level");
    ["on_hand", "held", "allocated", "available"].map(|it| level[it].as_i64().expect("units"))
}

async fn what_an_erp_ships_is_counted_once(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let paid = settle(&api, &order("MUG", 4, "card"), "first").await;
    assert_eq!(paid.body["payment_status"], "paid", "{}", paid.body);
    assert_eq!(units(&api, "MUG").await, [10, 0, 4, 6]);

    let line = |line: &str, sequence: u64, order_id: &Value, quantity: i64| {
        json!({"type": "goods_issue", "sku": "MUG", "quantity": quantity, "order_id": order_id,
            "connector": "erp", "document": "GI-1", "document_line": line, "sequence": sequence})
    };
    let id = &paid.body["id"];
    let parts = json!([line("1", 101, id, 1), line("2", 102, id, 3), line("2", 102, id, 3)]);
    assert_eq!(push(&api, parts).await, ["applied", "applied", "duplicate"]);
    assert_eq!(units(&api, "MUG").await, [6, 0, 0, 6]);

    // The ERP counts what is left: nothing is short.
    let count = json!({"type": "count", "sku": "MUG", "quantity": 6, "connector": "erp",
        "document": "C-2", "sequence": 103});
    assert_eq!(push(&api, json!([count])).await, ["applied"]);
    assert_eq!(units(&api, "MUG").await, [6, 0, 0, 6]);

    let unknown = json!("018f0000-0000-7000-8000-000000000001");
    let more = json!([line("3", 104, id, 1), line("4", 105, &unknown, 1)]);
    assert_eq!(push(&api, more).await, ["applied_in_excess", "unknown_order"]);
    assert_eq!(units(&api, "MUG").await, [5, 0, 0, 5]);

    // Each unit can be traced, the newest first.
    let path = "inventory/MUG/movements";
    let page: Value = api.query(path, &[("limit", "3")]).await.expect("the movements");
    let next = page["next"].as_str().expect("there is another page");
    let rest: Value = api.query(path, &[("after", next)]).await.expect("the movements");
    let shown = |page: &Value| -> Vec<(String, i64, i64)> {
        let movements = page["movements"].as_array().expect("a list").iter();
        let units = |it: &Value, name: &str| it[name].as_i64().expect("units");
        movements
            .map(|it| {
                let kind = it["type"].as_str().expect("a type").to_owned();
                (kind, units(it, "moved"), units(it, "on_hand"))
            })
            .collect()
    };
    let movement = |kind: &str, moved, on_hand| (kind.to_owned(), moved, on_hand);
    assert_eq!(
        shown(&page),
        [movement("goods_issue", -1, 5), movement("count", 0, 6), movement("goods_issue", -3, 6)]
    );
    assert_eq!(rest["next"], Value::Null, "{rest}");
    assert_eq!(shown(&rest), [movement("goods_issue", -1, 9), movement("count", 10, 10)]);
    let traced = &page["movements"][2];
    assert_eq!((&traced["order_id"], &traced["document"]), (id, &json!("GI-1")), "{traced}");
    assert_eq!(traced["document_line"], "2");
    the_goods_issues_are_listed(&api, id).await;

    let is_fact = |event: &Event| matches!(event.body, Some(Body::Inventory(_)));
    let events = tests::kinds(&installation.server, "INVENTORY-0", is_fact).await;
    let stock = [
        "counted",
        "reserved",
        "allocated",
        "shipped",
        "shipped",
        "lines_repeated",
        "counted",
        "shipped",
        "lines_rejected",
    ];
    assert_eq!(events, stock);
    installation.stop_and_verify().await;
}

/// What has left for orders, of all of them and of one, a page after the other.
async fn the_goods_issues_are_listed(api: &Client, id: &Value) {
    let of = async |parameters: &[(&str, &str)]| {
        api.query::<Value>("fulfilments", parameters).await.expect("the goods issues")
    };
    let shown = |page: &Value| -> Vec<(String, i64)> {
        let listed = page["fulfilments"].as_array().expect("a list").iter();
        let line = |it: &Value| it["document_line"].as_str().expect("a line").to_owned();
        listed.map(|it| (line(it), it["quantity"].as_i64().expect("units"))).collect()
    };
    let line = |line: &str, quantity| (line.to_owned(), quantity);
    let page = of(&[("limit", "2")]).await;
    assert_eq!(shown(&page), [line("3", 1), line("2", 3)]);
    let first = &page["fulfilments"][0];
    let named = [&first["sku"], &first["order_id"], &first["location"], &first["document"]];
    assert_eq!(named, [&json!("MUG"), id, &json!("main"), &json!("GI-1")], "{first}");
    let next = page["next"].as_str().expect("there is another page");
    let rest = of(&[("after", next)]).await;
    assert_eq!((shown(&rest), &rest["next"]), (vec![line("1", 1)], &Value::Null));
    let id = id.as_str().expect("an id");
    assert_eq!(shown(&of(&[("order_id", id)]).await).len(), 3);
    let other = "018f0000-0000-7000-8000-000000000001";
    assert_eq!(shown(&of(&[("order_id", other)]).await), []);
    // The cursor of one list is none of another.
    let refused = api.query::<Value>("fulfilments", &[("order_id", id), ("after", next)]).await;
    assert_eq!(refused.expect_err("is refused").problem().expect("a problem").status, 422);
}

async fn put(api: &Client, path: &str, body: Value) -> (u16, Value) {
    let request = api.request(reqwest::Method::PUT, path).json(&body);
    let answer = api.send(request).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

async fn an_order_is_served_from_the_first_location_that_has_all_of_it(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 2).await;
    let at_berlin = |document: &str, quantity: i64, sequence: u64| {
        json!({"type": "count", "sku": "MUG", "location": "berlin", "quantity": quantity,
            "connector": "berlin", "document": document, "sequence": sequence})
    };
    let counted = at_berlin("C-1", 5, 1);
    assert_eq!(push(&api, json!([counted.clone()])).await, ["unknown_location"]);
    let store = json!({"kind": "store", "priority": 10, "country": "DE"});
    for (status, result) in [(201, "created"), (200, "unchanged")] {
        let (got, body) = put(&api, "locations/berlin", store.clone()).await;
        assert_eq!((got, &body["result"]), (status, &json!(result)), "{body}");
    }
    let locations: Value = api.get("locations").await.expect("the locations");
    let codes: Vec<_> = locations["locations"].as_array().expect("a list").iter().collect();
    assert_eq!(
        (codes[0]["code"].as_str(), codes[1]["code"].as_str()),
        (Some("berlin"), Some("main"))
    );
    let berlin: Value = api.get("locations/berlin").await.expect("the location");
    assert_eq!((&berlin["kind"], &berlin["version"]), (&json!("store"), &json!(1)), "{berlin}");
    assert_eq!(push(&api, json!([counted])).await, ["applied"]);

    // It comes before `main`, and has all of it.
    let paid = settle(&api, &order("MUG", 4, "card"), "first").await;
    assert_eq!(paid.body["payment_status"], "paid", "{}", paid.body);
    assert_eq!(units(&api, "MUG").await, [7, 0, 4, 3]);
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    let allocated = |at: usize| level["locations"][at]["allocated"].as_i64();
    assert_eq!((allocated(0), allocated(1)), (Some(4), Some(0)), "{level}");
    let issue = json!({"type": "goods_issue", "sku": "MUG", "location": "berlin", "quantity": 4,
        "order_id": paid.body["id"], "connector": "berlin", "document": "GI-1", "sequence": 2});
    assert_eq!(push(&api, json!([issue])).await, ["applied"]);
    assert_eq!(units(&api, "MUG").await, [3, 0, 0, 3]);

    // One is kept back at Berlin, and no order is served from both.
    let limits = json!({"location": "berlin", "safety_stock": 1, "backorder_limit": 0});
    let (status, body) = put(&api, "inventory/MUG/limits", limits).await;
    assert_eq!((status, &body["result"]), (200, &json!("changed")), "{body}");
    assert_eq!(units(&api, "MUG").await, [3, 0, 0, 2]);
    // Who knows other limits than there are, changes nothing, and is told those.
    let known = json!({"safety_stock": 0, "backorder_limit": 0});
    let late =
        json!({"location": "berlin", "safety_stock": 0, "backorder_limit": 9, "expected": known});
    let (status, body) = put(&api, "inventory/MUG/limits", late).await;
    assert_eq!((status, &body["code"]), (412, &json!("precondition_failed")), "{body}");
    assert_eq!((&body["safety_stock"], &body["backorder_limit"]), (&json!(1), &json!(0)), "{body}");
    assert_eq!(units(&api, "MUG").await, [3, 0, 0, 2]);
    let refused = settle(&api, &order("MUG", 3, "card"), "second").await;
    let cancellation = &refused.body["cancellation"];
    assert_eq!(cancellation["reason"], "out_of_stock", "{}", refused.body);
    assert_eq!(cancellation["shortages"][0]["available"], 2, "{cancellation}");

    let mut expecting = at_berlin("C-2", 3, 3);
    expecting["expected"] = json!(2);
    let request =
        api.request(reqwest::Method::POST, "inventory").json(&json!({"lines": [expecting]}));
    let answer = api.send(request).await.expect("an answer").body;
    let result = &answer["results"][0];
    assert_eq!(
        (&result["result"], &result["on_hand"]),
        (&json!("mismatch"), &json!(1)),
        "{answer}"
    );

    // Goods go from one to the other, and are on their way meanwhile.
    let transfer = |kind: &str, location: &str, quantity: i64, sequence: u64| {
        json!({"type": kind, "sku": "MUG", "location": location, "quantity": quantity,
            "transfer": "T-1", "connector": "carrier", "document": format!("{kind}-{sequence}"),
            "sequence": sequence})
    };
    let mut out = transfer("transfer_out", "main", 2, 1);
    out["to"] = json!("berlin");
    assert_eq!(push(&api, json!([out])).await, ["applied"]);
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    assert_eq!((&level["on_hand"], &level["incoming"]), (&json!(1), &json!(2)), "{level}");
    let into = transfer("transfer_in", "berlin", 2, 2);
    assert_eq!(push(&api, json!([into])).await, ["applied"]);
    assert_eq!(units(&api, "MUG").await, [3, 0, 0, 2]);

    let page: Value = api.query("inventory", &[("limit", "1")]).await.expect("a page");
    assert_eq!(page["levels"][0]["location"], "berlin", "{page}");
    let next = page["next"].as_str().expect("there is another page");
    let rest: Value = api.query("inventory", &[("after", next)]).await.expect("a page");
    assert_eq!(rest["levels"][0]["location"], "main", "{rest}");
    assert_eq!(api.levels().await.expect("all levels").len(), 2);
    installation.stop_and_verify().await;
}
