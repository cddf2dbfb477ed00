//! What a shop has is nowhere else: every operation of the description is asked for what another shop has, by
//! its real ids, with a key of the own shop and with one of both. A route that is added is asked as well; a
//! parameter that is added must be named here.

mod conditions;

use std::collections::BTreeMap;

use axum::{Router, http::StatusCode, routing::post};
use events::http::OrderView;
use node::settings::WebhookOptions;
use protocol::id::{CommandId, Shop};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually};
use tests::Installation;
use tokio::net::TcpListener;

/// The shop of which nothing may be seen. All that is put into it has its name in it, or an id made by chance.
const ACME: &str = "acme";
/// The shop that is asked.
const BETA: &str = "beta";
const SKU: &str = "ACME-MUG";
/// The operations that make something under a name which the caller chooses: each shop has its own.
const NAMED_BY_CALLER: [&str; 5] =
    ["put_product", "put_location", "put_stock_limits", "put_category", "put_listing"];
/// The other operations without an id in the path that change something: they do it in their own shop.
const OF_OWN_SHOP: [&str; 11] = [
    "put_shop",
    "suspend_shop",
    "resume_shop",
    "put_products",
    "record_stock",
    "record_fulfilments",
    "place_order",
    "redrive_rejections",
    "drop_rejections",
    "create_webhook_endpoint",
    "put_mail_settings",
];
/// The operation that shows an empty list of what the shop does not have, rather than that there is none.
const EMPTY: (&str, &str) = ("list_movements", "movements");
/// The parameters of queries that are no ids, and by what they are asked.
const NO_IDS: [(&str, Option<&str>); 23] = [
    ("archived", Some("true")),
    ("after", None),
    ("limit", None),
    ("wait", None),
    ("types", None),
    ("state", None),
    ("type", None),
    ("reason", None),
    ("sort", Some("oldest")),
    ("status", None),
    ("trouble", Some("stuck")),
    ("payment_status", Some("paid")),
    ("fulfilment_status", Some("unfulfilled")),
    ("on_hold", Some("true")),
    ("since", Some("2020-01-01T00:00:00Z")),
    ("placed_from", Some("2020-01-01T00:00:00Z")),
    ("placed_until", Some("2100-01-01T00:00:00Z")),
    ("begun_from", Some("2020-01-01T00:00:00Z")),
    ("begun_until", Some("2100-01-01T00:00:00Z")),
    // Of a reconciliation times, and of deliveries numbers.
    ("from", None),
    ("until", None),
    ("to", None),
    ("from_line", None),
];

/// An operation of the description.
#[derive(Debug)]
struct Operation {
    id: &'static str,
    method: Method,
    /// Such as `/v1/shops/{shop}/orders/{id}`.
    path: &'static str,
    described: &'static Value,
}

fn operations() -> Vec<Operation> {
    let paths = gateway::openapi_document()["paths"].as_object().expect("there are paths");
    let mut found = Vec::new();
    for (path, item) in paths {
        for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            let described = &item[method.as_str().to_lowercase()];
            if let Some(id) = described["operationId"].as_str() {
                found.push(Operation { id, method, path, described });
            }
        }
    }
    found
}

impl Operation {
    fn is_of_shop(&self) -> bool {
        self.path.starts_with("/v1/shops/{shop}")
    }

    /// Whether an id stands in its path beside the shop.
    fn has_id(&self) -> bool {
        self.path.replace("{shop}", "").contains('{')
    }

    /// The names of the parameters of its query, those that must be given first.
    fn query(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let parameters = self.described["parameters"].as_array().into_iter().flatten();
        let in_query: Vec<_> = parameters.filter(|it| it["in"] == "query").collect();
        let names = |required: bool| {
            let chosen = in_query.iter().filter(|it| it["required"] == required);
            chosen.map(|it| it["name"].as_str().expect("a name")).collect()
        };
        (names(true), names(false))
    }

    /// The body of its example, if it takes one.
    fn body(&self) -> Option<&'static Value> {
        self.described["requestBody"]["content"].get("application/json")?.get("example")
    }
}

/// What is in the shop of which nothing may be seen.
struct Acme {
    /// What stands for each parameter of a path.
    ids: BTreeMap<&'static str, String>,
    /// What stands for each parameter of a query.
    values: BTreeMap<&'static str, String>,
}

impl Acme {
    /// The path of an operation in a shop, with the ids of this one.
    fn path(&self, operation: &Operation, shop: &str) -> String {
        let segments = operation.path.split('/').map(|segment| {
            let Some(name) = segment.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
                return segment;
            };
            match name {
                "shop" => shop,
                _ => self.ids.get(name).unwrap_or_else(|| panic!("{name} is not known here")),
            }
        });
        let path = segments.collect::<Vec<_>>().join("/");
        let (required, _) = operation.query();
        let times = required.iter().map(|name| match *name {
            "from" => "from=2020-01-01T00:00:00Z",
            "until" => "until=2100-01-01T00:00:00Z",
            other => panic!("{other} is not known here"),
        });
        let times: Vec<_> = times.collect();
        if times.is_empty() { path } else { format!("{path}?{}", times.join("&")) }
    }

    /// Whether something of this shop stands in a text.
    fn is_in(&self, text: &str) -> bool {
        let by_chance = ["id", "command_id", "endpoint_id", "replay_id"];
        text.to_lowercase().contains(ACME)
            || by_chance.iter().any(|id| text.contains(&self.ids[id]))
    }
}

/// Who asks.
#[derive(Clone)]
struct Caller {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Caller {
    async fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send_with(method, path, body, ("accept", "application/json")).await
    }

    /// The same with a header more.
    async fn send_with(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        (name, value): (&str, &str),
    ) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(method.clone(), url).bearer_auth(&self.key);
        let mut request = request.header(name, value);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.header("prefer", "wait=30").send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(&Method::GET, path, None).await
    }

    /// Sends what must succeed.
    async fn does(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(&method, path, Some(&body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// The same caller with a key that is made for these shops, and allows everything.
    async fn for_shops(&self, shops: &[&str]) -> (String, Self) {
        let scopes = ["read", "orders", "prices-as-sold", "erp", "webhooks", "admin"];
        let body = json!({"description": shops.join("+"), "shops": shops, "scopes": scopes});
        let made = self.does(Method::POST, "/v1/keys", body).await;
        let key = made["secret"].as_str().expect("it is shown").to_owned();
        (made["id"].as_str().expect("an id").to_owned(), Self { key, ..self.clone() })
    }
}

/// A receiver of webhooks on this machine.
async fn receiver() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hooks", socket.local_addr().expect("is bound"));
    let routes = Router::new().route("/hooks", post(|| async { StatusCode::NO_CONTENT }));
    tokio::spawn(async move { axum::serve(socket, routes).await });
    url
}

/// Fills a shop with something of each kind.
async fn fill(root: &Caller) -> Acme {
    let shop = format!("/v1/shops/{ACME}");
    let put = async |path: &str, body| root.does(Method::PUT, &format!("{shop}{path}"), body).await;
    let post =
        async |path: &str, body| root.does(Method::POST, &format!("{shop}{path}"), body).await;
    put("", json!({"currency": "GBP"})).await;
    put("", json!({"currency": "GBP", "hold_seconds": 1_800})).await;
    put(
        &format!("/products/{SKU}"),
        json!({"title": "An acme mug", "price": {"minor": 950, "currency": "GBP"},
            "listing_key": "acme-mug"}),
    )
    .await;
    put("/categories/acme-kitchen", json!({"title": "The acme kitchen"})).await;
    let mugs = json!({"title": "Acme mugs", "parent_key": "acme-kitchen"});
    for place in [1, 2] {
        let mut mugs = mugs.clone();
        mugs["place"] = json!(place);
        put("/categories/acme-mugs", mugs).await;
    }
    let listing = json!({"title": "An acme mug", "category_keys": ["acme-mugs"],
        "variants": [{"sku": SKU}]});
    put("/listings/acme-mug", listing).await;
    put("/listings/acme-mug", json!({"title": "Another acme mug"})).await;
    put("/listings/acme-other", json!({"title": "Another listing of acme"})).await;
    put("/locations/acme-store", json!({"kind": "store", "country": "DE"})).await;
    put(
        "/mail",
        json!({"events": ["order.confirmed"],
            "sender": {"name": "Acme", "address": "orders@acme.example"}}),
    )
    .await;
    for (sku, sequence) in [(SKU, 1), ("ACME-CAP", 2), ("ACME-BAG", 3)] {
        let line = json!({"type": "count", "sku": sku, "quantity": 20, "connector": "acme-erp",
            "document": format!("ACME-{sequence}"), "sequence": sequence});
        post("/inventory", line).await;
    }
    let endpoint = json!({"url": receiver().await, "event_types": ["order.*"],
        "description": "of acme"});
    let endpoint = post("/webhook-endpoints", endpoint).await;
    let endpoint = endpoint["id"].as_str().expect("an id").to_owned();
    let order = json!({"reference": "ACME-R-1", "customer_id": "ACME-C-1", "currency": "GBP",
        "lines": [{"sku": SKU, "quantity": 2}],
        "personal": {"email": "ann@acme.example"}});
    let request = root.http.post(format!("{}{shop}/orders", root.url)).bearer_auth(&root.key);
    let request = request.header("idempotency-key", "acme-1").header("prefer", "wait=30");
    let placed = request.json(&order).send().await.expect("an answer");
    let placed: OrderView = placed.json().await.expect("an order");
    assert!(placed.is_settled(), "{placed:?}");
    let second = json!({"currency": "GBP", "lines": [{"sku": SKU, "quantity": 1}]});
    post("/orders", second).await;
    let id = placed.id.to_string();
    let delivery = format!("{shop}/webhook-endpoints/{endpoint}/deliveries/1");
    for path in [delivery, format!("{shop}/mails/1")] {
        eventually("it is scheduled", async || root.get(&path).await.0 == 200).await;
    }
    let replay = json!({"selection": "all", "from": 1});
    let replay = post(&format!("/webhook-endpoints/{endpoint}/replays"), replay).await;
    let (_, payment) = root.get(&format!("{shop}/payments/{id}-1")).await;
    let command = CommandId::from_key(&Shop::parse(ACME).expect("a name"), "acme-1").to_string();
    let (key_id, _) = root.for_shops(&[ACME]).await;
    let text = |value: &Value| value.as_str().expect("is text").to_owned();
    Acme {
        ids: BTreeMap::from([
            ("sku", SKU.to_owned()),
            ("code", "acme-store".to_owned()),
            ("category_key", "acme-mugs".to_owned()),
            ("listing_key", "acme-mug".to_owned()),
            ("id", id.clone()),
            ("payment_id", format!("{id}-1")),
            ("command_id", command),
            ("endpoint_id", endpoint),
            // Of a delivery, and of a mail.
            ("seq", "1".to_owned()),
            ("replay_id", text(&replay["id"])),
            ("connector", "acme-erp".to_owned()),
            ("rejection_id", "acme-erp.1".to_owned()),
            ("key_id", key_id),
        ]),
        values: BTreeMap::from([
            ("reference", "ACME-R-1".to_owned()),
            ("q", "ACME-R-1".to_owned()),
            ("customer_id", "ACME-C-1".to_owned()),
            ("order_id", id),
            ("provider_reference", text(&payment["provider_reference"])),
            ("sku", SKU.to_owned()),
            ("connector", "acme-erp".to_owned()),
            ("document", "ACME-2".to_owned()),
            ("location", "acme-store".to_owned()),
        ]),
    }
}

/// What does not change while nobody may do anything in the shop.
async fn snapshot(root: &Caller, acme: &Acme) -> BTreeMap<&'static str, Value> {
    let operations = operations();
    let kept = [
        "get_shop",
        "get_product",
        "get_stock",
        "get_location",
        "get_order",
        "get_history_of_order",
        "get_payment",
        "get_rejection",
        "get_mail_settings",
        "list_orders",
        "list_payments",
        "list_rejections",
        "list_levels",
        "list_products",
        "get_category",
        "get_listing",
        "list_categories",
        "list_listings",
    ];
    let mut found = BTreeMap::new();
    for id in kept {
        let operation = operations.iter().find(|it| it.id == id).expect(id);
        let (status, mut body) = root.get(&acme.path(operation, ACME)).await;
        assert_eq!(status, 200, "{id}: {body}");
        if id == "get_mail_settings" {
            body["statistics"] = Value::Null;
        }
        found.insert(id, body);
    }
    found
}

/// Every list of the shop, and each by every id of the other: none shows anything of that.
async fn check_lists(caller: &Caller, acme: &Acme) {
    let mut asked = 0;
    for operation in operations().iter().filter(|it| it.is_of_shop() && !it.has_id()) {
        if operation.method != Method::GET {
            assert!(OF_OWN_SHOP.contains(&operation.id), "{}: say what it does", operation.id);
            continue;
        }
        let path = acme.path(operation, BETA);
        let mut paths = vec![path.clone()];
        let (_, optional) = operation.query();
        for name in optional {
            let value = if let Some(value) = acme.values.get(name) {
                Some(value.as_str())
            } else {
                let known = NO_IDS.iter().find(|(known, _)| *known == name);
                known.unwrap_or_else(|| panic!("{name} is not known here")).1
            };
            let separator = if path.contains('?') { '&' } else { '?' };
            paths.extend(value.map(|value| format!("{path}{separator}{name}={value}")));
        }
        for path in paths {
            let (status, body) = caller.get(&path).await;
            assert_eq!(status, 200, "{path}: {body}");
            assert!(!acme.is_in(&body.to_string()), "{path}: {body}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

/// Every operation on one thing: what the other shop has is not found.
async fn check_ids(caller: &Caller, acme: &Acme) {
    let mut asked = 0;
    for operation in operations().iter().filter(|it| it.is_of_shop() && it.has_id()) {
        if NAMED_BY_CALLER.contains(&operation.id) {
            continue;
        }
        let path = acme.path(operation, BETA);
        let (status, body) = caller.send(&operation.method, &path, operation.body()).await;
        asked += 1;
        if operation.id == EMPTY.0 {
            assert_eq!((status, &body[EMPTY.1]), (200, &json!([])), "{path}: {body}");
            continue;
        }
        let found = (status, &body["code"]);
        assert_eq!(found, (404, &json!("not_found")), "{}: {path}: {body}", operation.id);
    }
    assert!(asked > 35, "{asked}");
}

/// A cursor of a list of the other shop shows nothing of it.
async fn check_cursors(root: &Caller, caller: &Caller, acme: &Acme) {
    let mut refused = Vec::new();
    for operation in operations().iter().filter(|it| it.is_of_shop() && !it.has_id()) {
        let (required, optional) = operation.query();
        if operation.method != Method::GET || !required.is_empty() || !optional.contains(&"after") {
            continue;
        }
        let (_, page) = root.get(&format!("{}?limit=1", acme.path(operation, ACME))).await;
        let Some(next) = page["next"].as_str() else { continue };
        let path = format!("{}?after={next}", acme.path(operation, BETA));
        let (status, body) = caller.get(&path).await;
        assert_eq!((status, &body["errors"][0]["field"]), (422, &json!("after")), "{path}: {body}");
        refused.push(operation.id);
    }
    for id in [
        "list_orders",
        "list_payments",
        "list_events",
        "list_products",
        "list_categories",
        "list_listings",
        "list_levels",
        "list_rejections",
        "get_history_of_shop",
    ] {
        assert!(refused.contains(&id), "{id}: {refused:?}");
    }
}

/// What is done in the own shop with ids of the other leaves the other as it is.
async fn check_commands(caller: &Caller, acme: &Acme) {
    let beta = |path: &str| format!("/v1/shops/{BETA}{path}");
    let order = json!({"currency": "GBP", "lines": [{"sku": SKU, "quantity": 1}]});
    let (status, body) = caller.send(&Method::POST, &beta("/orders"), Some(&order)).await;
    assert_eq!((status, &body["code"]), (422, &json!("lines_refused")), "{body}");
    let filter = json!({"filter": {"connector": "acme-erp"}, "reason": "not ours"});
    let redrive = json!({"filter": {"connector": "acme-erp"}});
    for (path, body) in [("/rejections/drop", filter), ("/rejections/redrive", redrive)] {
        let handled = caller.does(Method::POST, &beta(path), body).await;
        assert_eq!(handled["results"], json!([]), "{path}");
    }
    let issue = json!({"type": "goods_issue", "sku": SKU, "quantity": 1, "connector": "acme-erp",
        "document": "ACME-9", "sequence": 9, "order_id": acme.ids["id"]});
    let (status, issued) = caller.send(&Method::POST, &beta("/inventory"), Some(&issue)).await;
    assert!(status < 500, "{issued}");
    // What a caller names is that of his own shop.
    let operations = operations();
    for id in NAMED_BY_CALLER {
        let operation = operations.iter().find(|it| it.id == id).expect(id);
        let path = acme.path(operation, BETA);
        let body = match id {
            // Their examples name what only their own shop has.
            "put_category" | "put_listing" => json!({"title": "Of beta"}),
            _ => operation.body().expect("a body").clone(),
        };
        caller.does(Method::PUT, &path, body).await;
    }
    let below = json!({"title": "x", "parent_key": "acme-kitchen"});
    let (status, refused) = caller.send(&Method::PUT, &beta("/categories/x"), Some(&below)).await;
    assert_eq!((status, &refused["code"]), (422, &json!("unknown_category")), "{refused}");
    let shown =
        json!({"title": "x", "category_keys": ["acme-kitchen"], "variants": [{"sku": SKU}]});
    let (status, refused) = caller.send(&Method::PUT, &beta("/listings/x"), Some(&shown)).await;
    assert_eq!((status, &refused["code"]), (422, &json!("unknown_category")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_shop_is_found_through_the_path_of_another() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let http = reqwest::Client::new();
    let root = Caller { http, url: installation.url().to_owned(), key: "secret".to_owned() };
    let acme = fill(&root).await;
    let beta = installation.api_of(BETA);
    tests::stock(&beta, "CUP", 5).await;
    tests::settle(&beta, &tests::order("CUP", 1, "card"), "order-1").await;
    let mail = json!({"events": [], "sender": {"name": "Beta", "address": "b@beta.example"}});
    root.does(Method::PUT, &format!("/v1/shops/{BETA}/mail"), mail).await;
    let (_, of_beta) = root.for_shops(&[BETA]).await;
    let (_, of_both) = root.for_shops(&[ACME, BETA]).await;

    // All of it is there, where it belongs.
    for operation in operations() {
        if operation.is_of_shop() && operation.method == Method::GET {
            let path = acme.path(&operation, ACME);
            let (status, body) = of_both.get(&path).await;
            assert_eq!(status, 200, "{path}: {body}");
            let (status, body) = of_beta.get(&path).await;
            assert_eq!((status, &body["code"]), (403, &json!("forbidden")), "{path}: {body}");
        }
    }
    let before = snapshot(&root, &acme).await;
    for caller in [&of_beta, &of_both] {
        check_lists(caller, &acme).await;
        check_ids(caller, &acme).await;
        check_cursors(&root, caller, &acme).await;
    }
    // A key of another shop is not even seen.
    for operation in operations().iter().filter(|it| it.path.contains("{key_id}")) {
        let path = acme.path(operation, BETA);
        let (status, body) = of_beta.send(&operation.method, &path, operation.body()).await;
        assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{path}: {body}");
    }
    let (_, keys) = of_beta.get("/v1/keys").await;
    assert!(!acme.is_in(&keys.to_string()), "{keys}");
    check_commands(&of_both, &acme).await;
    let after = snapshot(&root, &acme).await;
    for (id, body) in &before {
        assert_eq!(after[id], *body, "{id} has changed");
    }
    installation.stop_and_verify_with(&["shop", "order", "payment", "inventory", "catalog"]).await;
}
