//! What an operator does about payments that do not come to an end by themselves.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use engine::{Client, Engine, Outcome};
use events::{
    answers::CommandAnswer,
    card_numbers::refuse_card_number,
    id::PaymentId,
    money::Money,
    proto::{
        self, AnswerBody,
        payment::{
            Difference, GetPayment, ListStuckPayments, OpenDifference, Payment, Payments as Page,
            Reconcile, SettlePayment, SettlePaymentAnswer, StuckReason, TransactionStatus,
            settle_payment_answer::Outcome as Settled,
        },
    },
    questions::Question,
};
use node::{say, settings::Settings};
use prost::Message;
use protocol::{
    command::OutgoingCommand,
    id::{CommandId, Shop, fingerprint},
    proto::Actor,
    subject::Lane,
    time::Timestamp,
};

use crate::cli::{Payments, Resolution};

/// The service that is asked.
const SERVICE: &str = "payment";
/// How many payments are asked for at once.
const PAGE_LENGTH: u32 = 1_000;
/// How long the answer to a settlement is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// `tradewind payments …`.
pub(crate) async fn run(settings: &Settings, what: &Payments) -> Result<()> {
    let engine = Engine::connect_only(settings.engine()).await?;
    let (client, partitions) = (engine.client(), engine.config().partitions);
    match what {
        Payments::Stuck { shop, uncertain } => {
            let found = match shop {
                Some(shop) => in_trouble(&client, &Asked::Shop(shop), *uncertain).await?,
                None => in_trouble_of_all(&client, partitions, *uncertain).await?,
            };
            for payment in &found {
                print(payment, *uncertain);
            }
            say!("{} {}", found.len(), if *uncertain { "uncertain" } else { "stuck" });
            Ok(())
        }
        Payments::Reconcile { shop, last } => reconcile(&client, shop, *last).await,
        Payments::Settle { payment, resolution, reason, operator } => {
            refuse_card_number("--reason", reason)?;
            refuse_card_number("--operator", operator)?;
            let found = find(&client, partitions, *payment).await?;
            let Some(found) = found else { bail!("there is no payment {payment}") };
            settle(&client, &found, *resolution, reason, operator).await
        }
    }
}

/// A question that a service is asked, as bytes, and what comes back.
enum Asked<'a> {
    Shop(&'a Shop),
    Partition(u32),
}

async fn ask<Q: Question>(
    client: &Client,
    whom: &Asked<'_>,
    question: Q,
) -> Result<Option<Q::Answer>> {
    let question = question.encode();
    let found = match whom {
        Asked::Shop(shop) => client.query(SERVICE, shop, question, 0).await?,
        Asked::Partition(partition) => {
            client.query_partition(SERVICE, *partition, question, 0).await?
        }
    };
    found.map(|bytes| Q::Answer::decode(bytes).context("read the answer")).transpose()
}

/// What is stuck, or uncertain, in all partitions; those that share a database answer alike.
async fn in_trouble_of_all(
    client: &Client,
    partitions: u32,
    uncertain: bool,
) -> Result<Vec<Payment>> {
    let mut all = BTreeMap::new();
    for partition in 0..partitions {
        for payment in in_trouble(client, &Asked::Partition(partition), uncertain).await? {
            all.insert((payment.shop.clone(), payment.payment_id.clone()), payment);
        }
    }
    Ok(all.into_values().collect())
}

async fn in_trouble(client: &Client, whom: &Asked<'_>, uncertain: bool) -> Result<Vec<Payment>> {
    let mut all: Vec<Payment> = Vec::new();
    loop {
        let after = all.last().map(|last| last.payment_id.clone()).unwrap_or_default();
        let question = ListStuckPayments { after, limit: PAGE_LENGTH, uncertain };
        let Page { payments, has_more } = ask(client, whom, question).await?.unwrap_or_default();
        all.extend(payments);
        if !has_more {
            return Ok(all);
        }
    }
}

/// Prints how the provider's list of late differs from our log.
#[expect(clippy::disallowed_methods, reason = "an operator's command begins now")]
async fn reconcile(client: &Client, shop: &Shop, last: Duration) -> Result<()> {
    let now = Timestamp::now();
    let mut from = Timestamp::from_millis(now.millis() - last.as_millis() as i64);
    let (mut compared, mut differing) = (0, 0);
    while from < now {
        let question = Reconcile { from: Some(from.into()), until: Some(now.into()) };
        let found = ask(client, &Asked::Shop(shop), question).await?.unwrap_or_default();
        found.differences.iter().for_each(print_difference);
        compared += found.compared;
        differing += found.differences.len();
        // Where there is much, only a part of the time is compared at once.
        from = Timestamp::parse(found.until.as_ref()).context("read until when was compared")?;
    }
    say!("{compared} compared, {differing} differ");
    if differing > 0 {
        bail!("the provider's list and our log differ");
    }
    Ok(())
}

fn print_difference(difference: &Difference) {
    let kind = difference.kind().as_str_name().trim_start_matches("DIFFERENCE_KIND_");
    let amount = Money::parse(difference.amount.as_ref()).map(|amount| amount.to_string());
    say!(
        "{}  {}  {}  {}",
        kind.to_lowercase(),
        difference.operation_id,
        amount.unwrap_or_default(),
        difference.provider_reference
    );
}

async fn find(client: &Client, partitions: u32, id: PaymentId) -> Result<Option<Payment>> {
    for partition in 0..partitions {
        let question = GetPayment { payment_id: id.to_string() };
        if let Some(found) = ask(client, &Asked::Partition(partition), question).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Prints a payment with the operation that is stuck, or uncertain, and its differences.
fn print(payment: &Payment, uncertain: bool) {
    let wanted = if uncertain { TransactionStatus::Uncertain } else { TransactionStatus::Stuck };
    let in_trouble = payment.transactions.iter().rfind(|it| it.status() == wanted);
    if let Some(transaction) = in_trouble {
        let amount = Money::parse(transaction.amount.as_ref()).map(|amount| amount.to_string());
        let since = Timestamp::parse(transaction.time.as_ref()).unwrap_or_default();
        let cause = if uncertain { "uncertain".to_owned() } else { reason(payment.stuck_reason()) };
        say!(
            "{}  {}  since {since}  {}  {cause} {}",
            payment.shop,
            transaction.operation_id,
            amount.unwrap_or_default(),
            transaction.detail
        );
    }
    for difference in &payment.differences {
        let since = Timestamp::parse(difference.found_at.as_ref()).unwrap_or_default();
        let cause = reason(difference.reason());
        let OpenDifference { operation_id, detail, .. } = difference;
        say!("{}  {operation_id}  found {since}  {cause} {detail}", payment.shop);
    }
}

fn reason(reason: StuckReason) -> String {
    reason.as_str_name().trim_start_matches("STUCK_REASON_").to_lowercase()
}

async fn settle(
    client: &Client,
    payment: &Payment,
    resolution: Resolution,
    reason: &str,
    operator: &str,
) -> Result<()> {
    let id = &payment.payment_id;
    let shop = Shop::parse(&payment.shop).context("read the shop of the payment")?;
    let settle = SettlePayment {
        payment_id: id.clone(),
        resolution: wire(resolution).into(),
        reason: reason.to_owned(),
        operator: operator.to_owned(),
    };
    // The same settlement of the same version of the payment is the same command.
    let key = format!("operator/settle/{id}/{}", payment.version);
    let command = proto::Command {
        id: CommandId::from_key(&shop, &key).to_string(),
        shop: shop.to_string(),
        fingerprint: fingerprint(&settle.encode_to_vec()),
        actor: Some(Actor { kind: "operator".to_owned(), id: operator.to_owned() }),
        body: Some(proto::command::Body::SettlePayment(settle)),
        ..Default::default()
    };
    let command = OutgoingCommand::try_from(command)?;
    let Outcome::Answered(answered) = client.send(Lane::Live, command, ANSWER_TIMEOUT).await?
    else {
        bail!("the settlement is stored and not yet handled: see `tradewind payments stuck`");
    };
    let answer = AnswerBody::decode(&*answered.body).context("read the answer")?.answer;
    match answer.and_then(SettlePaymentAnswer::take).and_then(|answer| answer.outcome) {
        Some(Settled::Settled(settled)) => {
            say!("settled {}", settled.operation_id);
            Ok(())
        }
        Some(Settled::NotFound(_)) => bail!("there is no payment {id}"),
        Some(Settled::NotStuck(_)) => bail!("no operation of {id} is uncertain or stuck"),
        Some(Settled::NotApplicable(_)) => bail!(
            "an authorisation that was done elsewhere cannot be taken over: --retry looks it up, \
             --give-up ends the payment. A difference between the provider's list and our log takes \
             --done-elsewhere"
        ),
        None => bail!("the answer is of a newer version"),
    }
}

fn wire(resolution: Resolution) -> proto::payment::Resolution {
    match resolution {
        Resolution { done_elsewhere: true, .. } => proto::payment::Resolution::DoneElsewhere,
        Resolution { retry: true, .. } => proto::payment::Resolution::Retry,
        Resolution { .. } => proto::payment::Resolution::GiveUp,
    }
}
