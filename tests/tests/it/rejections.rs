//! Rejected stock lines and connectors, through a whole installation.

use std::time::Duration;

use client::{Client, Response};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, OwnGateway, SHOP, order, settle, stock};

on_both_databases!(
    rejected_lines_are_listed_tried_again_and_dropped,
    lines_that_are_no_stock_lines_are_kept_until_they_are_sent_again
);

async fn send(api: &Client, path: &str, body: &Value) -> Response {
    api.send(api.request(Method::POST, path).json(body)).await.expect("it is answered")
}

async fn ids(api: &Client, parameters: &[(&str, &str)]) -> Vec<String> {
    let page: Value = api.query("rejections", parameters).await.expect("it is answered");
    let rejections = page["rejections"].as_array().expect("a list");
    rejections.iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

fn count(connector: &str, sku: &str, sequence: u64) -> Value {
    json!({"type": "count", "sku": sku, "location": "main", "quantity": 7, "connector": connector,
        "document": format!("C-{sequence}"), "document_line": "10", "sequence": sequence,
        "as_of": "2026-01-02T03:04:05.000Z"})
}

async fn rejected_lines_are_listed_tried_again_and_dropped(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let lines = [
        count("tills", "BOWL", 3),
        count("erp", "BOWL", 2),
        count("erp", "DISH", 3),
        count("erp", "MUG", 4),
        json!({"type": "goods_issue", "sku": "MUG", "quantity": 1, "connector": "erp",
            "document": "GI-1", "sequence": 5, "order_id": "018f0000-0000-7000-8000-000000000009"}),
    ];
    let text = lines.each_ref().map(ToString::to_string).join("\n");
    let pushed = api.push("inventory", text.clone()).await.expect("it is pushed");
    assert_eq!((pushed.applied, pushed.rejected), (1, 4), "{pushed:?}");

    // By connector and number, limited by each of the filters, and in pages.
    assert_eq!(ids(&api, &[]).await, ["erp.1", "erp.2", "erp.3", "tills.1"]);
    assert_eq!(ids(&api, &[("sku", "BOWL")]).await, ["erp.1", "tills.1"]);
    assert_eq!(ids(&api, &[("connector", "erp"), ("document", "C-3")]).await, ["erp.2"]);
    assert_eq!(ids(&api, &[("reason", "unknown_order")]).await, ["erp.3"]);
    let page: Value = api.query("rejections", &[("limit", "3")]).await.expect("it is answered");
    let next = page["next"].as_str().expect("there is another page");
    assert_eq!(ids(&api, &[("limit", "3"), ("after", next)]).await, ["tills.1"]);
    let one: Value = api.get("rejections/erp.1").await.expect("it is there");
    assert_eq!(one["line"], lines[1], "the line is as it was sent");
    assert_eq!((&one["reason"], &one["times"]), (&json!("unknown_sku"), &json!(1)));

    // The same again is the same rejections; what has its effect is not one any more.
    let again = api.push("inventory", text).await.expect("it is pushed");
    assert_eq!((again.unchanged, again.rejected), (1, 4), "{again:?}");
    assert_eq!(ids(&api, &[]).await.len(), 4);
    let bowl = json!({"title": "A bowl", "price": {"minor": 1, "currency": "GBP"}});
    let put = api.send(api.request(Method::PUT, "products/BOWL").json(&bowl)).await;
    assert!(put.expect("it is answered").status.is_success());
    let all = json!({"filter": {"reason": "unknown_sku"}});
    let redriven = send(&api, "rejections/redrive", &all).await.body;
    let result =
        |index: usize| (&redriven["results"][index]["id"], &redriven["results"][index]["result"]);
    assert_eq!(result(0), (&json!("erp.1"), &json!("applied")), "{redriven}");
    assert_eq!(result(1), (&json!("erp.2"), &json!("unknown_sku")), "{redriven}");
    // The count of another connector as of the same time came first.
    assert_eq!(result(2), (&json!("tills.1"), &json!("stale")), "{redriven}");
    assert_eq!(redriven["next"], Value::Null);
    assert_eq!(ids(&api, &[]).await, ["erp.2", "erp.3"]);

    for is_replayed in [false, true] {
        let drop = api.request(Method::POST, "rejections/erp.2/drop");
        let drop = drop.header("idempotency-key", "d-1").json(&json!({"reason": "no such dish"}));
        let dropped = api.send(drop).await.expect("it is answered");
        assert_eq!((&dropped.body["result"], dropped.replayed), (&json!("dropped"), is_replayed));
    }
    let gone = send(&api, "rejections/erp.2/redrive", &json!(null)).await;
    assert_eq!(gone.status.as_u16(), 404, "{}", gone.body);
    let drop = json!({"filter": {"document": "GI-1"}, "reason": "cancelled in the ERP"});
    assert_eq!(send(&api, "rejections/drop", &drop).await.body["results"][0]["result"], "dropped");
    assert_eq!(ids(&api, &[]).await, [""; 0]);

    let connector: Value = api.get("connectors/erp").await.expect("it is there");
    assert_eq!((&connector["applied"], &connector["repeated"]), (&json!(3), &json!(1)));
    assert_eq!((&connector["rejected"], &connector["rejections"]), (&json!(7), &json!(0)));
    assert_eq!(
        (&connector["last"]["document"], &connector["sequence"]),
        (&json!("C-2"), &json!(5)),
        "what was rejected has come"
    );
    assert_eq!(connector["gaps"], json!([]));
    assert!(connector["last"]["lag_seconds"].as_u64().is_some_and(|it| it > 0), "{connector}");
    let connectors: Value = api.get("connectors").await.expect("it is answered");
    let names: Vec<_> = connectors["connectors"].as_array().into_iter().flatten().collect();
    assert_eq!(names.iter().map(|it| &it["connector"]).collect::<Vec<_>>(), ["erp", "tills"]);
    let unknown = api.get::<Value>("connectors/none").await.expect_err("there is none");
    assert_eq!(unknown.problem().map(|problem| problem.status), Some(404));
    // What is passed over is a gap, until it comes; a new epoch begins anew.
    let skip = async |sequence: u64, epoch: u64| {
        let mut line = count("erp", "MUG", sequence);
        line["epoch"] = json!(epoch);
        line["document"] = json!(format!("C-{epoch}-{sequence}"));
        let pushed = api.push("inventory", line.to_string()).await.expect("it is pushed");
        assert_eq!(pushed.rejected, 0, "{pushed:?}");
        let connector: Value = api.get("connectors/erp").await.expect("it is there");
        (connector["epoch"].clone(), connector["sequence"].clone(), connector["gaps"].clone())
    };
    let gap = |first: u64, last: u64| json!({"first": first, "last": last});
    assert_eq!(skip(9, 0).await, (json!(0), json!(9), json!([gap(6, 8)])));
    assert_eq!(skip(7, 0).await, (json!(0), json!(9), json!([gap(6, 6), gap(8, 8)])));
    assert_eq!(skip(2, 1).await, (json!(1), json!(2), json!([])));
    assert_eq!(skip(4, 1).await, (json!(1), json!(4), json!([gap(3, 3)])));
    assert_eq!(skip(8, 0).await, (json!(1), json!(4), json!([gap(3, 3)])));

    // An order, so that each service has rows to be compared with its log.
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

/// Uploads a file, and expects how many lines were applied and rejected.
async fn upload(api: &Client, path: &str, media: &str, body: String, counts: [u64; 2]) {
    let request = api.request(Method::POST, path).header("content-type", media).body(body);
    let answer = api.send(request).await.expect("an answer");
    let [applied, rejected] = counts;
    let told = (answer.status.as_u16(), &answer.body["applied"], &answer.body["rejected"]);
    assert_eq!(told, (200, &json!(applied), &json!(rejected)), "{}", answer.body);
}

/// The rejections for being no stock line: id, document, SKU, the line in the upload and the first error of each.
async fn invalid(api: &Client) -> Vec<String> {
    let page: Value =
        api.query("rejections", &[("reason", "invalid")]).await.expect("it is answered");
    let shown = |it: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = &it["invalid"];
        assert!(it["line"].is_null(), "{it}");
        let error = text(&line["errors"][0]["detail"]);
        let [id, document, sku] = [&it["id"], &line["document"], &line["sku"]].map(text);
        format!("{id} {document} {sku} {}: {error}", line["upload_line"])
    };
    page["rejections"].as_array().expect("a list").iter().map(shown).collect()
}

async fn lines_that_are_no_stock_lines_are_kept_until_they_are_sent_again(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let stock_csv = "type,sku,quantity,connector,document,sequence,reason\n\
        count,MUG,many,wms,D-1,1,\n\
        count,MUG,7,wms,D-2,2,\n\
        count,MUG,8,,D-3,3,\n\
        count,MUG,8\n\
        count,MUG,8,wms,D-4,5,paid by 4111111111111111\n";
    for _ in 0..2 {
        // The second time, the one that is right had its effect before.
        let request = api.request(Method::POST, "inventory").header("content-type", "text/csv");
        let answer = api.send(request.body(stock_csv)).await.expect("an answer");
        assert_eq!((answer.status.as_u16(), &answer.body["rejected"]), (200, &json!(4)));
    }
    let columns = "the line has 3 columns, and the header 7: put values that have the delimiter in them in \
                   double quotes";
    let expected = [
        "wms.1 D-1 MUG 1: quantity must be an integer, got \"many\" (column 3)".to_owned(),
        "wms.2 D-3 MUG 3: connector is missing (column 4)".to_owned(),
        format!("wms.3 - - 4: {columns}"),
        "wms.4 D-4 MUG 5: reason is not a known field; the fields are type, sku, as_of, expected, quantity, \
         connector, document, document_line, sequence, epoch, location (column 7)"
            .to_owned(),
    ];
    assert_eq!(invalid(&api).await, expected);
    let one: Value = api.get("rejections/wms.4").await.expect("it is there");
    assert_eq!((&one["times"], &one["reason"]), (&json!(2), &json!("invalid")), "{one}");
    let text = one["invalid"]["text"].as_str().expect("a text");
    assert!(text.contains(r#""document":"D-4""#) && !text.contains("4111"), "{text}");

    // Tried again, it is as wrong as before; sent again and right, it is not kept any more.
    let redriven = send(&api, "rejections/wms.1/redrive", &json!(null)).await;
    assert_eq!((redriven.status.as_u16(), &redriven.body["result"]), (200, &json!("invalid")));
    assert_eq!(ids(&api, &[("document", "D-1"), ("sku", "MUG")]).await, ["wms.1"]);
    let right = json!({"type": "count", "sku": "MUG", "quantity": 9, "connector": "wms",
        "document": "D-1", "sequence": 6});
    upload(&api, "inventory", "application/x-ndjson", right.to_string(), [1, 0]).await;
    assert_eq!(ids(&api, &[("reason", "invalid")]).await, ["wms.2", "wms.3", "wms.4"]);
    let drop = json!({"filter": {"reason": "invalid"}, "reason": "of a test"});
    let dropped = send(&api, "rejections/drop", &drop).await.body;
    assert!(dropped["results"].as_array().is_some_and(|it| it.len() == 3), "{dropped}");

    // Goods issues, a list, and what names nothing at all.
    let issue = json!({"sku": "MUG", "quantity": 0, "connector": "till", "document": "G-1",
        "sequence": 1, "order_id": "018f0000-0000-7000-8000-000000000009"});
    let list = json!({"lines": [issue, right]}).to_string();
    upload(&api, "fulfilments", "application/json", list, [0, 2]).await;
    upload(&api, "inventory", "application/x-ndjson", "{\"sku\":\n7\n".to_owned(), [0, 2]).await;
    let at = |list: &[String], start: &str| list.iter().any(|it| it.starts_with(start));
    let kept = invalid(&api).await;
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(at(&kept, "till.1 G-1 MUG 0: quantity must be"), "{kept:?}");
    assert!(at(&kept, "wms.5 D-1 MUG 1: type must be"), "{kept:?}");
    // Nothing of these two may be kept but that they came: they are one.
    assert!(at(&kept, "unnamed.1 - - 1: the line must be an object"), "{kept:?}");
    // A body that is refused as a whole has no effect.
    let mut alone = right.clone();
    alone["quantity"] = json!("many");
    let refused = send(&api, "inventory", &alone).await;
    assert_eq!(refused.status.as_u16(), 422, "{}", refused.body);
    assert_eq!(invalid(&api).await, kept);
    let connector: Value = api.get("connectors/wms").await.expect("it is there");
    assert_eq!((&connector["rejections"], &connector["applied"]), (&json!(1), &json!(2)));
    assert_eq!(connector["gaps"], json!([{"first": 4, "last": 4}]), "{connector}");
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_about_rejections_is_accepted_when_it_is_not_answered_in_time() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let lines = [count("erp", "BOWL", 1), count("erp", "DISH", 2)];
    let text = lines.each_ref().map(ToString::to_string).join("\n");
    assert_eq!(api.push("inventory", text).await.expect("it is pushed").rejected, 2);

    let gateway = OwnGateway::start(&installation, |it| it.answer_timeout = Duration::ZERO).await;
    let url = format!("http://{}", gateway.address);
    let hasty = Client::new(&url, "secret", SHOP).expect("a client").without_retries();
    let one = send(&hasty, "rejections/erp.1/redrive", &json!(null)).await;
    assert_eq!(one.status.as_u16(), 202, "{one:?}");
    let command = one.body["command_url"].as_str().expect("it can be followed");
    assert!(command.starts_with(&format!("/v1/shops/{SHOP}/commands/")), "{one:?}");
    let many = send(&hasty, "rejections/drop", &json!({"reason": "not wanted"})).await;
    assert_eq!(many.status.as_u16(), 202, "{many:?}");
    let results = many.body["results"].as_array().expect("a list");
    assert!(results.iter().all(|it| it["result"] == "pending"), "{many:?}");
    assert_eq!(results.len(), 2, "{many:?}");
    gateway.stop().await;
    eventually("they are dropped", async || ids(&api, &[]).await.is_empty()).await;
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_time_for_is_on_the_next_page() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let lines = [count("erp", "BOWL", 1), count("tills", "BOWL", 2)];
    let text = lines.each_ref().map(ToString::to_string).join("\n");
    assert_eq!(api.push("inventory", text).await.expect("it is pushed").rejected, 2);

    let gateway = OwnGateway::start(&installation, |settings| {
        settings.limits.request_timeout = Duration::from_secs(3);
    })
    .await;
    let url = format!("http://{}", gateway.address);
    let other = Client::new(&url, "secret", SHOP).expect("a client").without_retries();
    // The inventory waits some seconds for an event of the catalogue that there is not.
    let request = other.request(Method::POST, "rejections/drop");
    let request = request.header("tradewind-after", "catalog.0=1000");
    let request = request.json(&json!({"reason": "not wanted"}));
    let some = other.send(request).await.expect("it is answered");
    assert_eq!(some.status.as_u16(), 202, "{some:?}");
    let results = some.body["results"].as_array().expect("a list");
    let [first] = results.as_slice() else { panic!("{some:?}") };
    assert_eq!((&first["id"], &first["result"]), (&json!("erp.1"), &json!("pending")));
    let next = some.body["next"].as_str().expect("there is more");

    let rest = json!({"reason": "not wanted", "after": next});
    let rest = send(&api, "rejections/drop", &rest).await;
    assert_eq!(rest.body["results"][0]["id"], "tills.1", "{rest:?}");
    gateway.stop().await;
    eventually("all are dropped", async || ids(&api, &[]).await.is_empty()).await;
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}
