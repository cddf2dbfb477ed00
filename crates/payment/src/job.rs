//! The reconciliation job: compares the payments of every shop with the provider's list now and then, counts
//! and logs the differences, and has them mended, if it may.
//!
//! How far each shop is compared is kept in a stream beside the log (see [`reached`]): a comparison begins
//! where the last one ended, however long the job did not run, and nothing is between two of them.
//!
//! Each process that runs payments does so; a difference is mended once, since the command that mends it
//! is named after it. Where none is mended, the times in which there are some are kept as well (see
//! [`windows`]): they are compared again each time, until nothing differs any more.

mod reached;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{Client, Clock};
use events::{
    proto::{self, payment},
    questions::Question,
};
use metrics::gauge;
use prost::Message;
use protocol::{
    command::OutgoingCommand,
    id::{CommandId, ParseError, Shop, fingerprint},
    subject::Lane,
    time::Timestamp,
};
use tokio::time::sleep;

use self::{reached::Reached, windows::Window};
use crate::{Payments, metrics::DIFFERENCES};

/// How long the answer to what mends a difference is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause before the first reconciliation of a process.
const MAX_FIRST_PAUSE: Duration = Duration::from_mins(1);
/// How many shops are asked for at once.
const PAGE_LENGTH: u32 = 1_000;

/// When reconciliations are made, and what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciling {
    /// The pause between two.
    pub interval: Duration,
    /// What was carried out so recently is left to the next one.
    pub settling: Duration,
    /// Whether differences are mended: what the provider holds and we do not know of is given back, anything
    /// else becomes stuck. Otherwise they are only reported.
    pub mends: bool,
}

/// A step of a reconciliation failed.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the provider does not say for which shops it did something")]
    Shops(#[source] crate::provider::ProviderError),
    #[error("it cannot be asked")]
    Ask(#[from] engine::AskError),
    #[error("the answer cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("the answer cannot be read")]
    Parse(#[from] ParseError),
    #[error("what mends a difference cannot be sent")]
    Send(#[from] engine::SendError),
    #[error("how far the shop is compared cannot be read or kept")]
    Reached(#[from] engine::Error),
    #[error(transparent)]
    Empty(#[from] events::names::EmptyCommand),
}

impl Payments {
    /// Reconciles again and again; never returns.
    pub async fn reconcile(self, client: Client, clock: Clock, settings: Reconciling) {
        // A process that is often restarted reconciles as well.
        sleep(settings.interval.min(MAX_FIRST_PAUSE)).await;
        // By shop: what could not be compared counts as it did before.
        let mut differing = BTreeMap::new();
        loop {
            let done = self.reconcile_all(&client, clock.now(), settings, &mut differing).await;
            if let Err(error) = done {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the payments were not reconciled");
            }
            gauge!(DIFFERENCES.name).set(differing.values().sum::<usize>() as f64);
            sleep(settings.interval).await;
        }
    }

    /// Compares every shop, whatever comes of another, and puts the number of its differences into `differing`.
    async fn reconcile_all(
        &self,
        client: &Client,
        now: Timestamp,
        settings: Reconciling,
        differing: &mut BTreeMap<Shop, usize>,
    ) -> Result<(), JobError> {
        let until = Timestamp::from_millis(now.millis() - settings.settling.as_millis() as i64);
        let mut shops: BTreeSet<Shop> =
            self.provider.shops().await.map_err(JobError::Shops)?.into_iter().collect();
        for partition in 0..client.partitions() {
            shops.extend(shops_of(client, partition).await?);
        }
        for shop in shops {
            match reconcile_shop(client, &shop, until, settings.mends).await {
                Ok(differences) => {
                    differing.insert(shop, differences);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    let name = shop.as_str();
                    tracing::warn!(shop.name = name, error, "the shop was not reconciled");
                }
            }
        }
        Ok(())
    }
}

/// The shops with payments of ours whose rows are where those of a partition are.
async fn shops_of(client: &Client, partition: u32) -> Result<Vec<Shop>, JobError> {
    let mut all: Vec<Shop> = Vec::new();
    loop {
        let after = all.last().map(ToString::to_string).unwrap_or_default();
        let question = payment::ListShops { after, limit: PAGE_LENGTH };
        let found = client.query_partition("payment", partition, question.encode(), 0).await?;
        let payment::Shops { names } = payment::Shops::decode(found.unwrap_or_default())?;
        let is_last = names.len() < PAGE_LENGTH as usize;
        for name in names {
            all.push(Shop::parse(&name)?);
        }
        if is_last {
            return Ok(all);
        }
    }
}

/// Compares a shop from where it was compared last, and where differences were left as they were. Yields the number
/// of differences.
async fn reconcile_shop(
    client: &Client,
    shop: &Shop,
    until: Timestamp,
    mends: bool,
) -> Result<usize, JobError> {
    let Reached { until: reached, open } = reached::read(client, shop).await?;
    let mut differing = 0;
    let mut still_open = Vec::new();
    for window in open {
        let (found, compared_until) = compare_all(client, shop, window, mends).await?;
        differing += found;
        let has_any = found > 0 && !mends;
        still_open.extend(has_any.then_some(Window { until: compared_until, ..window }));
    }
    let mut from = reached;
    while from < until {
        let (found, compared_until) = compare(client, shop, Window { from, until }, mends).await?;
        differing += found;
        if found > 0 && !mends {
            windows::add(&mut still_open, Window { from, until: compared_until });
        }
        // Not before its differences are in the inbox.
        let reached = Reached { until: compared_until, open: still_open.clone() };
        reached::keep(client, shop, &reached).await?;
        from = compared_until;
    }
    Ok(differing)
}

/// Compares all of a window: the number of differences, and until when it was compared.
async fn compare_all(
    client: &Client,
    shop: &Shop,
    window: Window,
    mends: bool,
) -> Result<(usize, Timestamp), JobError> {
    let (mut differing, mut from) = (0, window.from);
    while from < window.until {
        let (found, until) = compare(client, shop, Window { from, ..window }, mends).await?;
        differing += found;
        from = until;
    }
    Ok((differing, from))
}

/// Compares a window from its beginning: the number of differences, and until when it was compared.
async fn compare(
    client: &Client,
    shop: &Shop,
    window: Window,
    mends: bool,
) -> Result<(usize, Timestamp), JobError> {
    let (from, until) = (Some(window.from.into()), Some(window.until.into()));
    let question = payment::Reconcile { from, until };
    let found = client.query("payment", shop, question.encode(), 0).await?;
    let found = payment::Reconciliation::decode(found.unwrap_or_default())?;
    let compared_until = Timestamp::parse(found.until.as_ref())?;
    let differing = found.differences.len();
    for difference in found.differences {
        report(shop, &difference);
        if mends {
            mend(client, shop, difference).await?;
        }
    }
    Ok((differing, compared_until))
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
    let payment::Difference { kind, operation_id, amount, provider_reference, occurred_at, .. } =
        difference;
    if crate::domain::Operation::parse_id(&operation_id).is_err() {
        // It is of another system, which has the same account at the provider: it belongs to no payment.
        return Ok(());
    }
    let minor = amount.as_ref().map_or(0, |amount| amount.minor);
    let key = format!("reconciliation/{operation_id}/{kind}/{minor}");
    let mend = payment::MendPayment { operation_id, amount, provider_reference, kind, occurred_at };
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
