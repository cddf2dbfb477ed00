//! The projection, on a database of its own.

use std::{path::Path, time::Duration};

use engine::{Cause, QueryError, Recorded};
use events::{id::EventId, time::Timestamp};
use sqlx::any::AnyPoolOptions;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{self, Event, Fact},
    provider::{Answer, Provider, Request, Task},
    query,
    simulator::Simulator,
};

const PARTITION: u32 = 3;

/// A database of its own, gone when the folder is dropped.
async fn database() -> (AnyPool, TempDir) {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().expect("a private folder");
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("payment.db").display());
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.expect("opens");
    MIGRATIONS.run(&pool).await.expect("migrates");
    (pool, folder)
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("valid")
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
        shop: shop("acme"),
        version,
        time: Timestamp::from_millis(0),
        cause: Cause::default(),
        context: Context { correlation_id: format!("c{version}"), traceparent: "t".into() },
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

#[tokio::test]
async fn what_is_saved_is_loaded_and_what_is_pending_is_what_was_announced() {
    let (pool, _folder) = database().await;
    let mut db = pool.acquire().await.expect("connects");
    let keys = HashMap::from([(shop("acme"), BTreeSet::from([order(1), order(2)]))]);

    for (version, fact) in (1..).zip(life()) {
        let mut states = load(&mut db, &keys).await.expect("loads");
        let state = states.entry(shop("acme")).or_default();
        let event = recorded(order(1), version, fact);
        domain::apply(state, &event);
        let expected = state.get(&order(1)).cloned();
        save(&mut db, PARTITION, &states).await.expect("saves");

        let loaded = load(&mut db, &keys).await.expect("loads");
        assert_eq!(loaded[&shop("acme")].get(&order(1)).cloned(), expected);
        let waits = pending(&mut db, PARTITION).await.expect("loads");
        let announced = match &event.event.fact {
            // The authorisation is still open.
            Fact::CancelRequested => Operation::announced(&recorded(order(1), 1, life().remove(0))),
            _ => Operation::announced(&event),
        };
        assert_eq!(waits, Vec::from_iter(announced), "after {:?}", event.event.fact);
        assert_eq!(pending(&mut db, PARTITION + 1).await.expect("loads"), [], "not theirs");
    }
}

#[tokio::test]
async fn a_payment_that_never_began_is_kept_as_such() {
    let (pool, _folder) = database().await;
    let mut db = pool.acquire().await.expect("connects");
    let mut states = HashMap::from([(shop("acme"), State::default())]);
    let state = states.get_mut(&shop("acme")).expect("is there");
    domain::apply(state, &recorded(order(1), 1, Fact::Abandoned));
    save(&mut db, PARTITION, &states).await.expect("saves");
    let keys = HashMap::from([(shop("acme"), BTreeSet::from([order(1)]))]);
    let loaded = load(&mut db, &keys).await.expect("loads");
    let row = Row { version: 1, payment: Payment::Abandoned };
    assert_eq!(loaded[&shop("acme")].get(&order(1)), Some(&row));
    let elsewhere = HashMap::from([(shop("other"), BTreeSet::from([order(1)]))]);
    assert!(load(&mut db, &elsewhere).await.expect("loads").is_empty(), "is another shop's");
}

async fn provider(folder: &Path) -> Provider {
    let simulator = Simulator::open(&folder.join("provider.db"), Duration::ZERO).await;
    Provider::new(simulator.expect("opens"), Duration::from_mins(1))
}

/// Puts a payment into the state that these facts lead to.
async fn given(pool: &AnyPool, order_id: OrderId, facts: &[Fact]) {
    let mut states = HashMap::from([(shop("acme"), State::default())]);
    let state = states.get_mut(&shop("acme")).expect("is there");
    for (version, fact) in (1..).zip(facts) {
        domain::apply(state, &recorded(order_id, version, fact.clone()));
    }
    let mut db = pool.acquire().await.expect("connects");
    save(&mut db, PARTITION, &states).await.expect("saves");
}

async fn ask(
    pool: &AnyPool,
    provider: &Provider,
    name: &str,
    parameters: Value,
) -> Result<Option<Value>, QueryError> {
    query::answer(pool, provider, &shop("acme"), name, parameters).await
}

#[tokio::test]
async fn a_payment_is_answered_by_its_order() {
    let (pool, folder) = database().await;
    let provider = provider(folder.path()).await;
    given(&pool, order(1), &life()[..5]).await;
    given(&pool, order(2), &[Fact::Abandoned]).await;

    let of = async |number| {
        let parameters = json!({ "order_id": order(number) });
        ask(&pool, &provider, "payment", parameters).await.expect("answers")
    };
    let begun = json!({ "order_id": order(1), "status": "captured", "amount": 500,
                        "currency": "GBP", "provider_reference": "p\"1", "captured": 450,
                        "refunded": 0, "version": 5 });
    assert_eq!(of(1).await, Some(begun));
    let abandoned = json!({ "order_id": order(2), "status": "abandoned", "captured": 0,
                            "refunded": 0, "version": 1 });
    assert_eq!(of(2).await, Some(abandoned));
    assert_eq!(of(3).await, None);

    let error = ask(&pool, &provider, "payments", json!({})).await.expect_err("is no question");
    assert_eq!(error.to_string(), "payment has no question \"payments\"");
}

#[tokio::test]
async fn the_totals_stand_beside_those_of_the_provider() {
    let (pool, folder) = database().await;
    let provider = provider(folder.path()).await;
    let nothing = json!({ "captured": 0, "refunded": 0, "authorized": 0, "pending": 0,
                          "provider_net": 0, "provider_held": 0 });
    assert_eq!(ask(&pool, &provider, "totals", json!({})).await.expect("answers"), Some(nothing));

    given(&pool, order(1), &life()).await;
    given(&pool, order(2), &life()[..5]).await;
    given(&pool, order(3), &life()[..4]).await;
    given(&pool, order(4), &life()[..3]).await;
    given(&pool, order(5), &life()[..1]).await;
    given(&pool, order(6), &[Fact::Abandoned]).await;
    let request = Request {
        operation_id: "o:authorize".into(),
        shop: shop("acme"),
        amount: pounds(700),
        task: Task::Authorize { payment_method: "card".into() },
    };
    let answer = provider.perform(&request).await.expect("answers");
    assert!(matches!(answer, Answer::Approved { .. }));

    let totals = ask(&pool, &provider, "totals", json!({})).await.expect("answers");
    let expected = json!({ "captured": 900, "refunded": 450, "authorized": 1000, "pending": 2,
                           "provider_net": 0, "provider_held": 700 });
    assert_eq!(totals, Some(expected));
}
