//! Reads the public events of a shop as they happen, and prints the id, type and position of each.
//!
//! ```toml
//! [dependencies]
//! anyhow = "1"
//! async-nats = { version = "0.51", features = ["nkeys"] }
//! events = { path = "tradewind/crates/events" } # of Tradewind's repository: the types of proto/
//! futures = "0.3"
//! prost = "0.14"
//! tokio = { version = "1", features = ["full"] }
//! ```

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use async_nats::ConnectOptions;
use events::proto::Event;
use futures::{StreamExt, stream::select_all};
use prost::Message;

const SERVER: &str = "nats://127.0.0.1:4222";
const KEY_FILE: &str = "here/keys/reports.nk";
const SHOP: &str = "acme";
const SERVICES: [&str; 5] = ["catalog", "inventory", "order", "payment", "shop"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let server = std::env::var("NATS_URL").unwrap_or_else(|_| SERVER.to_owned());
    let key = std::fs::read_to_string(KEY_FILE)?;
    let connection = ConnectOptions::with_nkey(key.trim().to_owned()).connect(server).await?;
    let mut subscriptions = Vec::new();
    for service in SERVICES {
        subscriptions.push(connection.subscribe(format!("{service}.*.{SHOP}.*")).await?);
    }
    let mut messages = select_all(subscriptions);
    while let Some(message) = messages.next().await {
        let event = Event::decode(message.payload)?;
        // <service>.<partition>.<shop>.<event>
        let tokens: Vec<&str> = message.subject.split('.').collect();
        println!("{} {}.{} {}", event.id, tokens[0], tokens[3], event.position);
    }
    Ok(())
}
