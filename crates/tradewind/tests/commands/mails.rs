//! `tradewind mails`, and what becomes of mails when the process is killed.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use testkit::{MailServer, eventually};

use crate::rig::{self, Installation, SETTLE_TIMEOUT, SHOP, Serving};

async fn mail_server() -> Option<MailServer> {
    MailServer::start(Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}

async fn serve(installation: &Installation, smtp: &MailServer) -> Serving {
    let port = smtp.port().to_string();
    let arguments =
        ["serve", "--smtp-host", "127.0.0.1", "--smtp-tls", "none", "--smtp-port", &port];
    installation.serve(&arguments).await
}

/// Runs a command about the mails of the shop; what it prints.
async fn mails(installation: &Installation, arguments: &[&str]) -> Value {
    let (command, rest) = arguments.split_at(1);
    let output = installation.run(&[&["mails"], command, &["--shop", SHOP], rest].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    serde_json::from_str(&output.out).expect("it prints JSON")
}

async fn place(installation: &Installation, mailbox: &str) {
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}],
        "personal": {"email": format!("{mailbox}@example.com")}});
    let placed = installation.api().place(&order, mailbox, Some(SETTLE_TIMEOUT)).await;
    let placed = placed.expect("an answer");
    assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
}

const SET: [&str; 7] = [
    "set",
    "--events",
    "order.confirmed",
    "--sender-name",
    "Acme",
    "--sender-address",
    "orders@acme.example",
];

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_chosen_looked_at_and_sent_once_more() {
    let Some(smtp) = mail_server().await else { return };
    let installation = Installation::new().await;
    let serving = serve(&installation, &smtp).await;
    installation.create_shop().await;
    installation.stock("MUG", 5).await;
    let templates = installation.folder.path().join("templates.json");
    let own = json!([{"event": "order.confirmed", "subject": "Order {{ order.number }}",
        "text": "{{ sender }}", "html": "<p>{{ sender }}</p>"}]);
    std::fs::write(&templates, own.to_string()).expect("it is written");
    let file = templates.display().to_string();
    let set = mails(&installation, &[&SET[..], &["--templates", &file]].concat()).await;
    assert_eq!((&set["language"], &set["templates"]), (&json!("en"), &own));
    place(&installation, "ann").await;
    eventually("it is sent", async || {
        let listed = mails(&installation, &["list", "--state", "delivered"]).await;
        listed["mails"].as_array().is_some_and(|it| it.len() == 1)
    })
    .await;
    assert_eq!(smtp.received().await[0].header("subject"), "Order 1");
    assert_eq!(mails(&installation, &["settings"]).await["statistics"]["delivered"], 1);
    assert_eq!(mails(&installation, &["resend", "1"]).await, json!({"seq": 1}));
    eventually("both attempts are shown", async || {
        let shown = mails(&installation, &["show", "1"]).await;
        let attempts = shown["attempts"].as_array().cloned().unwrap_or_default();
        attempts.len() == 2 && attempts[1]["is_resend"] == true
    })
    .await;
    assert_eq!(smtp.received().await.len(), 2);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_sent_once_more_has_another_id_also_when_it_is_deferred() {
    let Some(smtp) = mail_server().await else { return };
    let installation = Installation::new().await;
    let serving = serve(&installation, &smtp).await;
    installation.create_shop().await;
    installation.stock("MUG", 5).await;
    mails(&installation, &SET).await;
    place(&installation, "ann").await;
    let shown = async || mails(&installation, &["show", "1"]).await;
    eventually("it is accepted", async || {
        smtp.received().await.len() == 1 && shown().await["state"] == "delivered"
    })
    .await;
    smtp.behave("ann", "451 4.3.0 later").await;
    assert_eq!(mails(&installation, &["resend", "1"]).await, json!({"seq": 1}));
    eventually("it is deferred", async || {
        shown().await["attempts"].as_array().is_some_and(|it| it.len() > 1)
    })
    .await;
    // It was accepted once, and that stays so.
    assert_eq!(shown().await["state"], "delivered");
    smtp.behave("ann", "accept").await;
    eventually("it is accepted again", async || smtp.received().await.len() == 2).await;
    let received = smtp.received().await;
    let ids: Vec<_> = received.iter().map(|mail| mail.header("message-id")).collect();
    let [first, second] = &ids[..] else { panic!("{ids:?}") };
    assert!(!first.contains(".wr_") && second.contains(".wr_"), "{ids:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_without_a_mail_server_waits_and_readiness_says_so() {
    let Some(smtp) = mail_server().await else { return };
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    installation.stock("MUG", 5).await;
    mails(&installation, &SET).await;
    place(&installation, "ann").await;
    let ready = format!("http://{}/readyz", installation.listen);
    eventually("readiness names what is missing", async || {
        let answer = rig::get(&ready).await.expect("it is answered");
        answer.text().await.expect("it is text").contains("there is no mail server: set smtp-host")
    })
    .await;
    serving.stop().await;
    let serving = serve(&installation, &smtp).await;
    eventually("it is sent once there is one", async || smtp.received().await.len() == 1).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_what_was_under_way_is_sent_again_and_nothing_is_lost() {
    let Some(smtp) = mail_server().await else { return };
    smtp.behave("later", "450 4.2.1 later").await;
    smtp.behave("taken", "hang_after_data").await;
    let installation = Installation::new().await;
    let serving = serve(&installation, &smtp).await;
    installation.create_shop().await;
    installation.stock("MUG", 5).await;
    mails(&installation, &SET).await;
    for mailbox in ["sent", "later", "taken"] {
        place(&installation, mailbox).await;
    }
    let states = async || {
        let listed = mails(&installation, &["list"]).await["mails"].clone();
        let mails = listed.as_array().expect("a list").iter();
        mails.map(|mail| mail["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    eventually("one is sent, one is deferred, the server has the third", async || {
        states().await == ["delivered", "retry_at", "pending"] && smtp.received().await.len() == 2
    })
    .await;
    serving.kill().await;
    for mailbox in ["later", "taken"] {
        smtp.behave(mailbox, "accept").await;
    }
    let serving = serve(&installation, &smtp).await;
    eventually("all are sent", async || states().await == ["delivered"; 3]).await;
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in smtp.received().await {
        ids.entry(mail.to[0].clone()).or_default().push(mail.header("message-id").to_owned());
    }
    assert_eq!(ids["sent@example.com"].len(), 1, "it is not sent twice");
    assert_eq!(ids["later@example.com"].len(), 1);
    let [first, second] = &ids["taken@example.com"][..] else { panic!("{ids:?}") };
    assert_eq!(first, second, "a repetition is recognised by its id");
    serving.stop().await;
}
