//! The commands of the documentation, as they stand there, on a running installation.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};
use testkit::{MailServer, Receiver, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::rig::{Installation, SETTLE_TIMEOUT, SHOP, bare};

/// The shop of the pages.
const SHOP_OF_PAGES: &str = "harbour";
/// What stands in the pages for the id of an endpoint, and for its secret.
const ENDPOINT: &str = "we_…";
const SECRET: &str = "whsec_…";

/// The commands of a page: the lines of its shell blocks, each joined with the next where it ends with a
/// backslash. All of them are ours.
fn commands(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = fs::read_to_string(path).expect("the page is there");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    let lines = blocks.map(|block| block.replace("\\\n", " "));
    let lines: Vec<_> =
        lines.flat_map(|it| it.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.iter().all(|line| line.contains("tradewind ")), "{lines:?}");
    lines
}

/// The arguments of a command, with what stands for something replaced by that.
fn arguments(command: &str, replaced: &[(&str, &str)]) -> Vec<String> {
    let (_, arguments) = command.split_once("tradewind ").expect("it is one of ours");
    let replace = |word: &str| {
        let mut word = word.trim_matches('\'').to_owned();
        for (from, to) in replaced.iter().chain(&[(SHOP_OF_PAGES, SHOP)]) {
            word = word.replace(from, to);
        }
        word
    };
    arguments.split_whitespace().map(replace).collect()
}

/// Runs a command of a page; what it prints.
async fn run(installation: &Installation, command: &str, replaced: &[(&str, &str)]) -> Value {
    let arguments = arguments(command, replaced);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = installation.run(&arguments).await;
    assert_eq!(output.code, Some(0), "{command}: {output:?}");
    serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_on_webhooks_do_what_it_says() {
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
    let url = receiver.url("/hooks");
    let (mut id, mut secret) = (String::new(), String::new());
    let commands = commands("webhooks.md");
    for command in &commands {
        let replaced = [("https://example.com/hooks", &*url), (ENDPOINT, &*id), (SECRET, &*secret)];
        if command.contains("webhooks listen") {
            listen(command, &replaced).await;
            continue;
        }
        if command.contains("endpoints enable") {
            // The page enables one that an outage has disabled.
            let disable = command.replace(" enable ", " disable ");
            run(&installation, &disable, &replaced).await;
        }
        let shown = run(&installation, command, &replaced).await;
        if command.contains("endpoints create") {
            assert_eq!(shown["event_types"], json!(["order.paid", "order.cancelled"]));
            id = shown["id"].as_str().expect("an id").to_owned();
            secret = shown["secret"].as_str().expect("a secret").to_owned();
        } else if command.contains("endpoints test") {
            eventually("the test delivery came", async || receiver.count() == 1).await;
            let endpoint = format!("webhook-endpoints/{id}");
            eventually("and that is noted", async || {
                let shown: Value = installation.api().get(&endpoint).await.expect("it is there");
                shown["statistics"]["delivered"] == 1
            })
            .await;
        } else if command.contains("webhooks deliveries") {
            assert_eq!(shown["state"], "delivered", "{shown}");
        } else if command.contains("webhooks proof") {
            assert_eq!((&shown["matched"], &shown["open"]), (&json!(1), &json!([])), "{shown}");
        } else if command.contains("webhooks replay") {
            assert_eq!(shown["selection"], "failed", "{shown}");
        } else {
            assert!(command.contains("endpoints enable"), "no test knows what {command} does");
            assert_eq!(shown["status"], "active", "{shown}");
        }
    }
    assert!(commands.len() >= 7, "{commands:?}");
    serving.stop().await;
}

/// Runs a command that receives until it is ended, as far as that it listens.
async fn listen(command: &str, replaced: &[(&str, &str)]) {
    let (variable, _) = command.split_once("tradewind ").expect("it is one of ours");
    let (name, _) = variable.split_once('=').expect("it sets a variable");
    let secret = replaced.iter().find(|(from, _)| *from == SECRET).expect("there is one").1;
    let mut arguments = arguments(command, replaced);
    arguments.extend(["--address", "127.0.0.1:0"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut command = bare(&arguments);
    command.env(name, secret).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let first = lines.next_line().await.expect("it prints").expect("it listens");
    assert!(first.contains("http://127.0.0.1:"), "{first}");
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
        let shown = run(&installation, command, &[]).await;
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
