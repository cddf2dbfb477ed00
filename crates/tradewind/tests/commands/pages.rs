//! The commands of the documentation, as they stand there, on a running installation.

use std::{fs, path::Path};

use node::nats_users;
use serde_json::{Value, json};
use testkit::{MailServer, Receiver, eventually};

use crate::{
    page::{Block, Shell, blocks},
    rig::{Installation, SETTLE_TIMEOUT, SHOP},
};

/// The shop of the pages on webhooks and mails.
const SHOP_OF_PAGES: &str = "harbour";

/// Runs a page on an installation of its own, with these arguments of `serve`.
async fn run_page(page: &str, serve: &[&str], at_least: usize) {
    let installation = Installation::new().await;
    // As `tradewind init` makes it, for commands that add users.
    let here = installation.folder.path().join("here");
    fs::create_dir_all(here.join("keys")).expect("the folder can be made");
    fs::create_dir_all(here.join("nats")).expect("the folder can be made");
    let users = nats_users::for_this_run().configuration;
    fs::write(here.join("nats/users.conf"), users).expect("it is written");
    let serving = installation.serve(&[&["serve"], serve].concat()).await;
    let blocks = blocks(page);
    assert!(blocks.len() >= at_least, "the page has commands: {blocks:?}");
    let mut shell = Shell::start(&installation);
    for block in &blocks {
        shell.run(block).await;
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_for_erps_print_what_it_says() {
    run_page("erp.md", &[], 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_for_integrators_print_what_it_says() {
    run_page("integrators.md", &[], 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_http_print_what_it_says() {
    run_page("http.md", &["--smtp-host", "127.0.0.1", "--smtp-port", "1"], 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_webhooks_print_what_it_says() {
    let (installation, receiver) = (Installation::new().await, Receiver::start().await);
    let serving = installation
        .serve(&[
            "serve",
            "--webhook-allow-http",
            "--webhook-ports",
            "1-65535",
            "--webhook-networks",
            "127.0.0.0/8",
        ])
        .await;
    installation.create_shop().await;
    let mut shell = Shell::start(&installation);
    shell.replace("https://example.com/hooks", &receiver.url("/hooks"));
    shell.replace(SHOP_OF_PAGES, SHOP);
    let blocks = blocks("webhooks.md");
    assert!(blocks.len() >= 4, "the page has commands: {blocks:?}");
    for block in &blocks {
        if block.commands.contains("endpoints enable") {
            // The page enables one that an outage has disabled.
            let enable = block.commands.lines().find(|line| line.contains(" enable "));
            let disable = enable.expect("it has such a line").replace(" enable ", " disable ");
            shell.run(&Block::of(&disable)).await;
        }
        shell.run(block).await;
        if block.commands.contains("endpoints test") {
            eventually("the test delivery came, and that is noted", async || {
                let list: Value =
                    installation.api().get("webhook-endpoints").await.unwrap_or_default();
                list["endpoints"][0]["statistics"]["delivered"] == 1
            })
            .await;
        }
    }
    let list: Value = installation.api().get("webhook-endpoints").await.expect("it is answered");
    assert_eq!(list["endpoints"][0]["status"], "active", "{list}");
    serving.stop().await;
}

/// The commands of a page: the lines of its shell blocks, each joined with the next where it ends with a
/// backslash. All of them are ours.
fn commands(page: &str) -> Vec<String> {
    let blocks = blocks(page);
    let text: String = blocks.iter().map(|block| block.commands.replace("\\\n", " ")).collect();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.contains("tradewind ")), "{lines:?}");
    lines
}

/// Runs a command of a page; what it prints.
async fn run(installation: &Installation, command: &str) -> Value {
    let (_, arguments) = command.split_once("tradewind ").expect("it is one of ours");
    let word = |word: &str| word.trim_matches('\'').replace(SHOP_OF_PAGES, SHOP);
    let arguments: Vec<_> = arguments.split_whitespace().map(word).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = installation.run(&arguments).await;
    assert_eq!(output.code, Some(0), "{command}: {output:?}");
    serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_mails_do_what_it_says() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(smtp) = MailServer::start(folder).await else { return };
    let installation = Installation::new().await;
    let port = smtp.port().to_string();
    let settings =
        ["serve", "--smtp-host", "127.0.0.1", "--smtp-tls", "none", "--smtp-port", &port];
    let serving = installation.serve(&settings).await;
    installation.create_shop().await;
    installation.stock("MUG", 5).await;
    let commands = commands("email.md");
    for command in &commands {
        let shown = run(&installation, command).await;
        if command.contains("mails set ") {
            assert_eq!(shown["sender"]["name"], "Harbour", "{shown}");
            let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}],
                "personal": {"email": "ann@example.com"}});
            let placed = installation.api().place(&order, "first", Some(SETTLE_TIMEOUT)).await;
            assert_eq!(placed.expect("an answer").status.as_u16(), 201);
            eventually("the mail came", async || smtp.received().await.len() == 1).await;
            eventually("and that is noted", async || {
                let shown: Value = installation.api().get("mails/1").await.unwrap_or_default();
                shown["state"] == "delivered"
            })
            .await;
        } else if command.contains("mails resend") {
            eventually("it came once more", async || smtp.received().await.len() == 2).await;
        }
    }
    assert!(commands.len() >= 5, "{commands:?}");
    serving.stop().await;
}

#[tokio::test]
async fn the_templates_of_the_page_on_mails_render() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/email.md");
    let text = fs::read_to_string(path).expect("the page is there");
    let block = text.split("```json\n").nth(1).expect("it has one").split("```").next();
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let templates: Value = serde_json::from_str(block.expect("it ends")).expect("it is JSON");
    let body = json!({"events": [], "sender": {"name": "A", "address": "a@b.example"},
        "language": "de", "templates": templates});
    let api = installation.api();
    let answer = api.send(api.request(reqwest::Method::PUT, "mail").json(&body)).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    serving.stop().await;
}
