//! The reconciliation job: asks for the differences of every shop now and then, counts and logs them, and
//! has what the provider holds without our knowledge given back, if it may.
//!
//! Each process that runs payments does so; a difference is mended once, since the command that mends it
//! is named after the operation.

use std::time::Duration;

use engine::{Client, Clock};
use events::{
    proto::{self, payment},
    questions::Question,
};
use metrics::gauge;
use prost::Message;
use protocol::{
    command::OutgoingCommand,
    id::{CommandId, Shop, fingerprint},
    subject::Lane,
    time::Timestamp,
};
use tokio::time::sleep;

use crate::{Payments, metrics::DIFFERENCES};

/// How long the answer to what mends a difference is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// When reconciliations are made, and what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciling {
    /// The pause between two; each looks back for that long and one more time, so that none is missed.
    pub interval: Duration,
    /// What was asked of the provider so recently is left to the next one.
    pub settling: Duration,
    /// Whether what the provider holds and we do not know of is given back.
    pub mends: bool,
}

/// A step of a reconciliation failed.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the provider does not say for which shops it did something")]
    Shops(#[source] crate::provider::ProviderError),
    #[error(transparent)]
    Ask(#[from] engine::AskError),
    #[error("the answer cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("what mends a difference cannot be sent")]
    Send(#[from] engine::SendError),
    #[error(transparent)]
    Empty(#[from] events::names::EmptyCommand),
}

impl Payments {
    /// Reconciles again and again; never returns.
    pub async fn reconcile(self, client: Client, clock: Clock, settings: Reconciling) {
        loop {
            sleep(settings.interval).await;
            if let Err(error) = self.reconcile_once(&client, clock.now(), settings).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the payments were not reconciled");
            }
        }
    }

    async fn reconcile_once(
        &self,
        client: &Client,
        now: Timestamp,
        settings: Reconciling,
    ) -> Result<(), JobError> {
        let until = Timestamp::from_millis(now.millis() - settings.settling.as_millis() as i64);
        let back = settings.interval.as_millis() as i64 * 2;
        let from = Timestamp::from_millis(until.millis() - back);
        let shops = self.provider.shops(from).await.map_err(JobError::Shops)?;
        let mut differing = 0;
        for shop in shops {
            let question =
                payment::Reconcile { from: Some(from.into()), until: Some(until.into()) };
            let found = client.query("payment", &shop, question.encode(), 0).await?;
            let found = payment::Reconciliation::decode(found.unwrap_or_default())?;
            differing += found.differences.len();
            for difference in found.differences {
                report(&shop, &difference);
                if settings.mends && difference.mendable {
                    mend(client, &shop, difference).await?;
                }
            }
        }
        gauge!(DIFFERENCES.name).set(differing as f64);
        Ok(())
    }
}

fn report(shop: &Shop, difference: &payment::Difference) {
    let (kind, operation) = (difference.kind().as_str_name(), &difference.operation_id);
    tracing::warn!(
        shop.name = shop.as_str(),
        operation.id = operation,
        kind,
        "the provider's list and our log differ"
    );
}

async fn mend(
    client: &Client,
    shop: &Shop,
    difference: payment::Difference,
) -> Result<(), JobError> {
    let payment::Difference { operation_id, amount, provider_reference, .. } = difference;
    let key = format!("reconciliation/{operation_id}");
    let mend = payment::MendPayment { operation_id, amount, provider_reference };
    let command = proto::Command {
        id: CommandId::from_key(shop, &key).to_string(),
        shop: shop.to_string(),
        fingerprint: fingerprint(&mend.encode_to_vec()),
        body: Some(proto::command::Body::MendPayment(mend)),
        ..Default::default()
    };
    let command = OutgoingCommand::try_from(command)?;
    client.send(Lane::Bulk, command, ANSWER_TIMEOUT).await?;
    Ok(())
}
