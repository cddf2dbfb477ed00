//! Valid inputs that were damaged, at each boundary where somebody else's bytes are decoded: nothing panics, no answer is a
//! 5xx, and the installation goes on.
//!
//! What is sent follows from [`SEED`], so a failure comes again. `MUTATIONS` in the environment sets how many there are of
//! each input: for who wants to search for longer.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use async_compression::tokio::write::GzipEncoder;
use client::webhooks::Verifier;
use events::{cloud_events, json, proto, type_filter::TypeFilter};
use node::nats_users::{self, Identity, NatsUser};
use prost::Message;
use protocol::{
    id::Shop,
    subject::{self, Lane},
};
use reqwest::{
    Client, Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use testkit::{Db, Intruder, TestServer};
use tests::{Installation, SHOP, order, settle, stock};
use tokio::io::AsyncWriteExt;

/// Where the random numbers begin.
const SEED: u64 = 0x7261_6465_7769_6e64;
/// How many mutations there are of each input unless it is said.
const MUTATIONS: usize = 25;
/// The operations whose effect would end the test: the shop is suspended, or anybody else's requests are refused.
const LEFT_OUT: [&str; 2] = ["suspend_shop", "put_shop"];

/// What parsers stumble over.
const PIECES: [&[u8]; 22] = [
    b"\"",
    b"\\",
    b"{",
    b"[",
    b"}",
    b"]",
    b",",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\r\n",
    b"null",
    b"-1",
    b"1e999",
    b"0.1",
    b"9223372036854775808",
    b"99999999999999999999999999",
    b"\\ud800",
    "\u{202e}\u{1f600}".as_bytes(),
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"2026-02-30T25:61:61Z",
    b"..%2f%00",
];

/// A generator of random numbers that is the same on each run: `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// The input with one to three places changed.
    fn mutate(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(8)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at.min(end)..end)),
                2 => bytes.truncate(at),
                3 => {
                    let again = bytes[at.min(end)..end].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                4 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    drop(bytes.splice(at.min(end)..end, piece.iter().copied()));
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    drop(bytes.splice(at..at, piece.iter().copied()));
                }
            }
        }
        bytes
    }
}

fn mutations() -> usize {
    std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTATIONS)
}

/// Sends requests to a gateway.
struct Sender {
    http: Client,
    url: String,
    random: Random,
    /// By status, how many were answered with it.
    answers: BTreeMap<u16, usize>,
}

impl Sender {
    async fn send(&mut self, method: &Method, path: &str, headers: HeaderMap, body: Vec<u8>) {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url));
        let request = request.bearer_auth("secret").headers(headers.clone()).body(body.clone());
        let response = request.send().await.expect("it is answered");
        let status = response.status().as_u16();
        let answer = response.bytes().await.expect("the answer is read");
        assert!(
            status < 500,
            "{status} to {method} {path} {headers:?} {:?}: {}",
            String::from_utf8_lossy(&body),
            String::from_utf8_lossy(&answer)
        );
        *self.answers.entry(status).or_default() += 1;
    }

    /// The body as it is, and damaged.
    async fn bodies(&mut self, method: &Method, path: &str, kind: &[(&str, &str)], body: &[u8]) {
        let headers: HeaderMap =
            kind.iter().map(|(name, value)| header(name, value.as_bytes())).collect();
        self.send(method, path, headers.clone(), body.to_vec()).await;
        for _ in 0..mutations() {
            let damaged = self.random.mutate(body);
            self.send(method, path, headers.clone(), damaged).await;
        }
    }

    /// Parameters, each as it is and damaged.
    async fn queries(&mut self, path: &str, parameters: &[(&str, &str)]) {
        for (name, value) in parameters {
            for round in 0..=mutations() {
                let value = if round == 0 {
                    value.as_bytes().to_vec()
                } else {
                    self.random.mutate(value.as_bytes())
                };
                let encoded = value.iter().fold(String::new(), |mut encoded, byte| {
                    write!(encoded, "%{byte:02X}").expect("a text takes it");
                    encoded
                });
                let path = format!("{path}?{name}={encoded}");
                self.send(&Method::GET, &path, HeaderMap::new(), Vec::new()).await;
            }
        }
    }

    /// Headers, each as it is and damaged.
    async fn headers(&mut self, method: &Method, path: &str, body: &str, headers: &[(&str, &str)]) {
        for (name, value) in headers {
            for round in 0..=mutations() {
                let value = if round == 0 {
                    value.as_bytes().to_vec()
                } else {
                    self.random.mutate(value.as_bytes())
                };
                if HeaderValue::from_bytes(&value).is_err() {
                    continue;
                }
                let headers = [header(name, &value)].into_iter().collect();
                self.send(method, path, headers, body.into()).await;
            }
        }
    }
}

fn header(name: &str, value: &[u8]) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
    (name, HeaderValue::from_bytes(value).expect("a value"))
}

/// The operations of the description that have an example of their body: method, path and body.
fn operations(values: &[(&str, &str)]) -> Vec<(Method, String, Value)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document = fs::read_to_string(file).expect("the document is there");
    let document: Value = serde_json::from_str(&document).expect("it is JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("an object") {
        for (method, operation) in item.as_object().expect("an object") {
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let id = operation["operationId"].as_str().unwrap_or_default();
            if example.is_null() || LEFT_OUT.contains(&id) {
                continue;
            }
            let path = values.iter().fold(path.clone(), |path, (name, value)| {
                path.replace(&format!("{{{name}}}"), value)
            });
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            found.push((method, path, example.clone()));
        }
    }
    found
}

async fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text.as_bytes()).await.expect("it is compressed");
    encoder.shutdown().await.expect("it is compressed");
    encoder.into_inner()
}

/// An installation with something in it, and the id of an order.
async fn start(db: &Db) -> (Installation, String) {
    let installation = Installation::start(db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1_000).await;
    let placed = settle(&api, &order("MUG", 1, "card"), "first").await.body;
    let id = placed["id"].as_str().expect("an id").to_owned();
    (installation, id)
}

fn sender(installation: &Installation, number: u64) -> Sender {
    let (http, url) = (Client::new(), installation.url().to_owned());
    Sender { http, url, random: Random(SEED + number), answers: BTreeMap::new() }
}

/// Ends a test: the installation still settles an order.
async fn still_works(installation: Installation) {
    let api = installation.api();
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bodies_are_answered() {
    let db = Db::sqlite();
    let (installation, id) = start(&db).await;
    let mut sender = sender(&installation, 1);
    let payment = format!("{id}-1");
    let values = [
        ("shop", SHOP),
        ("id", &*id),
        ("payment_id", &*payment),
        ("sku", "MUG"),
        ("code", "main"),
        ("connector", "erp"),
        ("rejection_id", "erp.1"),
        ("key_id", "0123456789abcdef"),
        ("endpoint_id", "we_019cec2b2dc470008000000000000001"),
        ("replay_id", "re_019cec2b2dc470008000000000000001"),
    ];
    let operations = operations(&values);
    assert!(operations.len() > 15, "{operations:?}");
    for (method, path, example) in operations {
        let body = example.to_string();
        sender
            .bodies(&method, &path, &[("content-type", "application/json")], body.as_bytes())
            .await;
    }
    assert!(sender.answers.keys().any(|status| *status < 300), "{:?}", sender.answers);
    assert!(
        sender.answers.contains_key(&400) && sender.answers.contains_key(&422),
        "{:?}",
        sender.answers
    );
    still_works(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_uploads_are_answered() {
    let db = Db::sqlite();
    let (installation, id) = start(&db).await;
    let mut sender = sender(&installation, 2);
    let json = format!(
        "{{\"type\":\"count\",\"sku\":\"MUG\",\"quantity\":900,\"connector\":\"a\",\"document\":\"C\",\"sequence\":1}}\n\
         {{\"type\":\"goods_issue\",\"sku\":\"MUG\",\"quantity\":1,\"order_id\":\"{id}\",\"connector\":\"a\",\
         \"document\":\"G\",\"document_line\":\"10\",\"sequence\":2,\"occurred_at\":\"2026-01-02T03:04:05Z\"}}\n"
    );
    let csv = "type,sku,delta,reason,connector,document,sequence\nadjustment,MUG,1,\"fou\"\"nd\",a,A,3\r\n\
               adjustment,CUP,-1,lost,a,B,4\n";
    let products = "sku,title,price.minor,price.currency\nMUG,\"A mug, blue\",950,GBP\n";
    let inventory = format!("/v1/shops/{SHOP}/inventory");
    let ndjson = ("content-type", "application/x-ndjson");
    let streamed = ("accept", "application/x-ndjson");
    sender.bodies(&Method::POST, &inventory, &[ndjson], json.as_bytes()).await;
    sender.bodies(&Method::POST, &inventory, &[ndjson, streamed], json.as_bytes()).await;
    let of_csv = ("content-type", "text/csv");
    sender.bodies(&Method::POST, &inventory, &[of_csv], csv.as_bytes()).await;
    sender.bodies(&Method::POST, &inventory, &[of_csv, streamed], csv.as_bytes()).await;
    let path = format!("/v1/shops/{SHOP}/products");
    sender.bodies(&Method::POST, &path, &[of_csv], products.as_bytes()).await;
    let compressed = gzip(csv).await;
    sender
        .bodies(&Method::POST, &inventory, &[of_csv, ("content-encoding", "gzip")], &compressed)
        .await;
    assert!(sender.answers.contains_key(&200), "{:?}", sender.answers);
    still_works(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_parameters_and_headers_are_answered() {
    let db = Db::sqlite();
    let (installation, id) = start(&db).await;
    let mut sender = sender(&installation, 3);
    let api = installation.api();
    let page: Value = api.query("events", &[("limit", "2")]).await.expect("the feed is read");
    let cursor = page["next"].as_str().expect("a cursor").to_owned();
    let shop = |path: &str| format!("/v1/shops/{SHOP}/{path}");
    sender
        .queries(
            &shop("events"),
            &[("after", &cursor), ("types", "order.*,payment.captured"), ("limit", "2")],
        )
        .await;
    sender.queries(&shop("inventory"), &[("after", "TVVHIG1haW4"), ("limit", "1")]).await;
    sender.queries(&shop("products"), &[("after", "MUG")]).await;
    sender
        .queries(&shop("orders"), &[("after", &id), ("reference", "R-17"), ("on_hold", "true")])
        .await;
    sender.queries(&shop("rejections"), &[("after", "ZXJwLjE"), ("reason", "unknown_sku")]).await;
    let history = shop(&format!("orders/{id}/history"));
    let first: Value = api
        .query(&format!("orders/{id}/history"), &[("limit", "1")])
        .await
        .expect("the history is read");
    let next = first["next"].as_str().expect("a cursor").to_owned();
    sender.queries(&history, &[("after", &next), ("limit", "1")]).await;
    sender
        .queries(
            &shop("payments/reconciliation"),
            &[("from", "2026-11-20T00:00:00Z"), ("until", "2026-11-21T00:00:00Z")],
        )
        .await;
    let put = r#"{"title":"A mug","price":{"minor":950,"currency":"GBP"}}"#;
    let common = [
        ("content-type", "application/json; charset=utf-8"),
        ("idempotency-key", "checkout-17"),
        ("tradewind-after", "catalog.0=1,order.0=2"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("if-match", "\"1\""),
        ("prefer", "wait=0"),
        ("accept-encoding", "gzip;q=0.5, *"),
    ];
    sender.headers(&Method::PUT, &shop("products/MUG"), put, &common).await;
    let of_reads = [("if-none-match", "\"1\", W/\"2\""), ("accept", "application/json;q=0.1")];
    sender.headers(&Method::GET, &shop("orders"), "", &of_reads).await;
    // Keys and tokens, which are sent instead of the usual one.
    let admin = api.request_to_api(Method::POST, "keys").expect("a request");
    let wanted = serde_json::json!({"description": "r", "shops": [SHOP], "scopes": ["read"]});
    let made = api.send(admin.json(&wanted)).await.expect("it is answered").body;
    let key = made["secret"].as_str().expect("a key");
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJhIiwic3ViIjoiYiIsImV4cCI6MX0.c2ln";
    for given in [key, token, "secret"] {
        for _ in 0..mutations() {
            let damaged = [b"Bearer ", &*sender.random.mutate(given.as_bytes())].concat();
            let Ok(value) = HeaderValue::from_bytes(&damaged) else { continue };
            let request = sender.http.get(format!("{}{}", sender.url, shop("orders")));
            let response = request.header("authorization", value).send().await;
            let status = response.expect("it is answered").status().as_u16();
            assert!(status < 500, "{status} to {}", String::from_utf8_lossy(&damaged));
        }
    }
    still_works(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_messages_at_nats_are_answered_or_parked() {
    let mut users = nats_users::for_this_run();
    let shop = Shop::parse(SHOP).expect("a name");
    let connector = NatsUser::of_connector("wms", &shop);
    let alone = nats_users::configuration(&[(connector, Identity::Password("word".to_owned()))]);
    let added = alone.split_once("users: [\n").expect("it has users").1;
    let before = users.configuration.strip_suffix("  ]\n}\n").expect("it ends so").to_owned();
    users.configuration = before + added;
    users.passwords.push(("wms".to_owned(), "word".to_owned()));
    let server = TestServer::start_with_users(users).await;
    let url = server.url_of("wms");
    let db = Db::sqlite();
    let installation = Installation::start_on(server, &db).await;
    stock(&installation.api(), "MUG", 5).await;

    let mut random = Random(SEED + 4);
    let mut connector = Intruder::connect(&url).await.expect("it is let in");
    let document = proto::inventory::Document {
        connector: "wms".to_owned(),
        id: "C-1".to_owned(),
        sequence: 1,
        ..Default::default()
    };
    let line = proto::inventory::StockDocument {
        sku: "MUG".to_owned(),
        document: Some(document),
        change: Some(proto::inventory::stock_document::Change::Count(5)),
        ..Default::default()
    };
    let stock = proto::inventory::RecordStock { lines: vec![line], invalid: vec![] };
    let valid = stock.encode_to_vec();
    for round in 0..=mutations() {
        let bytes = if round == 0 { valid.clone() } else { random.mutate(&valid) };
        let headers = [("Content-Type", "application/protobuf")];
        let subject = format!("erp.v1.{SHOP}.stock");
        let answer = connector.request(&subject, "erp.reply.wms", &headers, bytes.clone()).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {bytes:?}"));
        let status = answer.header("Tradewind-Status").expect("a status");
        assert!(status < "500", "{status} to {bytes:?}: {answer:?}");
    }

    // Commands as no gateway writes them, straight into the inbox.
    let command = proto::Command {
        id: "018f0000-0000-7000-8000-000000000001".to_owned(),
        shop: SHOP.to_owned(),
        fingerprint: "f".to_owned(),
        body: Some(proto::command::Body::RecordStock(stock)),
        ..Default::default()
    };
    let valid = command.encode_to_vec();
    let jetstream = installation.server.jetstream().await;
    for _ in 0..mutations() {
        let subject = subject::command(0, Lane::Live, "inventory", &shop, "record_stock");
        let sent = jetstream.publish(subject, random.mutate(&valid).into()).await;
        sent.expect("it is sent").await.expect("it is stored");
    }
    still_works(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_events_filters_and_deliveries_are_refused() {
    let db = Db::sqlite();
    let (installation, _) = start(&db).await;
    let mut random = Random(SEED + 5);
    for log in ["ORDER-0", "INVENTORY-0", "CATALOG-0", "PAYMENT-0", "SHOP-0"] {
        for entry in installation.server.events::<proto::Event>(log).await {
            let valid = entry.event.encode_to_vec();
            for _ in 0..mutations() {
                let bytes = random.mutate(&valid);
                // Whatever comes of it, it is a result.
                drop(proto::Event::decode(&*bytes));
                drop(json::to_json("tradewind.events.v1.Event", &bytes));
                drop(cloud_events::render(&bytes));
            }
        }
    }
    for valid in ["order.paid", "order.*", "*", "webhook.endpoint_failing"] {
        for _ in 0..mutations() * 4 {
            let text = String::from_utf8_lossy(&random.mutate(valid.as_bytes())).into_owned();
            drop(TypeFilter::parse(&text));
        }
    }
    let verifier =
        Verifier::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a secret");
    let body =
        br#"{"id":"a","type":"order.paid","timestamp":"2026-11-21T12:00:00Z","data":{},"meta":{}}"#;
    let headers = [
        ("webhook-id", "0190b3a1-0000-7000-8000-000000000001"),
        ("webhook-timestamp", "1764000000"),
        ("webhook-signature", "v1,c2lnbmF0dXJl v1a,c2ln"),
    ];
    for _ in 0..mutations() * 10 {
        let damaged = headers.iter().filter_map(|(name, value)| {
            let value = HeaderValue::from_bytes(&random.mutate(value.as_bytes())).ok()?;
            Some((HeaderName::from_static(name), value))
        });
        let damaged: HeaderMap = damaged.collect();
        let body = random.mutate(body);
        assert!(verifier.verify(&damaged, &body).is_err(), "{damaged:?}");
    }
    still_works(installation).await;
}
