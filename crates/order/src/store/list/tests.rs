//! Lists on real databases: what they find, in which order, and by which index.

use std::collections::BTreeSet;

use engine::{Rules as _, documents};
use events::id::Location;
use foldkit::Random;
use testkit::{Db, on_both_databases, plan};

use super::*;
use crate::{
    Orders,
    domain::{
        Hold, Statuses,
        rows::{self, OrderSku, OrderSkuKey},
        tests::{ANN, History, NOW, recorded},
    },
    store,
};

on_both_databases!(
    a_list_is_what_matches_in_order_page_by_page,
    paging_while_orders_change_misses_none_and_shows_none_twice,
    a_list_is_read_by_an_index,
    an_order_is_found_by_its_number_or_its_reference_or_a_part_of_that,
    a_search_for_a_part_ends_after_the_orders_that_a_page_looks_at,
);

/// How many orders there are whose plans are looked at.
const MANY: u64 = 4_000;
const CUSTOMERS: [&str; 3] = ["C-1", "C-2", "C-3"];
const SKUS: [&str; 4] = ["A", "B", "C", "D/1"];

/// An order with all that it can be looked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listable {
    place: OrderPlace,
    statuses: Statuses,
    customer_id: Option<CustomerId>,
    reference: Option<Reference>,
    skus: Vec<Sku>,
    on_hold: bool,
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn customer(text: &str) -> CustomerId {
    CustomerId::parse(text).unwrap()
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn time(second: u64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + second as i64 * 1_000)
}

impl Listable {
    fn random(random: &mut Random, number: u64) -> Self {
        // Several orders are of the same time, and the clock sometimes goes back.
        let second = (number / 3 + 5).saturating_sub(random.below(3));
        let customers = [None, Some(CUSTOMERS[0]), Some(CUSTOMERS[1]), Some(CUSTOMERS[2])];
        let is_referenced = random.below(3) > 0;
        Self {
            place: OrderPlace { placed_at: time(second), number },
            statuses: statuses(random),
            customer_id: random.one_of(&customers).map(customer),
            reference: is_referenced.then(|| reference(&format!("R-{}", number / 2))),
            skus: SKUS.into_iter().filter(|_| random.below(3) == 0).map(sku).collect(),
            on_hold: random.below(6) == 0,
        }
    }

    fn id(&self) -> OrderId {
        OrderId(uuid::Uuid::from_u128(u128::from(self.place.number) * 7_919))
    }

    /// Whether the text is its number or its reference.
    fn is_named(&self, text: &Reference) -> bool {
        self.reference.as_ref() == Some(text) || self.place.number.to_string() == text.as_str()
    }

    fn matches(&self, filter: &OrderFilter) -> bool {
        let Statuses(status, payment_status, fulfilment_status) = self.statuses;
        let holds = |text: &Reference| {
            let reference = self.reference.as_ref().map_or("", Reference::as_str);
            reference.contains(text.as_str()) || self.is_named(text)
        };
        filter.status.is_none_or(|it| it == status)
            && filter.payment_status.is_none_or(|it| it == payment_status)
            && filter.fulfilment_status.is_none_or(|it| it == fulfilment_status)
            && (filter.customer_id.is_none() || filter.customer_id == self.customer_id)
            && (filter.reference.is_none() || filter.reference == self.reference)
            && filter.sku.as_ref().is_none_or(|sku| self.skus.contains(sku))
            && filter.text.as_ref().is_none_or(holds)
            && (self.on_hold || !filter.on_hold)
            && filter.placed_from.is_none_or(|from| self.place.placed_at >= from)
            && filter.placed_until.is_none_or(|until| self.place.placed_at < until)
    }
}

fn statuses(random: &mut Random) -> Statuses {
    Statuses(
        random.one_of(&OrderStatus::ALL),
        random.one_of(&PaymentStatus::ALL),
        random.one_of(&FulfilmentStatus::ALL),
    )
}

fn random_page(random: &mut Random, orders: u64) -> OrderPage {
    fn sometimes<T: Copy>(random: &mut Random, all: &[T]) -> Option<T> {
        (random.below(4) == 0).then(|| random.one_of(all))
    }
    let second =
        |random: &mut Random| (random.below(3) == 0).then(|| time(random.below(orders / 3)));
    let number = random.below(orders);
    let texts = [format!("R-{}", number / 2), number.to_string(), "R-1".to_owned()]
        .map(|it| reference(&it));
    let is_searched = random.below(8) == 0;
    let filter = OrderFilter {
        status: sometimes(random, &OrderStatus::ALL),
        payment_status: sometimes(random, &PaymentStatus::ALL),
        fulfilment_status: sometimes(random, &FulfilmentStatus::ALL),
        customer_id: sometimes(random, &CUSTOMERS).map(customer),
        sku: sometimes(random, &SKUS).map(sku),
        reference: (random.below(10) == 0).then(|| texts[0].clone()),
        text: is_searched.then(|| texts[(number % 3) as usize].clone()),
        on_hold: random.below(5) == 0,
        placed_from: second(random),
        placed_until: second(random),
    };
    let limit = 1 + random.below(9) as u32;
    let oldest_first = random.below(2) == 0;
    OrderPage { filter, oldest_first, from: PageStart::default(), limit }
}

/// A database with the tables of the service, gone with what it is in.
struct Database {
    pool: AnyPool,
    shop: Shop,
    _db: Db,
}

impl Database {
    async fn open(db: Db) -> Self {
        let pool = db.with_tables(store::TABLES).await;
        Self { pool, shop: Shop::parse("acme").unwrap(), _db: db }
    }

    /// Writes the rows of orders, as events about them would leave them.
    async fn put(&self, orders: &[Listable]) {
        let mut state = rows::Shop::default();
        for event in History::placed(ANN).events {
            Orders::apply(&mut state, &recorded(event, 1));
        }
        let (order, content) = (state.orders.get(&ANN).unwrap(), state.contents.get(&ANN).unwrap());
        let hold = Hold { sku: sku("A"), location: Location::main() };
        let (mut rows, mut contents, mut skus) = (vec![], vec![], vec![]);
        for it in orders {
            let (key, OrderPlace { placed_at, number }) = (it.id().to_string(), it.place);
            let order = Order {
                statuses: it.statuses,
                hold: it.on_hold.then(|| hold.clone()),
                placed_at,
                number,
                ..order.clone()
            };
            rows.push((key.clone(), order));
            let (customer_id, reference) = (it.customer_id.clone(), it.reference.clone());
            let content =
                OrderContent { number, placed_at, reference, customer_id, ..content.clone() };
            contents.push((key, content));
            for sku in it.skus.iter().cloned() {
                let key = OrderSkuKey { number, sku: sku.clone() }.to_string();
                skus.push((key, OrderSku { sku, placed_at, number }));
            }
        }
        let mut tx = self.pool.begin().await.unwrap();
        documents::put(&mut tx, &self.shop, rows).await.unwrap();
        documents::put(&mut tx, &self.shop, contents).await.unwrap();
        documents::put(&mut tx, &self.shop, skus).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A page, and the one that follows it.
    async fn page(&self, page: OrderPage) -> (Vec<ListedOrder>, Option<OrderPage>) {
        let OrderList { orders, next } = list(&self.pool, &self.shop, &page).await.unwrap();
        assert!(orders.len() <= page.limit as usize);
        (orders, next.map(|from| OrderPage { from, ..page }))
    }

    /// The numbers of the orders of a page and of all that follow it, page by page.
    async fn pages(&self, page: OrderPage) -> Vec<Vec<u64>> {
        let (mut next, mut pages) = (Some(page), Vec::new());
        while let Some(page) = next.take() {
            let (found, following) = self.page(page).await;
            pages.push(found.iter().map(|it| it.order.number).collect());
            next = following;
        }
        pages
    }
}

async fn a_list_is_what_matches_in_order_page_by_page(db: Db) {
    let database = Database::open(db).await;
    let mut random = Random::new(1);
    let orders: Vec<_> = (1..=300).map(|number| Listable::random(&mut random, number)).collect();
    database.put(&orders).await;
    let (all, other) = (OrderPage { limit: 5, ..OrderPage::default() }, Shop::parse("b").unwrap());
    assert_eq!(list(&database.pool, &other, &all).await.unwrap(), OrderList::default());
    let mut found_some = 0;
    for _ in 0..200 {
        let mut next = Some(random_page(&mut random, 300));
        let OrderPage { filter, oldest_first, .. } = next.clone().unwrap();
        let mut expected: Vec<_> = orders.iter().filter(|it| it.matches(&filter)).collect();
        expected.sort_by_key(|it| it.place);
        if !oldest_first {
            expected.reverse();
        }
        // What the text names in full comes first.
        expected.sort_by_key(|it| !filter.text.as_ref().is_none_or(|text| it.is_named(text)));
        let mut found = Vec::new();
        while let Some(page) = next.take() {
            let (orders, following) = database.page(page).await;
            found.extend(orders);
            next = following;
        }
        found_some += usize::from(!found.is_empty());
        let found: Vec<_> = found
            .into_iter()
            .map(|it| (it.id, it.order.number, it.order.statuses, it.customer_id, it.reference))
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .cloned()
            .map(|it| (it.id(), it.place.number, it.statuses, it.customer_id, it.reference))
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    assert!(found_some > 50, "{found_some}");
}

async fn paging_while_orders_change_misses_none_and_shows_none_twice(db: Db) {
    let database = Database::open(db).await;
    let mut random = Random::new(2);
    let mut orders: Vec<_> = (1..=200).map(|it| Listable::random(&mut random, it)).collect();
    database.put(&orders).await;
    for round in 0..15 {
        let page = OrderPage { limit: 3, ..random_page(&mut random, 200) };
        let filter = page.filter.clone();
        let mut all_the_time: Vec<_> = orders.clone();
        all_the_time.retain(|it| it.matches(&filter));
        let (mut next, mut seen) = (Some(page), Vec::new());
        while let Some(page) = next.take() {
            let (found, following) = database.page(page).await;
            seen.extend(found.iter().map(|it| it.order.number));
            next = following;
            // An order is placed, and some get other statuses or are put on hold.
            let number = orders.len() as u64 + 1;
            orders.push(Listable::random(&mut random, number));
            let mut changed = BTreeSet::from([number as usize - 1]);
            for _ in 0..5 {
                let index = random.below(number) as usize;
                orders[index].statuses = statuses(&mut random);
                orders[index].on_hold = !orders[index].on_hold;
                changed.insert(index);
            }
            let changed: Vec<_> = changed.into_iter().map(|it| orders[it].clone()).collect();
            database.put(&changed).await;
            let is_still = |it: &Listable| orders[it.place.number as usize - 1].matches(&filter);
            all_the_time.retain(is_still);
        }
        for it in &all_the_time {
            assert!(seen.contains(&it.place.number), "{round}: {it:?} is missing in {filter:?}");
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{round}: one is shown twice in {filter:?}");
    }
}

async fn an_order_is_found_by_its_number_or_its_reference_or_a_part_of_that(db: Db) {
    let database = Database::open(db).await;
    let mut random = Random::new(3);
    let of = |text: &str| reference(text);
    let named = |text: &str| OrderPage {
        filter: OrderFilter { text: Some(of(text)), ..OrderFilter::default() },
        limit: 10,
        ..OrderPage::default()
    };
    let mut orders: Vec<_> = (1..=3).map(|it| Listable::random(&mut random, it)).collect();
    for (order, text) in orders.iter_mut().zip(["3", "PO 1_É%", "PO 1_É%"]) {
        order.reference = Some(of(text));
        order.place.placed_at = time(order.place.number);
    }
    database.put(&orders).await;
    // Those that it names in full, and then those whose reference holds it.
    for (text, in_full, by_part) in [
        ("3", vec![3, 1], vec![]),
        ("1", vec![1], vec![3, 2]),
        ("2", vec![2], vec![]),
        ("PO 1_É%", vec![3, 2], vec![]),
        ("po", vec![], vec![3, 2]),
        ("_é", vec![], vec![3, 2]),
        ("%", vec![], vec![3, 2]),
        ("O_1", vec![], vec![]),
        ("02", vec![], vec![]),
        ("+2", vec![], vec![]),
        ("' or 1 = 1 --", vec![], vec![]),
        ("99999999999999999999", vec![], vec![]),
    ] {
        assert_eq!(database.pages(named(text)).await, [[in_full, by_part].concat()], "{text}");
    }
}

async fn a_search_for_a_part_ends_after_the_orders_that_a_page_looks_at(db: Db) {
    let database = Database::open(db).await;
    let mut random = Random::new(5);
    let last = MAX_SEARCHED as u64 + 2;
    let mut orders: Vec<_> = (1..=last).map(|it| Listable::random(&mut random, it)).collect();
    for order in &mut orders {
        let is_searched_for = [1, 2, 3].contains(&order.place.number);
        order.reference = Some(reference(if is_searched_for { "web-1" } else { "till" }));
        order.place.placed_at = time(order.place.number);
    }
    for orders in orders.chunks(1_000) {
        database.put(orders).await;
    }
    let text = Some(reference("WEB"));
    let filter = OrderFilter { text, ..OrderFilter::default() };
    let page = OrderPage { filter, limit: 10, ..OrderPage::default() };
    assert_eq!(database.pages(page.clone()).await, [vec![3], vec![2, 1]]);
    let page = OrderPage { limit: 1, oldest_first: true, ..page };
    let found = database.pages(page).await;
    assert_eq!(found, [vec![1], vec![2], vec![3], vec![]]);
}

async fn a_list_is_read_by_an_index(db: Db) {
    let database = Database::open(db).await;
    let mut random = Random::new(4);
    let mut orders: Vec<_> = (1..=MANY).map(|it| Listable::random(&mut random, it)).collect();
    for order in &mut orders {
        // As they are in a shop: most are completed, few are under way, and few customers order often.
        let number = order.place.number;
        order.customer_id = Some(customer(&format!("C-{}", number % 500)));
        order.skus = vec![sku(&format!("S-{}", number % 300)), sku(&format!("T-{}", number % 200))];
        order.on_hold = number.is_multiple_of(400);
        if number % 20 > 0 {
            order.statuses =
                Statuses(OrderStatus::Completed, PaymentStatus::Paid, FulfilmentStatus::Fulfilled);
        }
    }
    database.put(&orders).await;
    let none = OrderFilter::default;
    for (filter, index) in [
        (none(), "order_content_0"),
        (
            OrderFilter { placed_from: Some(time(9)), placed_until: Some(time(90)), ..none() },
            "order_content_0",
        ),
        (OrderFilter { customer_id: Some(customer("C-7")), ..none() }, "order_content_2"),
        (OrderFilter { reference: Some(reference("R-7")), ..none() }, "order_content_3"),
        (OrderFilter { sku: Some(sku("S-7")), ..none() }, "order_sku_0"),
        (OrderFilter { status: Some(OrderStatus::Placed), ..none() }, "orders_2"),
        (OrderFilter { status: Some(OrderStatus::Completed), ..none() }, "orders_2"),
        (OrderFilter { payment_status: Some(PaymentStatus::Failed), ..none() }, "orders_2"),
        (OrderFilter { fulfilment_status: Some(FulfilmentStatus::Partial), ..none() }, "orders_2"),
        (OrderFilter { on_hold: true, ..none() }, "orders_3"),
        (OrderFilter { text: Some(reference("70")), ..none() }, "order_content_1"),
    ] {
        for oldest_first in [false, true] {
            let from = PageStart::default();
            let page = OrderPage { filter: filter.clone(), oldest_first, from, limit: 100 };
            let Statement { sql, values } = page.statement(&database.shop);
            let plan = plan(&database.pool, &sql, values).await;
            let of_index = plan.lines().any(|line| {
                line.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
                    .any(|word| word == index)
            });
            assert!(of_index, "{filter:?} is not found by {index}:\n{plan}");
            // What a statement made first may be scanned; no table is.
            for table in ["orders", "order_content", "order_sku"] {
                assert!(!plan.contains(&format!("Seq Scan on {table}")), "{filter:?}:\n{plan}");
            }
            for table in ["c", "o", "orders", "order_content", "order_sku"] {
                let scan = format!("SCAN {table}");
                assert!(!plan.lines().any(|line| line == scan), "{filter:?}:\n{plan}");
            }
        }
    }
}
