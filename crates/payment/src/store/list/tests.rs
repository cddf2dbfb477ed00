//! Lists on real databases: what they find, in which order, and by which index.

use std::collections::BTreeSet;

use engine::{Context, Revision};
use events::money::{Currency, Money};
use foldkit::Random;
use testkit::{Db, on_both_databases, plan};

use super::*;
use crate::{
    domain::{
        Operation, OperationKind, Payment, Pending, Refund, StuckReason, Transaction,
        TransactionStatus,
    },
    store::TABLES,
};

on_both_databases!(
    a_list_is_what_matches_in_order_page_by_page,
    paging_while_payments_change_misses_none_and_shows_none_twice,
    a_list_is_read_by_an_index,
);

fn shop() -> Shop {
    Shop::parse("acme").expect("valid")
}

fn time(second: u64) -> Timestamp {
    Timestamp::from_millis(1_300_000_000_000 + second as i64 * 1_000)
}

/// A payment; every second one is the second of its order.
fn row(random: &mut Random, number: u64) -> PaymentRow {
    let order_id = OrderId(uuid::Uuid::from_u128(u128::from(number / 2 + 1) * 7_919));
    let id = PaymentId { order_id, number: 1 + (number % 2) as u32 };
    let amount = Money { minor: 500, currency: Currency::parse("GBP").expect("valid") };
    let trouble = match number % 40 {
        7 => Some(Trouble::Stuck(StuckReason::NoAnswer)),
        9 => Some(Trouble::Uncertain),
        _ => None,
    };
    let operation = Operation::first(OperationKind::Capture);
    let context = Context::default();
    let payment = Payment {
        id,
        status: random.one_of(&Status::ALL),
        amount,
        payment_method: "card".to_owned(),
        provider_reference: if number.is_multiple_of(5) {
            String::new()
        } else {
            format!("p-{}", number / 3)
        },
        authorized: 0,
        captured: 0,
        refunded: 0,
        due_by_ms: 0,
        cancelled_at_ms: None,
        given_up_hold: 0,
        surplus: 0,
        given_up_refund: 0,
        action: None,
        transactions: vec![Transaction {
            operation: Operation::first(OperationKind::Authorize),
            amount: 500,
            status: TransactionStatus::Done,
            detail: String::new(),
            at_ms: time(number / 3).millis(),
            ended_at_ms: None,
            refund: Refund::default(),
        }],
        wanted: vec![],
        pending: trouble.map(|_| Pending { operation, context, round: 0, trouble }),
        differences: vec![],
        changed_at_ms: 0,
    };
    PaymentRow { revision: Revision { version: 1, position: number }, payment }
}

async fn put(pool: &AnyPool, rows: &[PaymentRow]) {
    let mut tx = pool.begin().await.expect("connects");
    let rows = rows.iter().map(|row| (row.payment.id.to_string(), row.clone()));
    documents::put(&mut tx, &shop(), rows).await.expect("writes");
    tx.commit().await.expect("writes");
}

fn matches(row: &PaymentRow, filter: &PaymentFilter) -> bool {
    let payment = &row.payment;
    filter.status.is_none_or(|it| it == payment.status)
        && filter.order_id.is_none_or(|it| it == payment.id.order_id)
        && (filter.provider_reference.is_empty()
            || filter.provider_reference == payment.provider_reference)
        && filter.trouble.is_none_or(|it| payment.trouble().map(Trouble::kind) == Some(it))
        && filter.begun_from.is_none_or(|it| payment.begun_at() >= it)
        && filter.begun_until.is_none_or(|it| payment.begun_at() < it)
}

fn random_page(random: &mut Random, rows: &[PaymentRow]) -> PaymentPage {
    let count = rows.len() as u64;
    let one = random.one_of(rows).payment;
    let second =
        |random: &mut Random| (random.below(3) == 0).then(|| time(random.below(count / 3)));
    let is_referenced = random.below(5) == 0;
    let filter = PaymentFilter {
        status: (random.below(2) == 0).then_some(one.status),
        order_id: (random.below(5) == 0).then_some(one.id.order_id),
        provider_reference: if is_referenced { one.provider_reference } else { String::new() },
        trouble: (random.below(5) == 0)
            .then(|| random.one_of(&[TroubleKind::Uncertain, TroubleKind::Stuck])),
        begun_from: second(random),
        begun_until: second(random),
    };
    let limit = 1 + random.below(9) as u32;
    PaymentPage { filter, oldest_first: random.below(2) == 0, after: None, limit }
}

/// A page, and the one that follows it; no other when it is not full.
async fn page(pool: &AnyPool, mut page: PaymentPage) -> (Vec<PaymentRow>, Option<PaymentPage>) {
    let found = list(pool, &shop(), &page).await.expect("is found");
    let is_full = found.len() == page.limit as usize;
    let place = |row: &PaymentRow| PaymentPlace {
        begun_at: row.payment.begun_at(),
        payment_id: row.payment.id,
    };
    page.after = found.last().filter(|_| is_full).map(place);
    (found, Some(page).filter(|_| is_full))
}

async fn a_list_is_what_matches_in_order_page_by_page(db: Db) {
    let pool = db.with_tables(TABLES).await;
    let mut random = Random::new(1);
    let rows: Vec<_> = (0..200).map(|number| row(&mut random, number)).collect();
    put(&pool, &rows).await;
    let (all, other) = (PaymentPage { limit: 5, ..PaymentPage::default() }, Shop::parse("b"));
    assert_eq!(list(&pool, &other.expect("valid"), &all).await.expect("is found"), []);
    let mut found_some = 0;
    for _ in 0..200 {
        let mut next = Some(random_page(&mut random, &rows));
        let PaymentPage { filter, oldest_first, .. } = next.clone().expect("the first");
        let mut expected: Vec<_> =
            rows.iter().filter(|row| matches(row, &filter)).cloned().collect();
        expected.sort_by_key(|row| (row.payment.begun_at(), row.payment.id.to_string()));
        if !oldest_first {
            expected.reverse();
        }
        let mut found = Vec::new();
        while let Some(one) = next.take() {
            let (rows, following) = page(&pool, one).await;
            found.extend(rows);
            next = following;
        }
        found_some += usize::from(!found.is_empty());
        assert_eq!(found, expected, "{filter:?}");
    }
    assert!(found_some > 50, "{found_some}");
}

async fn paging_while_payments_change_misses_none_and_shows_none_twice(db: Db) {
    let pool = db.with_tables(TABLES).await;
    let mut random = Random::new(2);
    let mut rows: Vec<_> = (0..150).map(|number| row(&mut random, number)).collect();
    put(&pool, &rows).await;
    for round in 0..15 {
        let first = PaymentPage { limit: 3, ..random_page(&mut random, &rows) };
        let filter = first.filter.clone();
        let mut all_the_time: Vec<_> = (0..rows.len()).collect();
        all_the_time.retain(|index| matches(&rows[*index], &filter));
        let (mut next, mut seen) = (Some(first), Vec::new());
        while let Some(one) = next.take() {
            let (found, following) = page(&pool, one).await;
            seen.extend(found.iter().map(|row| row.payment.id));
            next = following;
            let number = rows.len() as u64;
            rows.push(row(&mut random, number));
            let mut changed = BTreeSet::from([number as usize]);
            for _ in 0..5 {
                let index = random.below(number) as usize;
                rows[index].payment.status = random.one_of(&Status::ALL);
                changed.insert(index);
            }
            let changed: Vec<_> = changed.into_iter().map(|it| rows[it].clone()).collect();
            put(&pool, &changed).await;
            all_the_time.retain(|index| matches(&rows[*index], &filter));
        }
        for index in all_the_time {
            let id = rows[index].payment.id;
            assert!(seen.contains(&id), "{round}: {id} is missing in {filter:?}");
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{round}: one is shown twice in {filter:?}");
    }
}

async fn a_list_is_read_by_an_index(db: Db) {
    let pool = db.with_tables(TABLES).await;
    let mut random = Random::new(3);
    let mut rows: Vec<_> = (1..=3_000).map(|number| row(&mut random, number)).collect();
    for (number, row) in rows.iter_mut().enumerate() {
        if number % 20 > 0 {
            row.payment.status = Status::Captured;
        }
    }
    put(&pool, &rows).await;
    let none = PaymentFilter::default;
    for (filter, index) in [
        (none(), "payment_2"),
        (PaymentFilter { begun_from: Some(time(5)), ..none() }, "payment_2"),
        (PaymentFilter { status: Some(Status::Captured), ..none() }, "payment_2"),
        (PaymentFilter { status: Some(Status::Failed), ..none() }, "payment_2"),
        (PaymentFilter { provider_reference: "p-7".to_owned(), ..none() }, "payment_3"),
        (
            PaymentFilter {
                provider_reference: "p-7".to_owned(),
                status: Some(Status::Captured),
                ..none()
            },
            "payment_3",
        ),
        (PaymentFilter { trouble: Some(TroubleKind::Stuck), ..none() }, "payment_1"),
        (
            PaymentFilter {
                trouble: Some(TroubleKind::Uncertain),
                status: Some(Status::Captured),
                ..none()
            },
            "payment_1",
        ),
    ] {
        let page = PaymentPage { filter, limit: 100, ..PaymentPage::default() };
        let Statement { sql, values } = page.statement(&shop());
        let plan = plan(&pool, &sql, values).await;
        assert!(plan.contains(index), "{page:?} is not found by {index}:\n{plan}");
        // By their keys, Postgres fetches the rows of a small table in a scan.
        assert!(!plan.contains("Seq Scan on payment a"), "{page:?}:\n{plan}");
        assert!(!plan.lines().any(|line| ["SCAN p", "SCAN payment"].contains(&line)), "{plan}");
    }
}
