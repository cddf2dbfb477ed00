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
    LookupPolicy, Settings,
    domain::{
        After, DifferenceKind, Event, Fact, Input, Listed, Operation, OperationKind, Outcome,
        Refund, Resolution, Steps, StuckReason, TroubleKind,
    },
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

fn payment(number: u8) -> PaymentId {
    PaymentId::first(order(number))
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn recorded(payment_id: PaymentId, version: u64, fact: Fact) -> Recorded<Event> {
    let none = pounds(0);
    let after = After {
        provider_reference: String::new(),
        authorized: none,
        captured: none,
        refunded: none,
    };
    Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: acme(),
        version,
        position: 1,
        actor: None,
        time: Timestamp::from_millis(0),
        cause: Cause::default(),
        context: Context { correlation_id: format!("c{version}"), ..Context::default() },
        event: Event { payment_id, fact, after, occurred_at: None },
    }
}

const AUTHORIZE: Operation = Operation::first(OperationKind::Authorize);
const CAPTURE: Operation = Operation { kind: OperationKind::Capture, number: 4 };
const REFUND: Operation = Operation::first(OperationKind::Refund);

/// The life of a payment that is paid back in the end: every shape that a row can have.
fn life() -> Vec<Fact> {
    vec![
        Fact::AuthorizationPending {
            operation: AUTHORIZE,
            amount: pounds(500),
            payment_method: "sim:slow:5".into(),
            due_by: Timestamp::from_millis(9),
        },
        Fact::CancelRequested,
        Fact::Authorized {
            operation: AUTHORIZE,
            provider_reference: "p\"1".into(),
            amount: pounds(500),
        },
        Fact::CapturePending { operation: CAPTURE, amount: pounds(500) },
        Fact::Captured { operation: CAPTURE, amount: pounds(500), provider_reference: "p1".into() },
        Fact::RefundPending {
            operation: REFUND,
            amount: pounds(500),
            refund: Refund { id: "R".into(), reason: "a \"reason\"".into() },
        },
        Fact::Refunded { operation: REFUND, amount: pounds(500), refund_id: "R".into() },
    ]
}

async fn payments(folder: &Path) -> Payments {
    let settings = Settings {
        simulator_folder: folder.to_owned(),
        simulator_latency: Duration::ZERO,
        timeout: Duration::from_mins(1),
        policy: LookupPolicy {
            lookup_interval: Duration::from_secs(1),
            late_window: Duration::from_secs(1),
            stuck_after: Duration::from_secs(1),
        },
    };
    Payments::open(&settings).await.expect("opens")
}

/// The row that these facts lead to.
fn row_after(payment_id: PaymentId, facts: &[Fact]) -> PaymentRow {
    let mut state = crate::domain::PaymentRows::default();
    for (version, fact) in (1..).zip(facts) {
        Payments::apply(&mut state, &recorded(payment_id, version, fact.clone()));
    }
    state.get(&payment_id).expect("has a payment").clone()
}

/// Puts a payment into the state that these facts lead to.
async fn given(pool: &AnyPool, payment_id: PaymentId, facts: &[Fact]) {
    let row = [(payment_id.to_string(), row_after(payment_id, facts))];
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
        .map(|facts| row_after(payment(1), &life()[..facts]).columns().swap_remove(0))
        .collect();
    let pending = |operation: Operation| Column::from(Some(operation.id(payment(1))));
    let none = || Column::Text(None);
    assert_eq!(
        operations,
        [
            pending(AUTHORIZE),
            pending(AUTHORIZE),
            none(),
            pending(CAPTURE),
            none(),
            pending(REFUND),
            none(),
        ]
    );
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
    let payment_id =
        PaymentId { number: 1 + random.below(2) as u32, ..payment(random.below(3) as u8) };
    let operation = random.one_of(&["authorize", "capture-4", "void", "refund-1", "charge"]);
    let operation = Operation::parse(operation).expect("valid");
    let outcome = match random.below(9) {
        2 => Outcome::Conflict,
        5 => Outcome::ActionRequired {
            url: "https://bank.example".into(),
            data: "\"".into(),
            expires_at: Timestamp::from_millis(5),
        },
        3 => Outcome::Silent { for_long: false },
        4 => Outcome::Silent { for_long: true },
        0 => Outcome::Declined { code: "a \"code\"".into() },
        1 => Outcome::Failed { detail: "8 attempts".into() },
        _ => Outcome::Approved { provider_reference: "p\"1".into() },
    };
    match random.below(36) {
        0..6 => Input::PaymentDue {
            payment_id,
            amount: pounds(500),
            payment_method: "card".into(),
            due_by: Timestamp::from_millis(9),
            steps: random.one_of(&[
                Steps::Authorize,
                Steps::AuthorizeAndCapture(pounds(450)),
                Steps::Charge,
            ]),
            abandoned: random
                .one_of(&[None, Some(PaymentId { number: 1, ..payment_id })])
                .filter(|earlier| *earlier != payment_id),
        },
        6..12 => Input::Capture { payment_id, number: 4, amount: pounds(450) },
        16..19 => Input::Refund {
            order_id: payment_id.order_id,
            payment_id: random.one_of(&[None, Some(payment_id)]),
            amount: pounds(100),
            refund: Refund { id: random.one_of(&["R1".into(), "R2".into()]), reason: "x".into() },
        },
        12 => Input::OrderCancelled { order_id: payment_id.order_id },
        13..16 => Input::SettledByOperator {
            payment_id,
            resolution: random.one_of(&[
                Resolution::Retry,
                Resolution::DoneElsewhere,
                Resolution::GiveUp,
            ]),
            reason: "a \"reason\"".into(),
            operator: "ann".into(),
        },
        32 | 33 => Input::Differs {
            kind: random.one_of(&[
                DifferenceKind::UnknownToUs,
                DifferenceKind::UnknownToProvider,
                DifferenceKind::AmountDiffers,
            ]),
            listed: Listed {
                payment_id,
                operation,
                amount: pounds(499),
                provider_reference: "p\"1".into(),
                occurred_at: None,
            },
        },
        _ => Input::Settled { payment_id, operation, outcome, occurred_at: None },
    }
}

#[tokio::test]
async fn a_payment_is_answered_with_its_transactions() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    given(&pool, payment(1), &life()[..5]).await;
    given(&pool, payment(1).next(), &life()[..1]).await;
    given(&pool, payment(2), &life()[..1]).await;

    let question = payment::GetPayment { payment_id: payment(1).to_string() };
    let captured = ask(&pool, &payments, question).await.expect("is known");
    let transaction = |operation: Operation, kind: payment::TransactionKind| payment::Transaction {
        operation_id: operation.id(payment(1)),
        kind: kind.into(),
        amount: Some(pounds(500).into()),
        status: payment::TransactionStatus::Done.into(),
        detail: String::new(),
        refund_id: String::new(),
        reason: String::new(),
        time: Some(Timestamp::from_millis(0).into()),
    };
    let expected = payment::Payment {
        shop: "acme".to_owned(),
        action: None,
        stuck_reason: payment::StuckReason::Unspecified.into(),
        payment_id: payment(1).to_string(),
        order_id: order(1).to_string(),
        status: payment::PaymentStatus::Captured.into(),
        amount: Some(pounds(500).into()),
        provider: "simulator".to_owned(),
        provider_reference: "p\"1".to_owned(),
        authorized: Some(pounds(500).into()),
        captured: Some(pounds(500).into()),
        refunded: Some(pounds(0).into()),
        transactions: vec![
            transaction(AUTHORIZE, payment::TransactionKind::Authorization),
            transaction(CAPTURE, payment::TransactionKind::Capture),
        ],
        version: 5,
        differences: vec![],
    };
    assert_eq!(captured, expected);

    let of = async |number| {
        let question = payment::ListPaymentsOfOrder { order_id: order(number).to_string() };
        let payments = ask(&pool, &payments, question).await.expect("is answered").payments;
        payments.into_iter().map(|payment| payment.payment_id).collect::<Vec<_>>()
    };
    assert_eq!(of(1).await, [payment(1).to_string(), payment(1).next().to_string()]);
    assert_eq!(of(2).await, [payment(2).to_string()]);
    assert_eq!(of(3).await, [""; 0]);
    let unknown = payment::GetPayment { payment_id: payment(3).to_string() };
    assert_eq!(ask(&pool, &payments, unknown).await, None);
}

#[tokio::test]
async fn what_is_stuck_is_listed_and_counted() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    let uncertain = Fact::Uncertain { operation: AUTHORIZE, since: Timestamp::from_millis(0) };
    let stuck = Fact::Stuck {
        operation: AUTHORIZE,
        reason: StuckReason::NoAnswer,
        detail: String::new(),
        since: Timestamp::from_millis(0),
    };
    let begun = life()[..1].to_vec();
    given(&pool, payment(1), &begun).await;
    given(&pool, payment(2), &[begun.clone(), vec![uncertain.clone()]].concat()).await;
    for number in [3, 4, 5] {
        let stuck = [begun.clone(), vec![uncertain.clone(), stuck.clone()]].concat();
        given(&pool, payment(number), &stuck).await;
    }
    let listed = async |after: String, limit, uncertain| {
        let question = payment::ListStuckPayments { after, limit, uncertain };
        let page = ask(&pool, &payments, question).await.expect("is answered").payments;
        page.into_iter().map(|it| (it.payment_id.clone(), it.stuck_reason())).collect::<Vec<_>>()
    };
    let list = async |after: String, limit| listed(after, limit, false).await;
    let of = |number| (payment(number).to_string(), payment::StuckReason::NoAnswer);
    assert_eq!(list(String::new(), 2).await, [of(3), of(4)]);
    assert_eq!(list(payment(4).to_string(), 2).await, [of(5)]);
    let uncertain = (payment(2).to_string(), payment::StuckReason::Unspecified);
    assert_eq!(listed(String::new(), 10, true).await, [uncertain]);
    assert_eq!(store::count_trouble(&pool, 0).await.expect("counts"), (1, 3));
    let totals = ask(&pool, &payments, payment::GetTotals {}).await.expect("is answered");
    assert_eq!((totals.pending, totals.stuck), (5, 3));

    let trouble = TroubleKind::Stuck;
    let of_all = super::Question::InTrouble { trouble, after: String::new(), limit: 10 };
    let found = payments.query(&pool, &Shop::unknown(), of_all).await.expect("answers");
    let Some(Found::Payments { payments: rows, .. }) = found else { panic!("{found:?}") };
    assert!(rows.len() == 3 && rows.iter().all(|(shop, _)| shop == "acme"), "{rows:?}");
    let found = payments.query(&pool, &Shop::unknown(), super::Question::Payment(payment(1))).await;
    let Ok(Some(Found::Payment(shop, _))) = found else { panic!("{found:?}") };
    assert_eq!(shop, "acme");
    let shops = |after: &str| super::Question::Shops { after: after.into(), limit: 10 };
    let found = payments.query(&pool, &Shop::unknown(), shops("")).await.expect("answers");
    assert_eq!(found, Some(Found::Shops(vec!["acme".to_owned()])));
    let found = payments.query(&pool, &Shop::unknown(), shops("acme")).await.expect("answers");
    assert_eq!(found, Some(Found::Shops(vec![])));
}

#[tokio::test]
async fn a_reconciliation_finds_what_only_one_side_has() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    // Ours has an authorisation and a capture, and the provider has never done anything for the shop.
    given(&pool, payment(1), &life()[..5]).await;
    let (from, until) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX / 2));
    let question = || payment::Reconcile { from: Some(from.into()), until: Some(until.into()) };
    let kinds = |found: payment::Reconciliation| -> Vec<_> {
        let kind = |it: &payment::Difference| (it.kind(), it.operation_id.clone());
        found.differences.iter().map(kind).collect()
    };
    let missing = |operation: Operation| {
        (payment::DifferenceKind::UnknownToProvider, operation.id(payment(1)))
    };
    let found = ask(&pool, &payments, question()).await.expect("is answered");
    assert_eq!(kinds(found), [missing(AUTHORIZE), missing(CAPTURE)]);

    // It has done the authorisation at another time, and what we do not know of.
    let authorize = |operation_id: String| Request {
        operation_id,
        shop: acme(),
        amount: pounds(500),
        task: Task::Authorize { payment_method: "card".into() },
    };
    let unknown = AUTHORIZE.id(payment(2));
    for id in [AUTHORIZE.id(payment(1)), unknown.clone()] {
        payments.provider.perform(&authorize(id)).await.expect("answers");
    }
    let found = ask(&pool, &payments, question()).await.expect("is answered");
    let turned_up = (payment::DifferenceKind::UnknownToUs, unknown);
    assert_eq!(kinds(found), [turned_up, missing(CAPTURE)]);
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = payment::PaymentQuestion::default().encode_to_vec();
    assert!(matches!(Payments::question(&nothing), Err(WireError::Missing("question"))));
    let wrong = payment::GetPayment { payment_id: "no uuid".into() }.encode();
    assert!(matches!(Payments::question(&wrong), Err(WireError::Parse(_))));
}

#[tokio::test]
async fn the_totals_are_beside_those_of_the_provider() {
    let (pool, folder) = database().await;
    let payments = payments(folder.path()).await;
    let totals = async || ask(&pool, &payments, payment::GetTotals {}).await;
    assert_eq!(totals().await, Some(payment::Totals::default()));

    given(&pool, payment(1), &life()).await;
    given(&pool, payment(2), &life()[..5]).await;
    given(&pool, payment(3), &life()[..4]).await;
    given(&pool, payment(4), &life()[..3]).await;
    given(&pool, payment(5), &life()[..1]).await;
    let request = Request {
        operation_id: "o:authorize".into(),
        shop: acme(),
        amount: pounds(700),
        task: Task::Authorize { payment_method: "card".into() },
    };
    let answer = payments.provider.perform(&request).await.expect("answers");
    assert!(matches!(answer.answer, Answer::Approved { .. }));

    let money = |minor, code: &str| {
        Some(Money { minor, currency: Currency::parse(code).expect("valid") }.into())
    };
    let in_pounds = payment::CurrencyTotals {
        captured: money(1000, "GBP"),
        refunded: money(500, "GBP"),
        authorized: money(1000, "GBP"),
        provider_net: money(0, "GBP"),
        provider_held: money(700, "GBP"),
    };
    let expected = payment::Totals { currencies: vec![in_pounds.clone()], pending: 2, stuck: 0 };
    assert_eq!(totals().await, Some(expected));

    // What one side has in another currency is added to nothing else.
    let request = Request {
        operation_id: "e:authorize".into(),
        amount: Money { minor: 30, currency: Currency::parse("EUR").expect("valid") },
        ..request
    };
    payments.provider.perform(&request).await.expect("answers");
    let in_euros = payment::CurrencyTotals {
        captured: money(0, "EUR"),
        refunded: money(0, "EUR"),
        authorized: money(0, "EUR"),
        provider_net: money(0, "EUR"),
        provider_held: money(30, "EUR"),
    };
    let currencies = vec![in_euros, in_pounds];
    let expected = payment::Totals { currencies, pending: 2, stuck: 0 };
    assert_eq!(totals().await, Some(expected));
}
