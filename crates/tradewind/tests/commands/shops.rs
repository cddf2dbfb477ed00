//! Shops, by the command line and by HTTP.

use client::{Client, Response};
use reqwest::{Method, header};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    operator,
    rig::{self, Installation, KEY, SHOP},
};

/// The answer to a request to a shop itself, and its `ETag`.
async fn send(
    installation: &Installation,
    method: Method,
    path: &str,
    body: Option<Value>,
    headers: &[(header::HeaderName, &str)],
) -> (u16, Value, Option<String>) {
    let url = format!("http://{}/v1/shops{path}", installation.listen);
    let mut request = rig::http().request(method, url).bearer_auth(KEY);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("it is answered");
    let tag = response.headers().get(header::ETAG);
    let tag = tag.map(|tag| tag.to_str().expect("is text").to_owned());
    (response.status().as_u16(), response.json().await.expect("it is JSON"), tag)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_is_put_and_changed_on_a_condition() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let put = async |body: Value, headers: &[(header::HeaderName, &str)]| {
        send(&installation, Method::PUT, "/berlin", Some(body), headers).await
    };
    let get = async || send(&installation, Method::GET, "/berlin", None, &[]).await;
    let (new, known) = (header::IF_NONE_MATCH, header::IF_MATCH);

    let (status, body, _) = get().await;
    assert_eq!((status, &body["code"]), (404, &json!("unknown_shop")), "{body}");
    let fix = "create it with PUT /v1/shops/berlin or `tradewind shops create berlin`";
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(fix)), "{body}");
    let (status, body, _) = put(json!({}), &[(known.clone(), "*")]).await;
    assert_eq!((status, &body["code"]), (412, &json!("precondition_failed")), "{body}");

    let gbp = json!({"currency": "GBP", "countries": ["IE", "GB"], "hold_seconds": 60});
    let (status, body, tag) = put(gbp.clone(), &[(new.clone(), "*")]).await;
    assert_eq!((status, &body["result"]), (201, &json!("created")), "{body}");
    assert_eq!(tag.as_deref(), Some("\"1\""));
    let settings = json!({"currency": "GBP", "countries": ["GB", "IE"], "tax_basis": "included",
        "capture": "on_confirmation", "split_shipments": false, "hold_seconds": 60,
        "payment_seconds": null, "default_location": "main", "short_rule": "hold",
        "on_account": false, "one_step_methods": []});
    assert_eq!((&body["name"], &body["settings"]), (&json!("berlin"), &settings));
    let (status, body, _) = put(gbp.clone(), &[(new, "*")]).await;
    assert_eq!((status, &body["version"]), (412, &json!(1)), "{body}");
    let (status, body, _) = put(gbp.clone(), &[]).await;
    assert_eq!((status, &body["result"]), (200, &json!("unchanged")), "{body}");

    let eur = json!({"currency": "EUR", "capture": "on_shipment"});
    let (status, body, tag) = put(eur.clone(), &[(known.clone(), "\"1\"")]).await;
    assert_eq!((status, &body["result"], tag.as_deref()), (200, &json!("changed"), Some("\"2\"")));
    assert_eq!(body["settings"]["hold_seconds"], Value::Null, "what is absent is the default");
    let (status, body, _) = put(gbp.clone(), &[(known, "\"1\"")]).await;
    assert_eq!((status, &body["version"]), (412, &json!(2)), "{body}");
    let (status, body, tag) = put(gbp, &[]).await;
    assert_eq!((status, &body["result"], tag.as_deref()), (200, &json!("changed"), Some("\"3\"")));
    let (status, body, tag) = get().await;
    assert_eq!((status, &body["version"], tag.as_deref()), (200, &json!(3), Some("\"3\"")));
    assert_eq!(body["settings"], settings);

    let (status, body, _) = send(&installation, Method::PUT, "/-", Some(json!({})), &[]).await;
    assert_eq!((status, &body["errors"][0]["field"]), (422, &json!("shop")), "{body}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_put_under_the_same_key_is_answered_the_same() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let api = installation.api();
    let put = async |key: &str, body: Value| -> Response {
        let url = format!("http://{}/v1/shops/acme", installation.listen);
        let request = rig::http().put(url).bearer_auth(KEY);
        let request = request.header("idempotency-key", key).json(&body);
        Client::send(&api, request).await.expect("it is answered")
    };
    let created = put("key-1", json!({"currency": "GBP"})).await;
    assert_eq!((created.status.as_u16(), created.replayed), (201, false));
    let changed = put("key-2", json!({"currency": "EUR"})).await;
    assert_eq!((changed.status.as_u16(), &changed.body["result"]), (200, &json!("changed")));
    let again = put("key-1", json!({"currency": "GBP"})).await;
    assert_eq!((again.status.as_u16(), again.replayed), (201, true), "{}", again.body);
    assert_eq!(api.shop().await.expect("the shop").version, 2, "it was not changed back");
    let other = put("key-1", json!({"currency": "USD"})).await;
    assert_eq!(other.body["code"], "idempotency_key_reused", "{}", other.body);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shops_are_created_changed_and_listed_by_the_command_line() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve", "--partitions", "3"]).await;
    let shops = async |arguments: &[&str]| {
        let arguments = [&["shops"], arguments, &["--partitions", "3"]].concat();
        let output = installation.run(&arguments).await;
        (output.code, format!("{}{}", output.out, output.err))
    };
    let check = async |arguments: &[&str], code: i32, expected: &str| {
        let (got, text) = shops(arguments).await;
        assert_eq!(got, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: no {expected:?} in {text}");
    };
    check(&["show", "berlin"], 1, "there is no shop berlin").await;
    check(&["change", "berlin"], 1, "there is no shop berlin").await;
    check(&["suspend", "berlin"], 1, "there is no shop berlin").await;
    check(&["create", "-"], 2, "the first of them no hyphen").await;
    for name in ["berlin", "acme", "cairo", "delhi"] {
        check(&["create", name, "--currency", "EUR"], 0, "created, version 1").await;
    }
    check(&["create", "acme", "--currency", "EUR"], 0, "as it was, version 1").await;
    check(&["create", "acme"], 1, "with other settings").await;
    check(&["change", "acme", "--hold", "10m"], 0, "changed, version 2").await;
    check(&["change", "acme", "--hold", "10m"], 0, "as it was, version 2").await;
    for what in ["suspend", "resume"] {
        let arguments = [what, "acme", "--reason", "paid with 4111 1111 1111 1111"];
        check(&arguments, 1, "--reason must not hold the number of a payment card").await;
    }
    check(&["suspend", "acme", "--reason", "a test"], 0, "changed, suspended, version 3").await;
    check(&["show", "acme"], 0, "\"suspended\": true").await;
    check(&["show", "acme"], 0, "\"hold_seconds\": 600").await;
    check(&["show", "acme"], 0, "\"currency\": \"EUR\"").await;
    let listed = installation.run(&["shops", "list", "--partitions", "3"]).await.out;
    let names: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["acme", "berlin", "cairo", "delhi", "4"], "{listed}");
    assert!(listed.contains("suspended"), "{listed}");
    check(&["resume", "acme"], 0, "changed, version 4").await;

    let page = async |query: &str| {
        let (status, body, _) = send(&installation, Method::GET, query, None, &[]).await;
        assert_eq!(status, 200, "{body}");
        let shops = body["shops"].as_array().expect("is a list").iter();
        let names: Vec<_> = shops.filter_map(|shop| shop["name"].as_str()).collect();
        (names.join(" "), body["next"].clone())
    };
    let (names, next) = page("?limit=3").await;
    let next = next.as_str().expect("there is another page");
    assert_eq!(names, "acme berlin cairo");
    let rest = page(&format!("?limit=3&after={next}")).await;
    assert_eq!(rest, ("delhi".to_owned(), Value::Null));
    serving.stop().await;
}

/// The service could not read it, and would park every later command to the shop behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reason_that_breaks_its_rule_is_not_sent() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let long = "a".repeat(501);
    for what in ["suspend", "resume"] {
        for reason in ["a\nb", &long] {
            let refused = installation.run(&["shops", what, SHOP, "--reason", reason]).await;
            let rule = "reason must be at most 500 characters without control characters";
            operator::check(&refused, 2, &[], &["--reason", rule]);
        }
    }
    let parked = installation.run(&["parked", "list", "shop"]).await;
    operator::check(&parked, 0, &["0 parked"], &[]);
    let suspended = installation.run(&["shops", "suspend", SHOP, "--reason", "a test"]).await;
    operator::check(&suspended, 0, &["changed, suspended, version 2"], &[]);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_parked_says_so() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let subject = format!("inbox.0.live.shop.{SHOP}.suspend_shop");
    installation.server.write(&subject, SHOP, b"\xff\xff".to_vec()).await;
    eventually("what another writer got wrong is parked", async || {
        installation.run(&["parked", "list", "shop"]).await.out.contains("1 parked")
    })
    .await;
    let behind = installation.run(&["shops", "suspend", SHOP]).await;
    let reason = "the command is parked: an earlier input of this aggregate is parked";
    operator::check(&behind, 1, &[], &[reason]);
    serving.stop().await;
}
