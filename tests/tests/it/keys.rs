//! API keys: made over HTTP, used at every gateway, limited, rotated, revoked; and what is kept of them.

use std::{fmt::Write as _, ops::Range, sync::atomic::Ordering, time::Duration};

use engine::Engine;
use events::proto::{event::Body, shop};
use node::{readiness::ProcessHealth, serve, services::Component, settings::WebhookOptions};
use protocol::{
    id::{CommandId, Shop},
    time::Timestamp,
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Gateway, Installation, OwnGateway, SHOP, order, settable_clock, settle, stock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

on_both_databases!(a_key_is_made_used_and_revoked_and_a_rebuild_keeps_it);

const HOUR_MS: i64 = 3_600_000;

/// Who has a key.
#[derive(Clone)]
struct Caller {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// What is answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    replayed: bool,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The code of a problem.
    #[track_caller]
    fn code(self, status: u16) -> String {
        text(&self.is(status), "code")
    }
}

impl Caller {
    fn new(url: &str, key: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned(), key: key.to_owned() }
    }

    fn with(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/v1/{path}", self.url)).bearer_auth(&self.key)
    }

    async fn send(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("it is answered");
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key("idempotency-replayed");
        Answer { status, replayed, body: response.json().await.expect("it is JSON") }
    }

    async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::POST, path).json(body)).await
    }

    /// Makes a key: its id, and itself.
    #[track_caller]
    fn made(answer: Answer) -> (String, String) {
        let made = answer.is(201);
        (text(&made, "id"), text(&made, "secret"))
    }

    /// Reads something of the shop.
    async fn products(&self) -> Answer {
        self.get(&format!("shops/{SHOP}/products")).await
    }
}

#[track_caller]
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}")).to_owned()
}

/// A key of the shop that may read.
fn reader() -> Value {
    json!({"description": "reports", "shops": [SHOP], "scopes": ["read"]})
}

async fn a_key_is_made_used_and_revoked_and_a_rebuild_keeps_it(db: Db) {
    let installation = Installation::start(&db, |settings| settings.partitions = 2).await;
    stock(&installation.api(), "MUG", 5).await;
    let admin = Caller::new(installation.url(), "secret");
    let made = admin.post("keys", &reader()).await;
    let shown = made.body.clone();
    let (id, key) = Caller::made(made);
    assert_eq!(shown["prefix"], format!("tw_{id}"));
    assert!(key.starts_with(&format!("tw_{id}_")), "{key}");
    assert_eq!((&shown["status"], &shown["scopes"]), (&json!("active"), &json!(["read"])));
    assert_eq!((&shown["shops"], &shown["all_shops"]), (&json!([SHOP]), &json!(false)));

    let reader = admin.with(&key);
    reader.products().await.is(200);
    // Neither what it does not allow, nor another shop, nor all of them.
    let product = json!({"products": []});
    let refused = reader.post(&format!("shops/{SHOP}/products"), &product).await;
    assert_eq!(refused.code(403), "forbidden");
    assert_eq!(reader.get("shops/beta/products").await.code(403), "forbidden");
    for path in ["shops", "keys", &format!("keys/{id}")] {
        assert_eq!(reader.get(path).await.code(403), "forbidden", "{path}");
    }
    // Nor with anything else behind its id.
    let forged = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    assert_eq!(admin.with(&forged).products().await.code(401), "unauthorized");

    let listed = admin.get("keys").await.is(200);
    assert_eq!((listed["keys"].as_array().map(Vec::len), &listed["next"]), (Some(1), &Value::Null));
    let engine = Engine::connect_only(installation.settings.engine()).await.expect("it connects");
    let of_shops = node::services::SERVICES.iter().find(|service| service.name == "shop");
    of_shops.expect("there is one").rebuild(&engine).await.expect("it is rebuilt");
    assert_eq!(text(&admin.get(&format!("keys/{id}")).await.is(200), "description"), "reports");
    reader.products().await.is(200);

    let reason = json!({"reason": "it got out"});
    let revoked = admin.post(&format!("keys/{id}/revoke"), &reason).await.is(200);
    assert_eq!(
        (&revoked["status"], &revoked["revocation_reason"]),
        (&json!("revoked"), &json!("it got out"))
    );
    // At once where it was revoked.
    let refused = reader.products().await.is(401);
    assert!(text(&refused, "detail").contains("was revoked"), "{refused}");
    let again = admin.post(&format!("keys/{id}/revoke"), &json!({})).await.is(200);
    assert_eq!(again["version"], revoked["version"]);
    let ended = admin.post(&format!("keys/{id}/rotate"), &json!({})).await;
    assert_eq!(ended.code(409), "key_ended");
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_at_every_gateway_until_it_is_revoked_at_one() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let other = Gateway::start(&installation.settings).await;
    let admin = Caller::new(installation.url(), "secret");
    let (id, key) = Caller::made(admin.post("keys", &reader()).await);
    let reader = admin.with(&key);
    let there = reader.at(other.url());
    there.products().await.is(200);

    let request = there.request(Method::GET, &format!("shops/{SHOP}/events"));
    let mut stream = request.header("accept", "text/event-stream").send().await.expect("it opens");
    assert_eq!(stream.status(), 200);
    admin.post(&format!("keys/{id}/revoke"), &json!({})).await.is(200);
    eventually("the other gateway refuses the key", async || there.products().await.status == 401)
        .await;
    let mut received = String::new();
    while let Some(part) = stream.chunk().await.expect("it goes on until its end") {
        received.push_str(&String::from_utf8_lossy(&part));
    }
    let end = received.rfind("event: end").expect("the end is said");
    assert!(received[end..].contains(r#""reason":"unauthorized""#), "{}", &received[end..]);

    // A gateway that is started anew knows nothing of keys but what the shop service says.
    let (_, key) = Caller::made(admin.post("keys", &self::reader()).await);
    other.stop().await;
    let other = Gateway::start(&installation.settings).await;
    reader.at(other.url()).products().await.is(401);
    admin.with(&key).at(other.url()).products().await.is(200);
    other.stop().await;
    installation.stop_and_verify_with(&["shop"]).await;
}

/// Adjustments of one unit each, as a chunk of a body.
fn adjustments(mut numbers: Range<u32>) -> String {
    let lines = numbers.try_fold(String::new(), |mut text, n| {
        let line = json!({"type": "adjustment", "sku": "MUG", "delta": 1, "reason": "found",
            "connector": "till", "document": format!("A-{n}"), "sequence": n});
        writeln!(text, "{line}").map(|()| text)
    });
    let lines = lines.expect("text can be written to");
    format!("{:x}\r\n{lines}\r\n", lines.len())
}

/// An upload that is running: its first 100 lines are applied.
struct RunningUpload {
    connection: TcpStream,
    received: Vec<u8>,
}

impl RunningUpload {
    async fn start(installation: &Installation, key: &str) -> Self {
        let head = format!(
            "POST /v1/shops/{SHOP}/inventory HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
             content-type: application/x-ndjson\r\naccept: application/x-ndjson\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        let address = installation.url().trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.expect("it connects");
        let begin = head + &adjustments(0..100);
        connection.write_all(begin.as_bytes()).await.expect("it is sent");
        let mut upload = Self { connection, received: Vec::new() };
        while upload.applied() < 100 {
            let length = upload.connection.read_buf(&mut upload.received).await;
            assert_ne!(length.expect("results come"), 0, "{}", upload.answer());
        }
        upload
    }

    fn answer(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn applied(&self) -> usize {
        self.answer().matches(r#""result":"applied""#).count()
    }

    /// Sends further lines, of which none is applied: the upload ends with that code.
    async fn ends_with(mut self, code: &str) {
        let rest = adjustments(100..200) + "0\r\n\r\n";
        self.connection.write_all(rest.as_bytes()).await.expect("it is sent");
        // The gateway reads no more: it may close the connection before it has read the end of the body.
        self.connection.read_to_end(&mut self.received).await.ok();
        let (answer, code) = (self.answer(), format!(r#""code":"{code}""#));
        for part in [r#""status":"interrupted""#, &code, r#""next_line":100,"#] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
        assert_eq!(self.applied(), 100, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_running_ends_with_its_key() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 0).await;
    let admin = Caller::new(installation.url(), "secret");
    let wanted = json!({"description": "ERP", "shops": [SHOP], "scopes": ["erp"]});
    let (id, key) = Caller::made(admin.post("keys", &wanted).await);

    let upload = RunningUpload::start(&installation, &key).await;
    admin.post(&format!("keys/{id}/revoke"), &json!({})).await.is(200);
    upload.ends_with("unauthorized").await;
    let level: Value = installation.api().get("inventory/MUG").await.expect("a level");
    assert_eq!(level["on_hand"], 100, "{level}");
    settle(&installation.api(), &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_running_ends_with_its_shop() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 0).await;
    let admin = Caller::new(installation.url(), "secret");
    let upload = RunningUpload::start(&installation, "secret").await;
    admin.post(&format!("shops/{SHOP}/suspend"), &json!({})).await.is(200);
    upload.ends_with("shop_suspended").await;
    admin.post(&format!("shops/{SHOP}/resume"), &json!({})).await.is(200);
    let level: Value = installation.api().get("inventory/MUG").await.expect("a level");
    assert_eq!(level["on_hand"], 100, "{level}");
    settle(&installation.api(), &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_is_accepted_by_every_gateway_at_once() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let gateway = Gateway::start(&installation.settings).await;
    let admin = Caller::new(installation.url(), "secret");
    let other = admin.at(gateway.url());
    // Often enough that the other gateway has looked the key up a moment before.
    for _ in 0..5 {
        let (id, first) = Caller::made(admin.post("keys", &reader()).await);
        other.with(&first).products().await.is(200);
        let rotated = admin.post(&format!("keys/{id}/rotate"), &json!({})).await.is(200);
        let second = text(&rotated, "secret");
        other.with(&second).products().await.is(200);
        other.with(&first).products().await.is(200);
        // The first one ends, and that another gateway may know a little later.
        let rotated = admin.post(&format!("keys/{id}/rotate"), &json!({"keep_old_s": 0})).await;
        let third = text(&rotated.is(200), "secret");
        other.with(&third).products().await.is(200);
        for ended in [&first, &second] {
            assert_eq!(other.with(ended).products().await.code(401), "unauthorized");
        }
        other.with(&third).products().await.is(200);
    }
    gateway.stop().await;
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_makes_no_secret_that_lasts_longer() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let root = Caller::new(installation.url(), "secret");
    let now = testkit::system_clock().now().millis();
    let key = |hours: Option<i64>| {
        let mut key = json!({"description": "x", "shops": [SHOP], "scopes": ["admin", "read"]});
        if let Some(hours) = hours {
            key["expires_at"] = json!(Timestamp::from_millis(now + hours * HOUR_MS));
        }
        key
    };
    let (own, secret) = Caller::made(root.post("keys", &key(Some(2))).await);
    let ends = root.with(&secret);
    for longer in [None, Some(3)] {
        let refused = ends.post("keys", &key(longer)).await.is(403);
        assert_eq!(refused["code"], "forbidden", "{refused}");
        assert_eq!(refused["errors"][0]["field"], "expires_at", "{refused}");
        let (id, _) = Caller::made(root.post("keys", &key(longer)).await);
        let refused = ends.post(&format!("keys/{id}/rotate"), &json!({})).await.is(403);
        assert_eq!(refused["errors"][0]["field"], "expires_at", "{refused}");
        // What takes access away gives nobody more.
        ends.post(&format!("keys/{id}/revoke"), &json!({})).await.is(200);
    }
    for no_longer in [1, 2] {
        let (id, _) = Caller::made(ends.post("keys", &key(Some(no_longer))).await);
        ends.post(&format!("keys/{id}/rotate"), &json!({})).await.is(200);
    }
    ends.post(&format!("keys/{own}/rotate"), &json!({})).await.is(200);
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_followed_with_the_key_that_sent_it() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let root = Caller::new(installation.url(), "secret");
    let with = async |scope: &str| {
        let wanted = json!({"description": scope, "shops": [SHOP], "scopes": [scope]});
        root.with(&Caller::made(root.post("keys", &wanted).await).1)
    };
    let shop = Shop::parse(SHOP).expect("a name");
    let command = |key: &str| format!("shops/{SHOP}/commands/{}", CommandId::from_key(&shop, key));
    let send = async |caller: &Caller, path: &str, key: &str, body: &Value| {
        let request = caller.request(Method::POST, &format!("shops/{SHOP}/{path}"));
        Caller::send(request.header("idempotency-key", key).json(body)).await
    };
    let adjustment = json!({"type": "adjustment", "sku": "MUG", "delta": 1, "reason": "found",
        "connector": "till", "document": "A-1", "sequence": 1});
    let endpoint = json!({"url": "https://receiver.example/hook", "event_types": ["order.*"]});
    let of_orders = with("orders").await;
    for (scope, path, body, service) in [
        ("orders", "orders", order("MUG", 1, "card"), "order"),
        ("erp", "inventory", adjustment, "inventory"),
        ("webhooks", "webhook-endpoints", endpoint, "notify"),
        ("admin", "suspend", json!({}), "shop"),
    ] {
        let caller = with(scope).await;
        let answer = send(&caller, path, scope, &body).await;
        assert!(answer.status < 300, "{answer:?}");
        let found = caller.get(&command(scope)).await.is(200);
        assert_eq!((&found["service"], &found["status"]), (&json!(service), &json!("answered")));
        // Who may not write there sees nothing of it.
        if !["order", "notify"].contains(&service) {
            assert_eq!(of_orders.get(&command(scope)).await.code(404), "not_found", "{scope}");
            let named = format!("{}?service={service}", command(scope));
            assert_eq!(of_orders.get(&named).await.code(403), "forbidden", "{scope}");
        }
    }
    // The shop is suspended now: nothing else is answered.
    let refused = of_orders.get(&format!("shops/{SHOP}/orders")).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    of_orders.get(&command("orders")).await.is(200);
    let unknown = command("orders").replace(SHOP, "nobody");
    assert_eq!(root.get(&unknown).await.code(404), "unknown_shop");
    root.post(&format!("shops/{SHOP}/resume"), &json!({})).await.is(200);
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_secret_of_a_rotated_key_is_accepted_for_a_time() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let start = testkit::system_clock().now().millis();
    let (now, clock) = settable_clock(start);
    let gateway = OwnGateway::start(&installation, |settings| {
        settings.clock = clock;
        settings.person_keys = installation.settings.person_keys().expect("they are there");
    })
    .await;
    let turn = |ms: i64| now.store(start + ms, Ordering::Relaxed);
    let admin = Caller::new(&format!("http://{}", gateway.address), "secret");
    let expires_at = Timestamp::from_millis(start + 100 * HOUR_MS);
    let mut wanted = reader();
    wanted["expires_at"] = json!(expires_at);
    let (id, first) = Caller::made(admin.post("keys", &wanted).await);
    let rotate = format!("keys/{id}/rotate");
    let rotated = admin.post(&rotate, &json!({"keep_old_s": 7_200})).await.is(200);
    let second = text(&rotated, "secret");
    assert_ne!(first, second);
    for key in [&first, &second] {
        admin.with(key).products().await.is(200);
    }
    turn(2 * HOUR_MS - 60_000);
    admin.with(&first).products().await.is(200);
    turn(3 * HOUR_MS);
    assert_eq!(admin.with(&first).products().await.code(401), "unauthorized");
    admin.with(&second).products().await.is(200);
    // At once, when the old secret got out.
    let third = text(&admin.post(&rotate, &json!({"keep_old_s": 0})).await.is(200), "secret");
    assert_eq!(admin.with(&second).products().await.code(401), "unauthorized");
    admin.with(&third).products().await.is(200);
    turn(100 * HOUR_MS);
    let expired = admin.with(&third).products().await.is(401);
    assert!(text(&expired, "detail").contains("has expired"), "{expired}");
    assert_eq!(admin.get(&format!("keys/{id}")).await.is(200)["status"], "expired");
    gateway.stop().await;
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_gives_what_it_does_not_have() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    stock(&installation.api_of("beta"), "MUG", 5).await;
    let root = Caller::new(installation.url(), "secret");
    let key = |shops: &[&str], scopes: &[&str]| json!({"description": "x", "shops": shops, "all_shops": shops.is_empty(), "scopes": scopes});
    let (own, secret) = Caller::made(root.post("keys", &key(&[SHOP], &["admin", "read"])).await);
    let of_acme = root.with(&secret);
    for (shops, scopes) in [
        (&[][..], &["read"][..]),
        (&["beta"], &["read"]),
        (&[SHOP, "beta"], &["read"]),
        (&[SHOP], &["orders"]),
        (&[SHOP], &["read", "erp"]),
    ] {
        let refused = of_acme.post("keys", &key(shops, scopes)).await;
        assert_eq!(refused.code(403), "forbidden", "{shops:?} {scopes:?}");
    }
    let (mine, _) = Caller::made(of_acme.post("keys", &key(&[SHOP], &["read"])).await);

    // What is of another shop it does not even see; and what allows more it leaves alone.
    let (of_beta, _) = Caller::made(root.post("keys", &key(&["beta"], &["read"])).await);
    let (of_all, _) = Caller::made(root.post("keys", &key(&[], &["read"])).await);
    let (of_both, _) = Caller::made(root.post("keys", &key(&[SHOP, "beta"], &["read"])).await);
    let (stronger, _) = Caller::made(root.post("keys", &key(&[SHOP], &["orders"])).await);
    for id in [&of_beta, &of_all, &of_both] {
        for path in [format!("keys/{id}"), format!("keys/{id}/history")] {
            assert_eq!(of_acme.get(&path).await.code(404), "not_found");
        }
        for what in ["rotate", "revoke"] {
            let refused = of_acme.post(&format!("keys/{id}/{what}"), &json!({})).await;
            assert_eq!(refused.code(404), "not_found");
        }
    }
    for what in ["rotate", "revoke"] {
        let refused = of_acme.post(&format!("keys/{stronger}/{what}"), &json!({})).await;
        assert_eq!(refused.code(403), "forbidden");
    }
    let listed = of_acme.get("keys").await.is(200);
    let listed = listed["keys"].as_array().expect("a list").iter();
    let mut ids: Vec<_> = listed.map(|key| text(key, "id")).collect();
    let mut seen = vec![own.clone(), mine.clone(), stronger];
    ids.sort();
    seen.sort();
    assert_eq!(ids, seen);
    of_acme.post(&format!("keys/{mine}/revoke"), &json!({})).await.is(200);

    // The scope of administrators alone does not give the others either.
    let (_, secret) = Caller::made(root.post("keys", &key(&[], &["admin"])).await);
    let refused = root.with(&secret).post("keys", &key(&[], &["orders"])).await;
    assert_eq!(refused.code(403), "forbidden");
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_says_of_a_webhook_endpoint_is_for_keys_of_webhooks() {
    let db = Db::sqlite();
    let on_this_machine = WebhookOptions::on_this_machine();
    let installation =
        Installation::start(&db, |settings| settings.webhooks = on_this_machine).await;
    stock(&installation.api(), "MUG", 5).await;
    let admin = Caller::new(installation.url(), "secret");
    let (_, key) = Caller::made(admin.post("keys", &reader()).await);
    let reader = admin.with(&key);
    let shop = Shop::parse(SHOP).expect("a name");
    let command = |key: &str| format!("shops/{SHOP}/commands/{}", CommandId::from_key(&shop, key));

    let endpoint = json!({"url": "http://127.0.0.1:1/hidden", "event_types": ["order.*"]});
    let path = format!("shops/{SHOP}/webhook-endpoints");
    let request = admin.request(Method::POST, &path).header("idempotency-key", "hook");
    Caller::send(request.json(&endpoint)).await.is(201);
    let found = admin.get(&command("hook")).await.is(200);
    let settings = &found["answer"]["changeWebhooks"]["endpoint"]["settings"];
    assert_eq!(settings["url"], "http://127.0.0.1:1/hidden", "{found}");
    assert_eq!(reader.get(&command("hook")).await.code(404), "not_found");

    let product = json!({"title": "A cup", "price": {"minor": 300, "currency": "GBP"}});
    let path = format!("shops/{SHOP}/products/CUP");
    let request = admin.request(Method::PUT, &path).header("idempotency-key", "cup");
    Caller::send(request.json(&product)).await.is(201);
    assert_eq!(reader.get(&command("cup")).await.is(200)["status"], "answered");
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_key_that_is_asked_for_is_named() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let admin = Caller::new(installation.url(), "secret");
    for (body, wrong) in [
        (json!({}), &["description", "scopes", "shops"][..]),
        (json!({"description": "x", "scopes": [], "shops": [SHOP]}), &["scopes"]),
        (json!({"description": "x", "scopes": ["all"], "shops": [SHOP]}), &["scopes[0]"]),
        (json!({"description": "x", "scopes": ["read"]}), &["shops"]),
        (
            json!({"description": "x", "scopes": ["read"], "shops": [SHOP], "all_shops": true}),
            &["shops"],
        ),
        (
            json!({"description": "x", "scopes": ["read"], "shops": [SHOP, "nowhere"]}),
            &["shops[1]"],
        ),
        (
            json!({"description": "x", "scopes": ["read"], "all_shops": true,
            "expires_at": "2020-01-01T00:00:00Z"}),
            &["expires_at"],
        ),
    ] {
        let refused = admin.post("keys", &body).await.is(422);
        let errors = refused["errors"].as_array().expect("they are named").iter();
        let mut fields: Vec<_> = errors.map(|error| text(error, "field")).collect();
        fields.sort();
        assert_eq!(fields, wrong, "{body}");
    }
    for path in ["keys/0123456789abcdef", "keys/0123456789abcdef/history"] {
        assert_eq!(admin.get(path).await.code(404), "not_found");
    }
    assert_eq!(admin.get("keys/UPPER").await.code(422), "invalid_fields");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_kept_nowhere() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |it| it.integrator_streams = true).await;
    stock(&installation.api(), "MUG", 5).await;
    let admin = Caller::new(installation.url(), "secret");
    let make =
        || admin.request(Method::POST, "keys").header("idempotency-key", "a-key").json(&reader());
    let first = Caller::send(make()).await;
    assert!(!first.replayed);
    let (id, key) = Caller::made(first);
    let again = Caller::send(make()).await;
    assert!(again.replayed);
    let again = again.is(201);
    assert_eq!((text(&again, "id"), &again["secret"]), (id.clone(), &Value::Null));
    assert!(text(&again, "notice").contains("not shown again"), "{again}");
    admin.with(&key).products().await.is(200);
    // Another key under the same idempotency key is refused; another caller's is another one.
    let other = json!({"description": "other", "shops": [SHOP], "scopes": ["read"]});
    let reused =
        admin.request(Method::POST, "keys").header("idempotency-key", "a-key").json(&other);
    assert_eq!(Caller::send(reused).await.code(422), "idempotency_key_reused");
    admin.post(&format!("keys/{id}/rotate"), &json!({})).await.is(200);
    eventually("the use is noted", async || {
        let key = admin.get(&format!("keys/{id}")).await.is(200);
        !key["last_used_at"].is_null()
    })
    .await;
    for _ in 0..20 {
        admin.with(&key).products().await.is(200);
    }
    admin.post(&format!("keys/{id}/revoke"), &json!({"reason": "done"})).await.is(200);

    let history = admin.get(&format!("keys/{id}/history")).await.is(200);
    let events = history["events"].as_array().expect("a list");
    let mut kinds: Vec<_> = events.iter().map(|event| text(event, "type")).collect();
    assert_eq!((kinds[0].as_str(), events[0]["reason"].as_str()), ("key_revoked", Some("done")));
    assert_eq!(
        (text(&events[0], "actor_kind"), text(&events[0], "actor_id")),
        ("api_key".into(), "default".into())
    );
    kinds.sort();
    // However often it was used meanwhile.
    assert_eq!(kinds, ["key_added", "key_revoked", "key_rotated", "key_used"]);

    let log = installation.server.events::<events::proto::Event>("SHOP-0").await;
    let of_keys: Vec<_> =
        log.iter().filter(|entry| matches!(entry.event.body, Some(Body::Key(_)))).collect();
    assert_eq!(of_keys.len(), 4);
    for entry in &of_keys {
        assert!(entry.subject.starts_with("engine.shop.0.key_"), "{}", entry.subject);
    }
    let Some(Body::Key(shop::KeyEvent { kind: Some(shop::key_event::Kind::Added(added)) })) =
        &of_keys[0].event.body
    else {
        panic!("{:?}", of_keys[0].event)
    };
    let secret = key.rsplit('_').next().expect("it has one");
    let inbox = installation.server.events::<events::proto::Command>("INBOX-0").await;
    let kept = format!("{log:?} {inbox:?}");
    assert!(kept.contains(&added.digest) && !kept.contains(secret));

    // What others may read says nothing of keys; and no answer says by what a secret is checked.
    let public = installation.server.events::<events::proto::Event>("SHOPS").await;
    assert!(!public.is_empty());
    assert!(public.iter().all(|entry| !matches!(entry.event.body, Some(Body::Key(_)))));
    for path in [
        format!("shops/{SHOP}/events"),
        "event-types".to_owned(),
        "keys".to_owned(),
        format!("keys/{id}"),
        format!("keys/{id}/history"),
    ] {
        let shown = admin.get(&path).await.is(200).to_string();
        assert!(!shown.contains(&added.digest) && !shown.contains(secret), "{path}");
        assert!(path.starts_with("keys") || !shown.contains("key_added"), "{path}");
    }
    for path in [
        "shops/-/events",
        "shops/-/history",
        "shops/-/commands/018f0000-0000-7000-8000-000000000001",
    ] {
        assert_eq!(admin.get(path).await.code(422), "invalid_fields", "{path}");
    }
    installation.stop_and_verify_with(&["shop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_key_holds_while_the_shop_service_does_not_answer() {
    let db = Db::sqlite();
    let installation = Installation::start_without("shop", &db).await;
    let shops = CancellationToken::new();
    let component = Component::all().into_iter().find(|it| it.name() == "shop");
    let component = component.expect("there is one");
    let running = tokio::spawn({
        let (settings, stop) = (installation.settings.clone(), shops.clone());
        async move {
            serve::serve(
                &settings,
                &[component],
                stop,
                ProcessHealth::default(),
                oneshot::channel().0,
            )
            .await
        }
    });
    stock(&installation.api(), "MUG", 5).await;
    let admin = Caller::new(installation.url(), "secret");
    let (_, key) = Caller::made(admin.post("keys", &reader()).await);
    let (_, unused) = Caller::made(admin.post("keys", &reader()).await);
    admin.with(&key).products().await.is(200);
    shops.cancel();
    running.await.expect("no panic").expect("it stops cleanly");
    // For longer than a key is relied on without asking.
    for _ in 0..4 {
        admin.with(&key).products().await.is(200);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(admin.with(&unused).products().await.code(503), "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_warehouse_records_what_moves_and_nothing_else() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let placed = settle(&installation.api(), &order("MUG", 2, "card"), "first").await.body;
    let id = text(&placed, "id");
    let admin = Caller::new(installation.url(), "secret");
    let wanted = json!({"description": "warehouse", "shops": [SHOP], "scopes": ["fulfilment"]});
    let (_, key) = Caller::made(admin.post("keys", &wanted).await);
    let warehouse = admin.with(&key);
    let of_shop = |path: &str| format!("shops/{SHOP}/{path}");
    let berlin = admin.request(Method::PUT, &of_shop("locations/berlin"));
    Caller::send(berlin.json(&json!({}))).await.is(201);

    let line = |kind: &str, sequence: u64, members: Value| {
        let mut line = json!({"type": kind, "sku": "MUG", "connector": "wms", "sequence": sequence,
            "document": format!("{kind}-{sequence}")});
        let members = members.as_object().cloned().unwrap_or_default();
        line.as_object_mut().expect("an object").extend(members);
        line
    };
    let lines = json!({"lines": [
        line("goods_issue", 1, json!({"quantity": 2, "order_id": id})),
        line("count", 2, json!({"quantity": 100})),
        line("adjustment", 3, json!({"delta": 1, "reason": "found"})),
        line("transfer_out", 4, json!({"quantity": 1, "transfer": "T-1", "to": "berlin"})),
    ]});
    let sent = warehouse.post(&of_shop("inventory"), &lines).await.is(200);
    let results: Vec<_> = (0..4).map(|n| text(&sent["results"][n], "result")).collect();
    assert_eq!(results, ["applied", "rejected", "rejected", "applied"], "{sent}");
    let error = &sent["results"][1]["errors"][0];
    assert_eq!(error["field"], "type", "{sent}");
    assert!(text(error, "detail").contains("an API key with the scope erp"), "{sent}");
    // By itself, and as a line of an upload.
    let count = line("count", 5, json!({"quantity": 1}));
    let refused = warehouse.post(&of_shop("inventory"), &count).await.is(422);
    assert_eq!(refused["errors"][0]["field"], "type", "{refused}");
    let upload = warehouse.request(Method::POST, &of_shop("inventory"));
    let upload = upload.header("content-type", "application/x-ndjson").body(count.to_string());
    let uploaded = Caller::send(upload).await.is(200);
    assert_eq!(uploaded["results"][0]["result"], "rejected", "{uploaded}");

    let of_order = format!("orders/{id}");
    for path in ["orders?on_hold=true", &of_order, "inventory", "inventory/MUG", "locations"] {
        warehouse.get(&of_shop(path)).await.is(200);
    }
    for path in ["products", "payments/stuck", "rejections", "connectors", "events", "totals"] {
        let refused = warehouse.get(&of_shop(path)).await;
        assert_eq!(refused.code(403), "forbidden", "{path}");
    }
    for (path, body) in [
        ("orders", json!({})),
        ("products", json!({"products": []})),
        ("rejections/redrive", json!({})),
        (&format!("orders/{id}/cancel"), json!({})),
    ] {
        assert_eq!(warehouse.post(&of_shop(path), &body).await.code(403), "forbidden", "{path}");
    }
    let shown = admin.get(&of_shop("inventory/MUG")).await.is(200);
    assert_eq!(shown["on_hand"], 2, "{shown}");
    installation.stop_and_verify().await;
}
