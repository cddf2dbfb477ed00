//! The rows, and the questions about them, on a database and with a provider of their own.

use std::{path::Path, time::Duration};

use engine::{Cause, Context, Recorded, Row as _, Rules, Value as Column, Wire, WireError};
use events::{
    money::{Currency, Money},
    proto::payment,
    questions::Question,
};
use foldkit::{Projections, Random};
use prost::Message;
use protocol::{id::EventId, time::Timestamp};
use sqlx::any::AnyPoolOptions;
use tempfile::TempDir;

use super::*;
use crate::{
    Settings,
    domain::{Event, Fact, Input, Outcome, Signal},
    provider::{Answer, Request, Task},
};

/// A database of its own, gone when the folder is dropped.
async fn database() -> (AnyPool, TempDir) {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().expect("a private folder");
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("payment.db").display());
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.expect("opens");
    let mut db = pool.acquire().await.expect("connects");
    documents::create_tables(&mut db, store::TABLES).await.expect("creates the tables");
    drop(db);
    (pool, folder)
}

fn acme() -> Shop {
    Shop::parse("acme").expect("valid")
}

fn order(number: u8) -> OrderId {
    OrderId::parse(&format!("018f4e6a-0000-7000-8000-0000000000{number:02x}")).expect("valid")
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn recorded(order_id: OrderId, version: u64, fact: Fact) -> Recorded<Event> {
    Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: acme(),
        version,
        position: 1,
        actor: None,
        time: Timestamp::from_millis(0),
        cause: Cause::default(),
        context: Context {
            correlation_id: format!("c{version}"),
            traceparent: "t".into(),
            ..Context::default()
        },
        event: Event { order_id, fact },
    }
}

fn id(task: &str) -> String {
    format!("{}:{task}", order(1))
}

/// The life of a payment that is paid back in the end: every shape that a row can have.
fn life() -> Vec<Fact> {
    let reference = || "p\"1".to_owned();
    vec![
        Fact::AuthorizationPending {
            operation_id: id("authorize"),
            amount: pounds(500),
            payment_method: "sim:slow:5".into(),
        },
        Fact::CancelRequested,
        Fact::Authorized {
            operation_id: id("authorize"),
            provider_reference: reference(),
            amount: pounds(500),
        },
        Fact::CapturePending {
            operation_id: id("capture"),
            amount: pounds(450),
            provider_reference: reference(),
        },
        Fact::Captured { operation_id: id("capture"), amount: pounds(450) },
        Fact::RefundPending {
            operation_id: id("refund"),
            provider_reference: reference(),
            amount: pounds(450),
        },
        Fact::Refunded { operation_id: id("refund"), amount: pounds(450) },
    ]
}

async fn payments(folder: &Path) -> Payments {
    let settings = Settings {
        simulator_folder: folder.to_owned(),
        simulator_latency: Duration::ZERO,
        timeout: Duration::from_mins(1),
    };
    Payments::open(&settings).await.expect("opens")
}

/// The row that these facts lead to.
fn row_after(order_id: OrderId, facts: &[Fact]) -> PaymentRow {
    let mut state = store::Payments::default();
    for (version, fact) in (1..).zip(facts) {
        Payments::apply(&mut state, &recorded(order_id, version, fact.clone()));
    }
    state.get(&order_id).expect("has a payment").clone()
}

/// Puts a payment into the state that these facts lead to.
async fn given(pool: &AnyPool, order_id: OrderId, facts: &[Fact]) {
    let row = [(order_id.to_string(), row_after(order_id, facts))];
    let mut db = pool.acquire().await.expect("connects");
    documents::put(&mut db, &acme(), row).await.expect("writes");
}

/// Asks by way of the wire, as the gateway does.
async fn ask<Q: Question>(pool: &AnyPool, payments: &Payments, question: Q) -> Option<Q::Answer> {
    let question = Payments::question(&question.encode()).expect("is a question");
    let found = payments.query(pool, &acme(), question).await.expect("answers");
    found.map(|found| Q::Answer::decode(&*Payments::encode_found(found)).expect("reads"))
}

#[test]
fn an_operation_is_in_its_column_for_as_long_as_it_is_pending() {
    let operations: Vec<_> = (1..=life().len())
        .map(|facts| row_after(order(1), &life()[..facts]).columns().swap_remove(0))
        .collect();
    let pending = |task| Column::from(Some(id(task)));
    let none = || Column::Text(None);
    assert_eq!(
        operations,
        [
            pending("authorize"),
            pending("authorize"),
            none(),
            pending("capture"),
            none(),
            pending("refund"),
            none(),
        ]
    );
    assert_eq!(row_after(order(1), &[Fact::Abandoned]).columns()[0], none());
}

#[tokio::test]
async fn rows_read_back_from_their_documents_lead_to_the_same_decisions() {
    let folder = tempfile::tempdir().expect("a private folder");
    let payments = payments(folder.path()).await;
    let mut facts = Vec::new();
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut projections = Projections::new(payments.clone());
        for _ in 0..120 {
            let input = random_input(&mut random);
            let events = projections.handle(&input, Timestamp::from_millis(0));
            facts.extend(events.into_iter().map(|event| event.fact));
        }
        projections.finish();
    }
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Refunded { .. })), "none was refunded");
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Voided { .. })), "none was voided");
}

fn random_input(random: &mut Random) -> Input {
    let order_id = order(random.below(3) as u8);
    let operation_id =
        format!("{order_id}:{}", random.one_of(&["authorize", "capture", "void", "refund"]));
    let outcome = match random.below(6) {
        0 => Outcome::Declined { code: "a \"code\"".into() },
        1 => Outcome::Failed { detail: "8 attempts".into() },
        _ => Outcome::Approved { provider_reference: "p\"1".into() },
    };
    let signal = match random.below(36) {
        0..6 => Signal::PaymentDue { amount: pounds(500), payment_method: "card".into() },
        6..12 => Signal::Confirmed { amount: pounds(450) },
        12 => Signal::Cancelled,
        _ => Signal::Settled { operation_id, outcome },
    };
    Input { order_id, signal }
}

#[tokio::test]
async fn a_payment_is_answered_by_its_order() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    given(&pool, order(1), &life()[..5]).await;
    given(&pool, order(2), &[Fact::Abandoned]).await;

    let of = async |number| {
        ask(&pool, &payments, payment::GetPayment { order_id: order(number).to_string() }).await
    };
    let begun = payment::Payment {
        order_id: order(1).to_string(),
        status: payment::PaymentStatus::Captured.into(),
        amount: Some(pounds(500).into()),
        provider_reference: "p\"1".to_owned(),
        captured: 450,
        refunded: 0,
        version: 5,
    };
    assert_eq!(of(1).await, Some(begun));
    let abandoned = payment::Payment {
        order_id: order(2).to_string(),
        status: payment::PaymentStatus::Abandoned.into(),
        version: 1,
        ..Default::default()
    };
    assert_eq!(of(2).await, Some(abandoned));
    assert_eq!(of(3).await, None);
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = payment::PaymentQuestion::default().encode_to_vec();
    assert!(matches!(Payments::question(&nothing), Err(WireError::Missing("question"))));
    let wrong = payment::GetPayment { order_id: "no uuid".into() }.encode();
    assert!(matches!(Payments::question(&wrong), Err(WireError::Parse(_))));
}

#[tokio::test]
async fn the_totals_are_beside_those_of_the_provider() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    let totals = async || ask(&pool, &payments, payment::GetTotals {}).await;
    assert_eq!(totals().await, Some(payment::Totals::default()));

    given(&pool, order(1), &life()).await;
    given(&pool, order(2), &life()[..5]).await;
    given(&pool, order(3), &life()[..4]).await;
    given(&pool, order(4), &life()[..3]).await;
    given(&pool, order(5), &life()[..1]).await;
    given(&pool, order(6), &[Fact::Abandoned]).await;
    let request = Request {
        operation_id: "o:authorize".into(),
        shop: acme(),
        amount: pounds(700),
        task: Task::Authorize { payment_method: "card".into() },
    };
    let answer = payments.provider.perform(&request).await.expect("answers");
    assert!(matches!(answer, Answer::Approved { .. }));

    let expected = payment::Totals {
        captured: 900,
        refunded: 450,
        authorized: 1000,
        pending: 2,
        provider_net: 0,
        provider_held: 700,
    };
    assert_eq!(totals().await, Some(expected));
}
