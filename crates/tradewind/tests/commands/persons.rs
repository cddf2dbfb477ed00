//! Personal data: sealed wherever it is stored, read by those who may, and gone for good when it is erased.

use std::{fs, path::Path};

use client::{Client, Response};
use protocol::id::hex;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Installation, SETTLE_TIMEOUT};

/// How every text begins that no log and no database may hold.
const STEM: &str = "Zq7Marker9Xw";

fn marker(person: &str, field: &str) -> String {
    format!("{STEM}-{person}-{field}")
}

/// The personal data of someone, with a marker in every field.
fn personal(person: &str) -> Value {
    let of = |field: &str| marker(person, field);
    json!({
        "email": format!("{}@example.com", of("email")), "phone": of("phone"), "note": of("note"),
        "shipping_address": {"name": of("ship-name"), "company": of("ship-company"),
            "lines": [of("ship-line-1"), of("ship-line-2")], "postcode": of("ship-postcode"),
            "city": of("ship-city"), "region": of("ship-region"), "country": "GB"},
        "billing_address": {"name": of("bill-name"), "company": of("bill-company"),
            "lines": [of("bill-line-1")], "postcode": of("bill-postcode"),
            "city": of("bill-city"), "region": of("bill-region"), "country": "IE"},
        "customer_data": {of("data-key"): of("data-value")},
    })
}

/// An order of someone; of a guest where there is no customer.
fn order(reference: &str, customer: Option<&str>, person: &str) -> Value {
    json!({"reference": reference, "customer_id": customer, "currency": "GBP",
        "lines": [{"sku": "MUG", "quantity": 1}], "personal": personal(person)})
}

/// What is shown of someone's personal data.
fn shown(person: &str) -> Value {
    let mut shown = personal(person);
    shown["status"] = json!("readable");
    shown
}

async fn place(api: &Client, order: &Value, key: &str) -> Response {
    let placed = api.place(order, key, Some(SETTLE_TIMEOUT)).await.expect("an answer");
    assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
    placed
}

fn id(placed: &Response) -> String {
    placed.body["id"].as_str().expect("an order has an id").to_owned()
}

async fn read(api: &Client, id: &str) -> Value {
    api.get(&format!("orders/{id}")).await.expect("the order is there")
}

async fn act(api: &Client, path: &str, note: &str, key: &str) -> Response {
    let request = api.request(Method::POST, path).header("idempotency-key", key);
    api.send(request.json(&json!({"note": note}))).await.expect("an answer")
}

/// A text as it may be hidden: as it is, in hexadecimal, in base64 wherever it begins.
fn forms(text: &str) -> Vec<String> {
    let hex = hex(text.as_bytes());
    // Whole groups of three bytes, which are the same wherever they stand.
    let groups = |skipped: usize| base64(&text.as_bytes()[skipped..]);
    vec![text.to_owned(), hex.to_uppercase(), hex, groups(0), groups(1), groups(2)]
}

/// Whole groups of three bytes in base64; what is left of them is left out.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |it: &[u8]| u32::from(it[0]) << 16 | u32::from(it[1]) << 8 | u32::from(it[2]);
    let digits = |group: u32| [18, 12, 6, 0].map(|shift| DIGITS[(group >> shift & 63) as usize]);
    let text = bytes.chunks_exact(3).flat_map(|it| digits(group(it))).collect();
    String::from_utf8(text).expect("it is ASCII")
}

/// Where a text is in some bytes, with what is around it; none when it is not.
fn find(bytes: &[u8], text: &str) -> Option<String> {
    let bytes = String::from_utf8_lossy(bytes);
    let at = forms(text).iter().find_map(|form| bytes.find(form.as_str()))?;
    let around: String = bytes[..at].chars().rev().take(200).collect();
    let before: String = around.chars().rev().collect();
    Some(before + &bytes[at..].chars().take(100).collect::<String>())
}

#[test]
fn a_text_is_found_in_each_of_its_forms() {
    let forms = [
        "a marker here",
        "6d61726b6572",
        "6D61726B6572",
        "bWFya2Vy",
        "IG1hcmtlcg==",
        "ICBtYXJrZXI=",
    ];
    for hidden in forms {
        assert!(find(hidden.as_bytes(), "marker").is_some(), "{hidden}");
    }
    assert_eq!(find(b"a market", "marker"), None);
}

/// Nothing that is stored or logged holds personal data; what is known to be there is found.
async fn check_dump(installation: &Installation, log: &Path) {
    let mut all = installation.dump().await;
    assert!(find(&all[0], "REF-ann").is_some(), "the streams are not searched");
    assert!(find(&all[1], "REF-ann").is_some(), "the databases are not searched");
    let log = fs::read(log).expect("it is read");
    assert!(find(&log, "TRACE").is_some(), "the log is not that of all there is");
    all.push(log);
    for (number, bytes) in all.iter().enumerate() {
        assert_eq!(find(bytes, STEM), None, "in the {number}th of what is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_stored_nowhere_in_the_clear_and_can_be_erased() {
    check(Installation::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_stored_nowhere_in_the_clear_and_can_be_erased_on_postgres() {
    if let Some(installation) = Installation::on_postgres().await {
        check(installation).await;
    }
}

async fn check(installation: Installation) {
    let logs = TempDir::new().expect("a folder");
    let log = logs.path().join("stderr");
    let serving = installation.serve_traced(&["serve"], &log).await;
    let api = installation.api();
    installation.stock("MUG", 100).await;
    let (ann, bob, guest) = (
        order("REF-ann", Some("ann"), "Ann"),
        order("REF-bob", Some("bob"), "Bob"),
        order("REF-guest", None, "Guest"),
    );

    // Whoever places an order, or reads it, sees it.
    let first = place(&api, &ann, "key-ann").await;
    assert_eq!(first.body["personal"], shown("Ann"));
    let (ann_id, bob_id) = (id(&first), id(&place(&api, &bob, "key-bob").await));
    let guest_id = id(&place(&api, &guest, "key-guest").await);
    for (order, person) in [(&ann_id, "Ann"), (&bob_id, "Bob"), (&guest_id, "Guest")] {
        let read = read(&api, order).await;
        assert_eq!(read["personal"], shown(person), "{read}");
        assert_eq!((&read["country"], &read["billing_country"]), (&json!("GB"), &json!("IE")));
    }
    let listed: Value = api.query("orders", &[("reference", "REF-ann")]).await.expect("a list");
    assert_eq!(listed["orders"][0]["id"], ann_id);
    let listed = listed.to_string();
    assert!(!listed.contains("personal") && !listed.contains("Ann"), "{listed}");

    // The same request under the same key is the same, another one is not.
    let again = place(&api, &ann, "key-ann").await;
    assert!(again.replayed, "{}", again.body);
    assert_eq!((id(&again), &again.body["personal"]), (ann_id.clone(), &shown("Ann")));
    let mut other = ann.clone();
    other["personal"]["note"] = json!("something else");
    let other = api.place(&other, "key-ann", None).await.expect("an answer");
    assert_eq!(other.body["code"], "idempotency_key_reused", "{}", other.body);

    // Notes, and what is refused.
    let released =
        act(&api, &format!("orders/{ann_id}/release"), &marker("Ann", "released"), "r").await;
    assert_eq!(released.status.as_u16(), 200, "{}", released.body);
    let cancel = format!("orders/{guest_id}/cancel");
    let note = marker("Guest", "cancelled");
    let cancelled = act(&api, &cancel, &note, "c").await;
    let shown_note = json!({"status": "readable", "text": note});
    assert_eq!(cancelled.body["cancellation"]["note"], shown_note, "{}", cancelled.body);
    assert!(act(&api, &cancel, &note, "c").await.replayed);
    let reused = act(&api, &cancel, "another note", "c").await;
    assert_eq!(reused.body["code"], "idempotency_key_reused", "{}", reused.body);
    let mut wrong = order("REF-wrong", None, "Eve");
    wrong["personal"]["email"] = json!(marker("Eve", "no-email"));
    let wrong = api.place(&wrong, "key-eve", None).await.expect("an answer");
    assert_eq!(
        (wrong.status.as_u16(), &wrong.body["errors"][0]["field"]),
        (422, &json!("personal.email"))
    );
    assert_eq!(find(wrong.body.to_string().as_bytes(), STEM), None, "{}", wrong.body);
    check_dump(&installation, &log).await;

    // What is erased is gone at once, and for good.
    let run = async |arguments: &[&str]| {
        let output = installation.run(&[&["persons"], arguments].concat()).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        output.out
    };
    let erased = run(&["erase", "acme", "ann", "--operator", "Olga"]).await;
    assert!(erased.contains("erased: nobody can read"), "{erased}");
    assert!(
        run(&["erase", "acme", "--order", &guest_id]).await.contains("erased: nobody can read")
    );
    let gone = json!({"status": "erased"});
    let check_erased = async || {
        assert_eq!(read(&api, &ann_id).await["personal"], gone);
        let order = read(&api, &guest_id).await;
        assert_eq!((&order["personal"], &order["cancellation"]["note"]), (&gone, &gone), "{order}");
        assert_eq!((&order["country"], &order["billing_country"]), (&json!("GB"), &json!("IE")));
        assert_eq!(read(&api, &bob_id).await["personal"], shown("Bob"));
        for (order, key, id) in [(&ann, "key-ann", &ann_id), (&guest, "key-guest", &guest_id)] {
            let again = place(&api, order, key).await;
            assert!(again.replayed, "{}", again.body);
            assert_eq!((&again.body["id"], &again.body["personal"]), (&json!(id), &gone));
        }
        let again = act(&api, &cancel, &note, "c").await;
        assert!(again.replayed, "{}", again.body);
    };
    check_erased().await;
    serving.stop().await;
    let serving = installation.serve_traced(&["serve"], &log).await;
    check_erased().await;
    // The repeated requests have made no new key.
    for person in [&["ann"][..], &["--order", &guest_id]] {
        let again = run(&[&["erase", "acme"], person].concat()).await;
        assert!(again.contains("was erased at"), "{again}");
    }
    let erasures = run(&["erasures", "--shop", "acme"]).await;
    assert!(erasures.contains("customer ann") && erasures.contains("by Olga"), "{erasures}");
    assert!(erasures.contains("2 erasures"), "{erasures}");
    // Who comes back is read again.
    let back = id(&place(&api, &order("REF-back", Some("ann"), "Back"), "key-back").await);
    assert_eq!(read(&api, &back).await["personal"], shown("Back"));
    check_erased().await;
    check_dump(&installation, &log).await;
    serving.stop().await;
}
