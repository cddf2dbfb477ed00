//! ERP connectors that speak to nats-server: each has a user that may do nothing else, and what it sends is
//! handled as over HTTP.

use std::path::Path;

use client::Client;
use events::proto::{
    Money, Price,
    catalog::{Product, PutProducts, WantedProduct},
    inventory::{Document, GoodsIssue, RecordStock, StockDocument, stock_document::Change},
};
use node::nats_users::{self, Identity, NatsUser};
use prost::Message;
use protocol::id::Shop;
use serde_json::{Value, json};
use testkit::{Answer, Db, Intruder, TestServer, install_tools, on_both_databases};
use tests::{Gateway, Installation, SHOP, order, settle, stock};
use tokio::process::Command;

on_both_databases!(what_comes_by_nats_is_handled_as_over_http);

/// The name of the connector's user, and its password.
const CONNECTOR: &str = "warehouse";
const PASSWORD: &str = "word";
/// How many messages two gateways share.
const SENT: u64 = 40;

/// A server with the user of a connector, as `tradewind connector add` makes it.
async fn server() -> TestServer {
    let mut users = nats_users::for_this_run();
    let shop = Shop::parse(SHOP).expect("a name");
    let connector = NatsUser::of_connector(CONNECTOR, &shop);
    let alone = nats_users::configuration(&[(connector, Identity::Password(PASSWORD.to_owned()))]);
    let added = alone.split_once("users: [\n").expect("it has users").1;
    let before = users.configuration.strip_suffix("  ]\n}\n").expect("it ends so").to_owned();
    users.configuration = before + added;
    users.passwords.push((CONNECTOR.to_owned(), PASSWORD.to_owned()));
    TestServer::start_with_users(users).await
}

fn subject(kind: &str) -> String {
    format!("erp.v1.{SHOP}.{kind}")
}

fn replies() -> String {
    format!("erp.reply.{CONNECTOR}")
}

/// Sends a message and returns its answer.
async fn send(
    connector: &mut Intruder,
    kind: &str,
    content_type: Option<&str>,
    payload: Vec<u8>,
) -> (u16, Value) {
    let headers: Vec<_> = content_type.map(|value| ("Content-Type", value)).into_iter().collect();
    let answer = connector.request(&subject(kind), &replies(), &headers, payload).await;
    read(&answer.expect("it is answered"))
}

fn read(answer: &Answer) -> (u16, Value) {
    let status: Option<u16> = answer.header("Tradewind-Status").and_then(|it| it.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {answer:?}"));
    let body = serde_json::from_slice(&answer.payload);
    let body = body.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let is_problem = answer.header("Content-Type") == Some("application/problem+json");
    assert_eq!(is_problem, status >= 400, "{answer:?}");
    let code = answer.header("Nats-Service-Error-Code").map(str::to_owned);
    assert_eq!(code, (status >= 400).then(|| status.to_string()), "{answer:?}");
    (status, body)
}

fn results(body: &Value) -> Vec<&str> {
    let results = body["results"].as_array().unwrap_or_else(|| panic!("no results: {body}"));
    results.iter().map(|it| it["result"].as_str().expect("a result")).collect()
}

fn count(document: &str, sequence: u64, sku: &str, quantity: i64) -> Value {
    json!({"type": "count", "sku": sku, "quantity": quantity, "connector": "wms",
        "document": document, "sequence": sequence})
}

fn line(document: &str, sequence: u64, change: Change) -> StockDocument {
    let document = Document {
        connector: "wms".to_owned(),
        id: document.to_owned(),
        sequence,
        ..Document::default()
    };
    StockDocument {
        sku: "BOWL".to_owned(),
        document: Some(document),
        change: Some(change),
        ..StockDocument::default()
    }
}

async fn on_hand(api: &Client, sku: &str) -> i64 {
    let level: Value = api.get(&format!("inventory/{sku}")).await.expect("the level");
    level["on_hand"].as_i64().expect("units")
}

async fn what_comes_by_nats_is_handled_as_over_http(db: Db) {
    let server = server().await;
    let url = server.url_of(CONNECTOR);
    let installation = Installation::start_on(server, &db).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut connector = Intruder::connect(&url).await.expect("it is let in");

    // Products: protobuf, by its content type and by its first byte.
    let price = Price { money: Some(Money { minor: 1_500, currency: "GBP".into() }), tax_basis: 0 };
    let bowl = Product {
        sku: "BOWL".into(),
        title: "A bowl".into(),
        price: Some(price),
        active: true,
        ..Product::default()
    };
    let wanted = WantedProduct { product: Some(bowl), ..WantedProduct::default() };
    let products = PutProducts { products: vec![wanted], ..Default::default() }.encode_to_vec();
    let created = send(&mut connector, "products", None, products.clone()).await;
    assert_eq!((created.0, results(&created.1)), (200, vec!["created"]), "{created:?}");
    let media = Some("application/protobuf");
    let again = send(&mut connector, "products", media, products).await;
    assert_eq!((again.0, results(&again.1)), (200, vec!["unchanged"]), "{again:?}");

    // Stock: the same lines twice, as protobuf, as JSON and as NDJSON. Only the first has an effect.
    let protobuf = RecordStock {
        lines: vec![line("C-1", 1, Change::Count(40)), line("C-2", 2, Change::Count(41))],
        invalid: vec![],
    };
    let protobuf = protobuf.encode_to_vec();
    let lines = [count("C-1", 1, "BOWL", 40), count("C-2", 2, "BOWL", 41)];
    let json = json!({"lines": lines}).to_string().into_bytes();
    let ndjson = format!("{}\n{}\n", lines[0], lines[1]).into_bytes();
    let first = send(&mut connector, "stock", None, protobuf.clone()).await;
    assert_eq!((first.0, results(&first.1)), (200, vec!["applied"; 2]), "{first:?}");
    assert_eq!(on_hand(&api, "BOWL").await, 41);
    for (content_type, payload) in
        [(None, protobuf), (None, json), (Some("application/x-ndjson"), ndjson)]
    {
        let again = send(&mut connector, "stock", content_type, payload).await;
        assert_eq!((again.0, results(&again.1)), (200, vec!["duplicate"; 2]), "{again:?}");
        assert_eq!(again.1["unchanged"], 2, "{again:?}");
    }
    assert_eq!(on_hand(&api, "BOWL").await, 41);

    // Shipments: goods issues, which need not say that they are.
    let placed = settle(&api, &order("BOWL", 3, "card"), "bowls").await.body;
    let issue = json!({"sku": "BOWL", "quantity": 2, "order_id": placed["id"], "connector": "wms",
        "document": "GI-1", "sequence": 3});
    let shipped = send(&mut connector, "shipments", None, issue.to_string().into_bytes()).await;
    assert_eq!((shipped.0, results(&shipped.1)), (200, vec!["applied"]), "{shipped:?}");
    let order_id = placed["id"].as_str().expect("an id").to_owned();
    let issue = Change::GoodsIssue(GoodsIssue { order_id, quantity: 1, line_id: String::new() });
    let issue = RecordStock { lines: vec![line("GI-2", 4, issue)], invalid: vec![] };
    let issue = issue.encode_to_vec();
    let shipped = send(&mut connector, "shipments", media, issue).await;
    assert_eq!((shipped.0, results(&shipped.1)), (200, vec!["applied"]), "{shipped:?}");
    assert_eq!(on_hand(&api, "BOWL").await, 38);

    wrong_input_is_answered_by_what_is_wrong(&mut connector, &api).await;
    let known: Value = api.get("connectors/wms").await.expect("the connector");
    assert_eq!((&known["applied"], &known["repeated"]), (&json!(4), &json!(8)), "{known}");
    let history: Value = api.get("inventory/BOWL/history").await.expect("the history");
    let event = &history["events"][0];
    assert_eq!(
        (&event["actorkind"], &event["actorid"]),
        (&json!("connector"), &json!("wms")),
        "{event}"
    );
    installation.stop_and_verify().await;
}

async fn wrong_input_is_answered_by_what_is_wrong(connector: &mut Intruder, api: &Client) {
    let mut wrong = async |kind: &str, content_type: Option<&str>, payload: Vec<u8>| {
        let (status, body) = send(connector, kind, content_type, payload).await;
        let field = body["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
        (status, body["code"].as_str().unwrap_or_default().to_owned(), field)
    };
    let invalid = |field: &str| (422, "invalid_fields".to_owned(), field.to_owned());
    let named = |status: u16, code: &str| (status, code.to_owned(), String::new());
    let text = |json: &Value| json.to_string().into_bytes();
    let broken = count("C-9", 9, "BOWL", -1);
    assert_eq!(wrong("stock", None, text(&broken)).await, invalid("quantity"));
    let broken = RecordStock { lines: vec![line("C-9", 9, Change::Count(-1))], invalid: vec![] };
    assert_eq!(wrong("stock", None, broken.encode_to_vec()).await, invalid("quantity"));
    let broken = json!({"products": [], "more": 1});
    assert_eq!(wrong("products", None, text(&broken)).await, invalid("more"));
    let no_issue = count("C-9", 9, "BOWL", 1);
    assert_eq!(wrong("shipments", None, text(&no_issue)).await.2, "type");
    assert_eq!(wrong("stock", None, b"{\"type\":".to_vec()).await, named(400, "malformed_json"));
    assert_eq!(wrong("stock", None, Vec::new()).await, named(400, "malformed_json"));
    let malformed = named(400, "malformed_protobuf");
    assert_eq!(wrong("stock", None, b"\x0a\xff".to_vec()).await, malformed);
    let media = named(415, "unsupported_media_type");
    assert_eq!(wrong("stock", Some("application/xml"), b"<a/>".to_vec()).await, media);
    // One wrong line of several is a result beside the others.
    let some = json!({"lines": [count("C-9", 9, "BOWL", -1), count("C-2", 2, "BOWL", 41)]});
    let (status, body) = send(connector, "stock", None, text(&some)).await;
    assert_eq!((status, results(&body)), (200, vec!["rejected", "duplicate"]), "{body}");
    assert_eq!(body["results"][0]["errors"][0]["field"], "quantity", "{body}");
    assert_eq!(body["results"][0]["errors"][0]["pointer"], "#/lines/0/quantity", "{body}");
    // It is kept; those that were refused as a whole above are not.
    let kept: Value = api.query("rejections", &[("connector", "wms")]).await.expect("a list");
    assert_eq!(kept["rejections"].as_array().map(Vec::len), Some(1), "{kept}");
    let rejection = &kept["rejections"][0];
    let named = (&rejection["reason"], &rejection["invalid"]["document"]);
    assert_eq!(named, (&json!("invalid"), &json!("C-9")), "{kept}");

    // What fits into no answer was handled all the same, and that is said.
    let mut many = "7\n".repeat(20_000);
    many += &count("C-2", 2, "BOWL", 41).to_string();
    let ndjson = Some("application/x-ndjson");
    let (status, body) = send(connector, "stock", ndjson, many.into_bytes()).await;
    let told = (status, &body["status"], &body["next_line"], &body["results_left_out"]);
    assert_eq!(told, (200, &json!("complete"), &json!(20_001), &json!(20_001)), "{body}");
    assert_eq!((&body["rejected"], &body["unchanged"]), (&json!(20_000), &json!(1)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_connector_may_send_lines_of_its_shop_and_nothing_else() {
    let server = server().await;
    let mut connector = Intruder::connect(&server.url_of(CONNECTOR)).await.expect("it is let in");
    for kind in ["stock", "products", "shipments"] {
        assert!(connector.may_publish(&subject(kind)).await, "{kind}");
    }
    for subject in [
        subject("orders"),
        "erp.v1.beta.stock".to_owned(),
        format!("order.0.{SHOP}.paid"),
        format!("inventory.0.{SHOP}.counted"),
        format!("inbox.0.live.inventory.{SHOP}.record_stock"),
        "query.order.0".to_owned(),
        "$JS.API.STREAM.INFO.ORDER-0".to_owned(),
        "erp.reply.other.1".to_owned(),
        "_INBOX.anything".to_owned(),
    ] {
        assert!(!connector.may_publish(&subject).await, "{subject}");
    }
    assert!(connector.subscribe(&format!("{}.*", replies())).await.is_some());
    for subject in [
        ">",
        "erp.v1.*.*",
        "erp.reply.>",
        "erp.reply.other.*",
        "order.>",
        "inventory.>",
        "_INBOX.>",
        "reply.>",
    ] {
        assert!(connector.subscribe(subject).await.is_none(), "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_goes_where_the_sender_may_not_write_itself() {
    let server = server().await;
    let url = server.url_of(CONNECTOR);
    let db = Db::sqlite();
    let installation = Installation::start_on(server, &db).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut connector = Intruder::connect(&url).await.expect("it is let in");
    let inbox = format!("inbox.0.live.inventory.{SHOP}.record_stock");
    let stored = async || {
        let stream = installation.server.jetstream().await.get_stream("INBOX-0").await;
        stream.expect("it is there").cached_info().state.last_sequence
    };
    let before = stored().await;
    let payload = count("C-1", 1, "MUG", 7).to_string().into_bytes();
    for reply in [&*inbox, "erp.v1.acme.stock", "order.0.acme.paid"] {
        connector.publish_with_reply(&subject("stock"), reply, payload.clone()).await;
    }
    // What comes behind them has been handled, and none of them was.
    let sent = send(&mut connector, "stock", None, payload).await;
    assert_eq!(results(&sent.1), ["applied"], "{sent:?}");
    assert_eq!(stored().await, before + 1);
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_what_comes() {
    let server = server().await;
    let url = server.url_of(CONNECTOR);
    let db = Db::sqlite();
    let installation = Installation::start_on(server, &db).await;
    let other = Gateway::start(&installation.settings).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut connector = Intruder::connect(&url).await.expect("it is let in");
    let mut answers = connector.answers(&replies()).await;
    for number in 1..=SENT {
        let line = count(&format!("C-{number}"), number, "MUG", 7).to_string().into_bytes();
        let reply = format!("{}.{number}", replies());
        connector.publish_with_reply(&subject("stock"), &reply, line).await;
    }
    let mut answered = Vec::new();
    for _ in 1..=SENT {
        let answer = answers.next().await.expect("each is answered");
        assert_eq!(results(&read(&answer).1).len(), 1, "{answer:?}");
        answered.push(answer.subject);
    }
    // One stops when it has answered what it took, and the other one has handled what came behind.
    other.stop().await;
    settle(&api, &order("MUG", 1, "card"), "last").await;
    connector.flush().await;
    assert_eq!(answers.now(), None, "nothing was answered twice");
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len() as u64, SENT);
    installation.stop_and_verify().await;
}

/// A block of the page on connectors, in a language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let begin = format!("```{language}\n");
    let (_, rest) = page.split_once(&begin).expect("the page has such a block");
    rest.split_once("```").expect("it ends").0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_of_the_page_prints_what_it_says() {
    // They have the client of NATS for Python.
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers");
    let tools = install_tools(&readers, Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
    let Some(tools) = tools else { return };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/erp.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let server = server().await;
    let url = server.url_of(CONNECTOR);
    let db = Db::sqlite();
    let installation = Installation::start_on(server, &db).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut program = Command::new(tools.join("python/bin/python"));
    program.args(["-c", block(&page, "python")]).env("NATS_URL", url);
    let output = program.output().await.expect("it runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out, block(&page, "output"), "{err}");
    assert_eq!(on_hand(&api, "MUG").await, 118);
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}
