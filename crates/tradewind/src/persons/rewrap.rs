//! Secrets and header values of webhook endpoints, encrypted anew with the newest master key.

use anyhow::{Context, Result, bail};
use engine::{Client, Engine};
use events::{
    proto::{
        command::Body,
        notify::{self, EndpointResult, change_webhooks::Request},
    },
    questions::Question,
    webhooks::sealing_context,
};
use node::settings::Settings;
use person_keys::MasterKeys;
use prost::Message;
use protocol::id::Shop;

use crate::shops::{all_shops, send};

/// Encrypts every value of every endpoint with the newest master key; returns how many had another one.
/// Deliveries go on: a value opens with the old key until the new one is in the log.
pub(super) async fn rewrap_values(settings: &Settings, masters: &MasterKeys) -> Result<u64> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let client = engine.client();
    let mut rewrapped = 0;
    for found in all_shops(&client).await? {
        let shop = Shop::parse(&found.name)?;
        for endpoint_id in endpoints_of(&client, &shop).await? {
            let question = notify::GetSealedValues { endpoint_id: endpoint_id.clone() };
            let Some(values) = ask(&client, &shop, question).await? else { continue };
            let context = sealing_context(&shop, &endpoint_id);
            let values = old_values(masters, &context, values.values)
                .with_context(|| format!("the endpoint {endpoint_id} of {shop}"))?;
            if values.is_empty() {
                continue;
            }
            let count = values.len() as u64;
            let request = Some(Request::RewrapValues(notify::RewrapValues { values }));
            let body = Body::ChangeWebhooks(notify::ChangeWebhooks {
                endpoint_id,
                request,
                expected_version: None,
            });
            let answer: notify::ChangeWebhooksAnswer = send(&client, &shop, body).await?;
            match answer.result() {
                EndpointResult::Changed => rewrapped += count,
                // The values were replaced meanwhile, or the endpoint was deleted.
                EndpointResult::Unchanged | EndpointResult::Unknown => {}
                other => bail!("the service answered {}", other.as_str_name()),
            }
        }
    }
    Ok(rewrapped)
}

/// The ids of all webhook endpoints of a shop.
async fn endpoints_of(client: &Client, shop: &Shop) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let after = ids.last().cloned().unwrap_or_default();
        let question = notify::ListEndpoints { after, limit: 0 };
        let page = ask(client, shop, question).await?.unwrap_or_default();
        ids.extend(page.endpoints.into_iter().map(|endpoint| endpoint.id));
        if !page.has_more {
            return Ok(ids);
        }
    }
}

/// The values that are encrypted with an old master key, each beside the same encrypted with the newest.
fn old_values(
    masters: &MasterKeys,
    context: &str,
    values: Vec<notify::SealedValue>,
) -> Result<Vec<notify::RewrappedValue>> {
    let mut old = Vec::new();
    for before in values {
        let again = masters.rewrap_value(&before.key_name, context, &before.ciphertext)?;
        if let Some((key_name, ciphertext)) = again {
            let after = Some(notify::SealedValue { key_name, ciphertext });
            old.push(notify::RewrappedValue { before: Some(before), after });
        }
    }
    Ok(old)
}

async fn ask<Q: Question>(client: &Client, shop: &Shop, question: Q) -> Result<Option<Q::Answer>> {
    let found = client.query(Q::SERVICE, shop, question.encode(), 0).await?;
    Ok(found.map(|found| Q::Answer::decode(&*found)).transpose()?)
}
