//! Mails as a shop and its customers see them: settings over HTTP, real orders, and a real mail server.

use std::path::Path;

use client::Client;
use node::settings::{MailOptions, Settings, TlsOption, WebhookOptions};
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Behaviour, Db, MailServer, ReceivedMail, Receiver, eventually, on_both_databases};
use tests::{Installation, order, settle, stock};

on_both_databases!(
    what_happens_to_an_order_is_mailed_as_the_shop_wants_it,
    a_mail_is_tried_again_or_listed_as_the_mail_server_says,
    a_customer_who_was_erased_is_sent_nothing_and_no_address_is_stored,
    a_rebuild_sends_no_mail_and_forgets_none,
    a_mail_server_that_hangs_delays_no_webhook_and_no_other_shop,
);

async fn mail_server() -> Option<MailServer> {
    MailServer::start(Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}

fn sends_by(settings: &mut Settings, smtp: &MailServer) {
    settings.webhooks = WebhookOptions::on_this_machine();
    settings.mail = MailOptions {
        host: Some("127.0.0.1".to_owned()),
        port: Some(smtp.port()),
        tls: Some(TlsOption::None),
        ..MailOptions::default()
    };
}

async fn start(db: &Db, smtp: &MailServer) -> Installation {
    Installation::start(db, |settings| sends_by(settings, smtp)).await
}

async fn send(api: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = api.send(api.request(method, path).json(&body)).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

fn settings(events: &[&str]) -> Value {
    json!({"events": events, "sender": {"name": "Acme", "address": "orders@acme.example"}})
}

/// Lets the shop send these mails.
async fn sends(api: &Client, events: &[&str]) {
    let (status, body) = send(api, Method::PUT, "mail", settings(events)).await;
    assert!([200, 201].contains(&status), "{body}");
}

/// An order of somebody with that mailbox.
fn order_of(mailbox: &str) -> Value {
    let mut order = order("MUG", 1, "card");
    let email = format!("{mailbox}@example.com");
    let address = json!({"name": "Ann Example", "lines": ["1 High Street"], "country": "GB"});
    order["personal"] = json!({"email": email, "shipping_address": address});
    order
}

async fn mails(api: &Client, parameters: &[(&str, &str)]) -> Vec<Value> {
    let listed: Value = api.query("mails", parameters).await.expect("mails");
    listed["mails"].as_array().expect("a list").clone()
}

async fn mail(api: &Client, seq: u64) -> Value {
    api.get(&format!("mails/{seq}")).await.unwrap_or_default()
}

fn subjects(received: &[ReceivedMail]) -> Vec<String> {
    let mut subjects: Vec<_> = received.iter().map(|it| it.header("subject").to_owned()).collect();
    subjects.sort();
    subjects
}

async fn what_happens_to_an_order_is_mailed_as_the_shop_wants_it(db: Db) {
    let Some(smtp) = mail_server().await else { return };
    let installation = start(&db, &smtp).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    // Off unless the shop says otherwise.
    let (status, _) = send(&api, Method::GET, "mail", Value::Null).await;
    assert_eq!(status, 404);
    settle(&api, &order_of("early"), "early").await;

    let all = ["order.confirmed", "order.cancelled", "order.shipped", "order.refunded"];
    let (status, shown) = send(&api, Method::PUT, "mail", settings(&all)).await;
    assert_eq!((status, &shown["version"]), (201, &json!(1)), "{shown}");
    let paid = settle(&api, &order_of("ann"), "shipped").await.body;
    let issue = json!({"type": "goods_issue", "order_id": paid["id"], "sku": "MUG", "quantity": 1,
        "connector": "erp", "document": "D-1", "sequence": 2});
    let pushed = api.push("inventory", issue.to_string()).await.expect("it is pushed");
    assert_eq!(pushed.rejected, 0, "{pushed:?}");
    let paid = settle(&api, &order_of("bob"), "cancelled").await.body;
    let id = paid["id"].as_str().expect("an id");
    let (status, body) = send(&api, Method::POST, &format!("orders/{id}/cancel"), json!({})).await;
    assert!((200..300).contains(&status), "{body}");
    eventually("five mails came", async || smtp.received().await.len() == 5).await;
    let received = smtp.received().await;
    assert_eq!(
        subjects(&received),
        [
            "A refund for your order 3",
            "Your order 2 is confirmed",
            "Your order 2 is on its way",
            "Your order 3 is cancelled",
            "Your order 3 is confirmed",
        ]
    );
    let confirmed = |it: &&ReceivedMail| it.header("subject") == "Your order 2 is confirmed";
    let confirmed = received.iter().find(confirmed).expect("it came");
    assert_eq!(confirmed.to, ["ann@example.com"]);
    assert_eq!(confirmed.header("from"), "Acme <orders@acme.example>");
    for part in ["Hello Ann Example,", "1 x MUG, 2.50 GBP each", "text/html", "Total: 2.50 GBP"] {
        assert!(confirmed.message.contains(part), "{part} is not in {}", confirmed.message);
    }
    let log = installation.server.events::<events::proto::Event>("ORDER-0").await;
    let id = confirmed.header("message-id").trim_start_matches('<');
    let id = id.split('@').next().unwrap_or_default();
    assert!(log.iter().any(|it| it.event.id == id && it.subject.ends_with(".confirmed")), "{id}");
    eventually("all are noted as delivered", async || {
        let shown: Value = api.get("mail").await.expect("the settings");
        shown["statistics"]["delivered"] == 5
    })
    .await;

    // The shop's own words.
    let mut own = settings(&["order.confirmed"]);
    own["language"] = json!("de");
    own["templates"] = json!([{"event": "order.confirmed", "subject": "Bestellung {{ order.number }}",
        "text": "Danke, {{ customer.name }}", "html": "<p>Danke, {{ customer.name }}</p>"}]);
    let (status, shown) = send(&api, Method::PUT, "mail", own).await;
    assert_eq!((status, &shown["language"]), (200, &json!("de")));
    settle(&api, &order_of("cid"), "own").await;
    eventually("it came in these words", async || {
        subjects(&smtp.received().await).contains(&"Bestellung 4".to_owned())
    })
    .await;
    sends(&api, &[]).await;
    settle(&api, &order_of("dot"), "off").await;

    // The endpoint of mails is no webhook endpoint.
    let webhooks: Value = api.get("webhook-endpoints").await.expect("a list");
    assert_eq!(webhooks["endpoints"], json!([]));
    let (status, _) = send(&api, Method::GET, "webhook-endpoints/mail_acme", Value::Null).await;
    assert_eq!(status, 422);
    let (status, problem) =
        send(&api, Method::PUT, "mail", json!({"events": ["order.placed"], "sender": {}})).await;
    assert_eq!(status, 422, "{problem}");
    installation.stop_and_verify().await;
    assert_eq!(smtp.received().await.len(), 6, "no mail but those that the shop wants");
}

async fn a_mail_is_tried_again_or_listed_as_the_mail_server_says(db: Db) {
    let Some(smtp) = mail_server().await else { return };
    smtp.behave("busy", "450 4.2.1 busy@example.com later").await;
    smtp.behave("unknown", "550 5.1.1 unknown@example.com is unknown").await;
    let installation = start(&db, &smtp).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    sends(&api, &["order.confirmed"]).await;
    settle(&api, &order_of("busy"), "busy").await;
    settle(&api, &order_of("unknown"), "unknown").await;
    settle(&api, &order("MUG", 1, "card"), "nobody").await;
    eventually("the first waits for its next attempt", async || {
        let mail = mail(&api, 1).await;
        (&mail["state"], &mail["last_code"]) == (&json!("retry_at"), &json!(450))
    })
    .await;
    eventually("the second is given up, and listed", async || {
        let listed = mails(&api, &[("state", "exhausted")]).await;
        listed.len() == 1
            && (&listed[0]["seq"], &listed[0]["last_error"]) == (&json!(2), &json!("rejected"))
    })
    .await;
    eventually("the third has nobody to go to", async || {
        let listed = mails(&api, &[("state", "aborted")]).await;
        listed.len() == 1 && listed[0]["last_error"] == "no_recipient"
    })
    .await;
    eventually("the attempt is recorded", async || {
        mail(&api, 2).await["attempts"].as_array().is_some_and(|it| it.len() == 1)
    })
    .await;
    let attempt = mail(&api, 2).await["attempts"][0].clone();
    assert_eq!((&attempt["code"], &attempt["enhanced_code"]), (&json!(550), &json!("5.1.1")));
    assert!(attempt["message_id"].as_str().is_some_and(|id| id.ends_with("@acme.example>")));

    smtp.behave("busy", "accept").await;
    eventually("it is tried again", async || mail(&api, 1).await["state"] == "delivered").await;
    smtp.behave("unknown", "accept").await;
    let (status, again) = send(&api, Method::POST, "mails/2/resend", json!({})).await;
    assert_eq!((status, &again), (202, &json!({"seq": 2})));
    eventually("what was given up is sent when asked for", async || {
        mail(&api, 2).await["state"] == "delivered"
    })
    .await;
    let received = smtp.received().await;
    assert_eq!(received.len(), 2);
    let id = received[1].header("message-id");
    assert!(id.contains(".wr_"), "a mail that is asked for again is another one: {id}");
    let (status, _) = send(&api, Method::POST, "mails/9/resend", json!({})).await;
    assert_eq!(status, 404);
    let (status, problem) = send(&api, Method::POST, "mails/0/resend", json!({})).await;
    assert_eq!(status, 422, "no mail has this number, and not all of them either: {problem}");
    installation.stop_and_verify().await;
    assert_eq!(smtp.received().await.len(), 2, "nothing else was sent once more");
}

/// Whether a text is in what is stored of mails: the logs of orders and notify, attempts, the inbox, files.
async fn is_stored(installation: &Installation, db: &Db, text: &str) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let server = &installation.server;
    let mut all = Vec::new();
    for log in ["NOTIFY-0", "ORDER-0"] {
        let events = server.events::<events::proto::Event>(log).await;
        assert!(!events.is_empty(), "there is something to be searched");
        all.extend(events.iter().map(|entry| entry.event.encode_to_vec()));
    }
    let attempts = server.events::<events::proto::notify::Attempts>("NOTIFY-ATTEMPTS-0").await;
    assert!(!attempts.is_empty(), "there is something to be searched");
    all.extend(attempts.iter().map(|entry| entry.event.encode_to_vec()));
    let commands = server.events::<events::proto::Command>("INBOX-0").await;
    all.extend(commands.iter().map(|entry| entry.event.encode_to_vec()));
    all.push(db.dump().await);
    all.iter().any(|bytes| holds(bytes))
}

async fn a_customer_who_was_erased_is_sent_nothing_and_no_address_is_stored(db: Db) {
    let Some(smtp) = mail_server().await else { return };
    smtp.behave("ann", "450 4.2.1 ann@example.com later").await;
    let installation = start(&db, &smtp).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    sends(&api, &["order.confirmed"]).await;
    let mut placed = order_of("ann");
    placed["customer_id"] = json!("c-1");
    settle(&api, &placed, "ann").await;
    settle(&api, &order_of("bob"), "bob").await;
    eventually("one is deferred and one is sent", async || {
        (&mail(&api, 1).await["state"], &mail(&api, 2).await["state"])
            == (&json!("retry_at"), &json!("delivered"))
    })
    .await;
    // Between two attempts the customer is erased.
    let keys = installation.settings.person_keys().expect("they are good").expect("there are some");
    let shop = protocol::id::Shop::parse(tests::SHOP).expect("valid");
    let person = person_keys::Person::customer(&"c-1");
    let now = testkit::system_clock().now();
    assert!(keys.erase(&shop, &person, "operator", now).await.expect("it is erased"));
    smtp.behave("ann", "accept").await;
    eventually("the mail says that nobody is left to get it", async || {
        let mail = mail(&api, 1).await;
        (&mail["state"], &mail["last_error"]) == (&json!("aborted"), &json!("recipient_erased"))
    })
    .await;
    eventually("the attempts are recorded", async || {
        mail(&api, 1).await["attempts"].as_array().is_some_and(|it| it.len() == 2)
    })
    .await;
    let received = smtp.received().await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].to, ["bob@example.com"]);
    for text in ["@example.com", "Ann Example", "High Street"] {
        assert!(!is_stored(&installation, &db, text).await, "{text} is stored");
    }
    installation.stop_and_verify().await;
}

async fn a_rebuild_sends_no_mail_and_forgets_none(db: Db) {
    let Some(smtp) = mail_server().await else { return };
    smtp.behave("busy", "450 later").await;
    let installation = start(&db, &smtp).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    sends(&api, &["order.confirmed"]).await;
    settle(&api, &order_of("ann"), "ann").await;
    settle(&api, &order_of("busy"), "busy").await;
    eventually("one is sent and one waits", async || {
        (&mail(&api, 1).await["state"], &mail(&api, 2).await["state"])
            == (&json!("delivered"), &json!("retry_at"))
    })
    .await;
    let notify = node::services::Service::named("notify").expect("there is one");
    let engine =
        engine::Engine::connect(installation.settings.engine()).await.expect("it connects");
    notify.rebuild(&engine).await.expect("it is rebuilt");
    assert_eq!(mail(&api, 1).await["state"], "delivered");
    smtp.behave("busy", "accept").await;
    eventually("the other is sent", async || mail(&api, 2).await["state"] == "delivered").await;
    let to: Vec<_> = smtp.received().await.iter().map(|mail| mail.to[0].clone()).collect();
    assert_eq!(to, ["ann@example.com", "busy@example.com"]);
    installation.stop_and_verify().await;
}

async fn a_mail_server_that_hangs_delays_no_webhook_and_no_other_shop(db: Db) {
    let Some(smtp) = mail_server().await else { return };
    smtp.behave("hang", "hang").await;
    let installation = start(&db, &smtp).await;
    let (api, other) = (installation.api(), installation.api_of("other"));
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::status(204));
    for api in [&api, &other] {
        stock(api, "MUG", 20).await;
        sends(api, &["order.confirmed"]).await;
    }
    let endpoint = json!({"url": receiver.url("/"), "event_types": ["order.confirmed"]});
    let (status, body) = send(&api, Method::POST, "webhook-endpoints", endpoint).await;
    assert_eq!(status, 201, "{body}");
    for number in 0..6 {
        settle(&api, &order_of("hang"), &format!("hang-{number}")).await;
    }
    settle(&other, &order_of("ann"), "ann").await;
    eventually("the webhooks and the mail of the other shop came", async || {
        receiver.count() == 6 && smtp.received().await.len() == 1
    })
    .await;
    let shown: Value = api.get("mail").await.expect("the settings");
    assert_eq!(shown["statistics"]["delivered"], 0, "{shown}");
    assert_eq!(smtp.received().await[0].to, ["ann@example.com"]);
    installation.stop_and_verify().await;
}
