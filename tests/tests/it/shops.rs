//! Shops: a request to one that there is not, or that is suspended, is refused by every gateway.

use client::Client;
use events::{
    proto::{self, command::Body},
    shop::Settings,
};
use node::{readiness::ProcessHealth, serve, services::Component};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::Db;
use tests::{Installation, order, settle};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Another gateway of an installation.
struct Gateway {
    url: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    async fn start(installation: &Installation) -> Self {
        let settings = installation.settings.clone();
        let (bound, address) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let running = tokio::spawn(async move {
            serve::serve(&settings, &[Component::Gateway], stop, ProcessHealth::default(), bound)
                .await
        });
        let url = format!("http://{}", address.await.expect("it listens"));
        Self { url, shutdown, running }
    }

    fn api(&self, shop: &str) -> Client {
        Client::new(&self.url, "secret", shop).expect("a client").without_retries()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("it stops cleanly");
    }
}

/// The status and the code of the answer.
async fn refusal(api: &Client, method: Method, path: &str) -> (u16, Value) {
    let request = api.request(method, path).json(&json!({}));
    let answer = api.send(request).await.expect("it is answered");
    (answer.status.as_u16(), answer.body["code"].clone())
}

/// Every route below a shop.
fn routes() -> Vec<(Method, &'static str)> {
    let order = "orders/01a1f992-9272-720c-82e9-ef07a878d94f";
    let history = "orders/01a1f992-9272-720c-82e9-ef07a878d94f/history";
    let cancel = "orders/01a1f992-9272-720c-82e9-ef07a878d94f/cancel";
    vec![
        (Method::GET, "products"),
        (Method::POST, "products"),
        (Method::GET, "products/A"),
        (Method::PUT, "products/A"),
        (Method::GET, "inventory"),
        (Method::POST, "inventory"),
        (Method::GET, "inventory/A"),
        (Method::GET, "orders"),
        (Method::POST, "orders"),
        (Method::GET, order),
        (Method::GET, history),
        (Method::POST, cancel),
        (Method::GET, "totals"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_was_created_through_another_gateway_is_found_at_once() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| settings.partitions = 2).await;
    let other = Gateway::start(&installation).await;
    let url = installation.url().to_owned();
    for number in 0..10 {
        let name = format!("shop-{number}");
        let here = Client::new(&url, "secret", &name).expect("a client").without_retries();
        for (method, path) in routes() {
            let (status, code) = refusal(&here, method.clone(), path).await;
            assert_eq!((status, code), (404, json!("unknown_shop")), "{method} {path}");
        }
        other.api(&name).create_shop(&Settings::default()).await.expect("it is created");
        let product =
            json!({"sku": "MUG", "title": "Mug", "price": {"minor": 1, "currency": "GBP"}});
        let pushed = here.push("products", product.to_string()).await.expect("the shop is known");
        assert_eq!(pushed.applied, 1, "{pushed:?}");
    }
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_can_be_placed_right_after_its_shop_was_created() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    tests::stock(&api, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 2, "card"), "first").await;
    assert_eq!(placed.body["payment_status"], "paid", "{}", placed.body);
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_has_one_name_in_a_path_for_handlers_and_limits_alike() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    tests::stock(&installation.api(), "MUG", 5).await;
    let gateway = Gateway::start(&installation).await;
    let (first, rest) = tests::SHOP.split_at(1);
    let encoded = format!("%{:x}{rest}", first.as_bytes()[0]);
    let get = async |shop: &str| {
        let url = format!("{}/v1/shops/{shop}/products", gateway.url);
        let answer = reqwest::Client::new().get(url).bearer_auth("secret").send().await;
        let answer = answer.expect("it is answered");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("it is JSON"))
    };
    assert_eq!(get(tests::SHOP).await.0, 200);
    let (status, problem) = get(&encoded).await;
    let detail =
        format!("shop must be written as it is, {}, without percent-encoding", tests::SHOP);
    assert_eq!((status, &problem["errors"][0]["detail"]), (422, &json!(detail)), "{problem}");
    gateway.stop().await;
    installation.stop_and_verify_with(&["shop", "catalog", "inventory"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_shop_is_refused_and_goes_on_when_it_is_resumed() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    tests::stock(&installation.api(), "MUG", 5).await;
    let suspend = Body::SuspendShop(proto::shop::SuspendShop {
        reason: Some("a test".into()),
        expected_version: None,
    });
    installation.send("018f0000-0000-7000-8000-000000000001", suspend).await;
    // Knows nothing of the shop, and asks.
    let gateway = Gateway::start(&installation).await;
    for (method, path) in routes() {
        let (status, code) = refusal(&gateway.api(tests::SHOP), method.clone(), path).await;
        assert_eq!((status, code), (403, json!("shop_suspended")), "{method} {path}");
    }
    let shop = gateway.api(tests::SHOP).shop().await.expect("it can be looked at");
    assert!(shop.suspended);
    gateway.stop().await;

    let resume = Body::ResumeShop(proto::shop::ResumeShop::default());
    installation.send("018f0000-0000-7000-8000-000000000002", resume).await;
    let gateway = Gateway::start(&installation).await;
    let placed = settle(&gateway.api(tests::SHOP), &order("MUG", 2, "card"), "resumed").await;
    assert_eq!(placed.body["payment_status"], "paid", "{}", placed.body);
    gateway.stop().await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_client_has_seen_count_at_every_gateway() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    tests::stock(&api, "MUG", 5).await;
    let gateway = Gateway::start(&installation).await;
    let other = gateway.api(tests::SHOP);
    for (number, basis) in ["excluded", "included", "excluded"].into_iter().enumerate() {
        // The other gateway knows the shop as it is before.
        other.get::<Value>("products/MUG").await.expect("it is there");
        let path = format!("shops/{}", tests::SHOP);
        let put = api.request_to_api(Method::PUT, &path).expect("a path");
        let put = api.send(put.json(&json!({"tax_basis": basis}))).await.expect("it is answered");
        assert_eq!((put.status.as_u16(), &put.body["result"]), (200, &json!("changed")));
        let last = put.position.iter().find(|(service, ..)| *service == "shop");
        let seen = format!("shop.0={}", last.expect("a position of the shops").2);

        let path = format!("products/CUP-{number}");
        let product = json!({"title": "A cup", "price": {"minor": 300, "currency": "GBP"}});
        let request = other.request(Method::PUT, &path).header("tradewind-after", &seen);
        let put = other.send(request.json(&product)).await.expect("it is answered");
        assert!(put.status.is_success(), "{}", put.body);
        let product: Value = api.get(&path).await.expect("it is there");
        assert_eq!(product["price"]["tax_basis"], basis, "{product}");
    }
    gateway.stop().await;
    installation.stop_and_verify_with(&["shop", "catalog", "inventory"]).await;
}
