//! The rules given, when, then; the wire; the rows; the questions.

mod categories;
mod listings;

use std::collections::BTreeMap;

use engine::{Cause, Context, Decision, Queries, Recorded, Rules, Wire, WireError, documents};
use events::{
    answers::CommandAnswer,
    id::{Country, HsCode, ListingKey, Sku, TaxClass},
    money::{Currency, Money, TaxBasis},
    proto::{self, catalog},
    questions::Question,
};
use foldkit::{Projections, Random};
use prost::Message;
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};
use sqlx::{AnyPool, any::AnyPoolOptions};
use tempfile::TempDir;

use crate::{
    Catalog,
    domain::{
        Answer, Event, Input, Tables,
        products::{self, Detail, Fact, Outcome, Product, ProductResult, ProductRow, Wanted},
    },
    store::TABLES,
};

const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);

fn sku(sku: &str) -> Sku {
    Sku::parse(sku).expect("valid")
}

fn mug(name: &str, price: i64, active: bool) -> Product {
    let currency = Currency::parse("GBP").expect("valid");
    let price = Money { minor: price, currency };
    let tax_basis = TaxBasis::Included;
    Product {
        sku: sku(name),
        title: "Mug".into(),
        price,
        tax_basis,
        active,
        listing_key: None,
        tax_class: None,
        weight_g: None,
        country_of_origin: None,
        hs_code: None,
    }
}

fn created(product: Product) -> Event {
    Event::Product(products::Event { fact: Fact::Created, product, as_of: NOW })
}

fn updated(before: Product, product: Product) -> Event {
    Event::Product(products::Event { fact: Fact::Updated { before }, product, as_of: NOW })
}

fn archived(before: Product, product: Product) -> Event {
    Event::Product(products::Event { fact: Fact::Archived { before }, product, as_of: NOW })
}

fn want(product: &Product) -> Wanted {
    Wanted {
        product: product.clone(),
        cleared: Vec::new(),
        as_of: NOW,
        expected_version: None,
        is_noted: false,
    }
}

fn put(products: &[Product]) -> Input {
    Input::PutProducts(products.iter().map(want).collect())
}

fn results(decision: &Decision<Event, Answer>) -> Vec<ProductResult> {
    let Some(Answer::Products(outcomes)) = &decision.answer else { panic!("it is answered") };
    outcomes.iter().map(|outcome| outcome.result).collect()
}

fn recorded(tables: &Tables, event: Event) -> Recorded<Event> {
    Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: Shop::parse("acme").expect("valid"),
        version: Catalog::revision(tables, &event).version + 1,
        position: 1,
        actor: None,
        time: NOW,
        cause: Cause::default(),
        context: Context::default(),
        event,
    }
}

fn fold(tables: &mut Tables, event: Event) {
    let recorded = recorded(tables, event);
    Catalog::apply(tables, &recorded);
}

/// Given what happened, when products are put, then these facts follow and their sender is
/// answered these results; and when they are put again, nothing follows.
#[track_caller]
fn check(given: &[Event], when: &[Product], then: &[Event], answered: &[ProductResult]) {
    let mut tables = Tables::default();
    for event in given {
        fold(&mut tables, event.clone());
    }
    let decision = Catalog.decide(&tables, &put(when), NOW);
    assert_eq!((&*decision.events, &*results(&decision)), (then, answered));

    for event in decision.events {
        fold(&mut tables, event);
    }
    let last: BTreeMap<_, _> =
        when.iter().map(|product| (product.sku.clone(), product.clone())).collect();
    for (sku, product) in &last {
        assert_eq!(tables.products.get(sku).map(|row| &row.product), Some(product), "{sku}");
    }
    let again = put(&last.into_values().collect::<Vec<_>>());
    assert_eq!(Catalog.decide(&tables, &again, NOW).events, [], "put again");
}

#[test]
fn a_new_sku_is_created() {
    check(
        &[],
        &[mug("A", 300, true), mug("a", 400, false)],
        &[created(mug("A", 300, true)), created(mug("a", 400, false))],
        &[ProductResult::Created, ProductResult::Created],
    );
}

#[test]
fn another_price_or_title_updates() {
    let renamed = Product { title: "Large mug".into(), ..mug("B", 300, true) };
    check(
        &[created(mug("A", 300, true)), created(mug("B", 300, true))],
        &[mug("A", 350, true), renamed.clone()],
        &[updated(mug("A", 300, true), mug("A", 350, true)), updated(mug("B", 300, true), renamed)],
        &[ProductResult::Updated, ProductResult::Updated],
    );
}

#[test]
fn what_is_so_already_leads_to_no_event() {
    check(
        &[created(mug("A", 300, true))],
        &[mug("A", 300, true)],
        &[],
        &[ProductResult::Unchanged],
    );
}

#[test]
fn what_shall_no_longer_be_sold_is_archived_with_its_last_values() {
    check(
        &[created(mug("A", 300, true))],
        &[mug("A", 250, false)],
        &[archived(mug("A", 300, true), mug("A", 250, false))],
        &[ProductResult::Archived],
    );
}

#[test]
fn what_is_sold_again_is_updated() {
    check(
        &[created(mug("A", 300, true)), archived(mug("A", 300, true), mug("A", 300, false))],
        &[mug("A", 300, true)],
        &[updated(mug("A", 300, false), mug("A", 300, true))],
        &[ProductResult::Updated],
    );
}

#[test]
fn another_price_of_what_is_not_sold_does_not_sell_it_again() {
    check(
        &[created(mug("A", 300, false))],
        &[mug("A", 200, false)],
        &[updated(mug("A", 300, false), mug("A", 200, false))],
        &[ProductResult::Updated],
    );
}

#[test]
fn a_sku_twice_in_one_command_sees_what_came_before() {
    check(
        &[],
        &[mug("A", 300, true), mug("A", 300, true), mug("A", 300, false)],
        &[created(mug("A", 300, true)), archived(mug("A", 300, true), mug("A", 300, false))],
        &[ProductResult::Created, ProductResult::Unchanged, ProductResult::Archived],
    );
}

#[test]
fn versions_count_the_events_of_a_sku() {
    let mut tables = Tables::default();
    for price in [100, 200, 300] {
        let decision = Catalog.decide(&tables, &put(&[mug("A", price, true)]), NOW);
        for event in decision.events {
            fold(&mut tables, event);
        }
    }
    let row = tables.products.get(&sku("A")).expect("exists");
    assert_eq!(
        row,
        &ProductRow { product: mug("A", 300, true), revision: (3, 1).into(), as_of: NOW }
    );
}

#[test]
fn rows_read_back_from_their_documents_lead_to_the_same_decisions() {
    let mut random = Random::new(7);
    let mut projections = Projections::new(Catalog);
    let mut events = 0;
    for _ in 0..300 {
        let mut product = || {
            let name = random.one_of(&["A", "B", "a", "%\"\\'", "C-1"]);
            let title = random.one_of(&["Mug", "\"Mug\", \\ and é"]).to_owned();
            let price = random.one_of(&[0, -5, 300, i64::MAX]);
            Product { title, ..mug(name, price, random.below(3) > 0) }
        };
        let products = vec![product(), product()];
        events += projections.handle(&put(&products), NOW).len();
    }
    assert_eq!(projections.finish().len(), 5);
    assert!(events > 300, "only {events} events followed");
}

#[test]
fn every_event_survives_the_wire() {
    for event in [
        created(mug("A", 300, true)),
        created(mug("A", 300, false)),
        updated(mug("A", 200, true), mug("A", 300, true)),
        archived(mug("A", 300, true), mug("A", 300, false)),
    ] {
        assert_eq!(Catalog::decode(&Catalog::encode(&event).body).expect("decodes"), event);
    }
    let event = created(mug("A", 300, true));
    let encoded = Catalog::encode(&event);
    assert_eq!((encoded.name, encoded.occurred_at), ("created", Some(NOW)));
}

#[test]
fn an_update_names_the_fields_that_changed() {
    let before = mug("A", 300, false);
    let changed = |after: Product| {
        let encoded = Catalog::encode(&updated(before.clone(), after));
        match proto::EventFact::decode(&*encoded.body).expect("decodes").body {
            Some(proto::event::Body::Catalog(proto::catalog::CatalogEvent {
                kind: Some(proto::catalog::catalog_event::Kind::Updated(updated)),
            })) => updated.changed,
            other => panic!("{other:?} is no update"),
        }
    };
    assert_eq!(changed(Product { title: "Cup".into(), ..before.clone() }), ["title"]);
    let price = Product { tax_basis: TaxBasis::Excluded, ..before.clone() };
    assert_eq!(changed(price), ["price"]);
    assert_eq!(changed(mug("A", 200, true)), ["price", "active"]);
    let names = ["listing_key", "tax_class", "weight_g", "customs"];
    assert_eq!(changed(Product { active: before.active, ..detailed() }), names);
}

/// A mug with all that a product may have.
fn detailed() -> Product {
    Product {
        listing_key: Some(ListingKey::parse("mug").expect("valid")),
        tax_class: Some(TaxClass::parse("reduced").expect("valid")),
        weight_g: Some(350),
        country_of_origin: Some(Country::parse("DE").expect("valid")),
        hs_code: Some(HsCode::parse("691200").expect("valid")),
        ..mug("A", 300, true)
    }
}

#[test]
fn what_a_sender_does_not_say_stays_and_what_he_takes_away_goes() {
    let check = |wanted: Wanted, expected: &Product| {
        let mut tables = Tables::default();
        fold(&mut tables, created(detailed()));
        let decision = Catalog.decide(&tables, &Input::PutProducts(vec![wanted]), NOW);
        for event in decision.events {
            let decoded = Catalog::decode(&Catalog::encode(&event).body);
            assert_eq!(decoded.expect("reads"), event);
            fold(&mut tables, event);
        }
        assert_eq!(tables.products.get(&sku("A")).map(|row| &row.product), Some(expected));
    };
    // A line of a file that does not know these fields changes what it knows.
    let dearer = want(&mug("A", 400, true));
    check(dearer, &Product { price: mug("A", 400, true).price, ..detailed() });
    let lighter = Product { weight_g: Some(300), ..mug("A", 300, true) };
    check(want(&lighter), &Product { weight_g: Some(300), ..detailed() });
    let cleared = vec![Detail::TaxClass, Detail::HsCode];
    let expected = Product { tax_class: None, hs_code: None, ..detailed() };
    check(Wanted { cleared, ..want(&mug("A", 300, true)) }, &expected);
    check(want(&mug("A", 300, true)), &detailed());
}

#[test]
fn what_is_cleared_is_named() {
    let wanted = catalog::WantedProduct { cleared: vec!["title".into()], ..Default::default() };
    let products = vec![wanted];
    let put = proto::command::Body::PutProducts(proto::catalog::PutProducts {
        products,
        ..Default::default()
    });
    let error = command(put).expect_err("every product has a title").to_string();
    assert!(error.starts_with("cleared must name something"), "{error}");
}

fn command(body: proto::command::Body) -> Result<Input, WireError> {
    let time = Some(NOW.into());
    let command = proto::Command { time, body: Some(body), ..Default::default() };
    Catalog::command(&command.encode_to_vec())
}

fn put_one(product: proto::catalog::Product) -> Result<Input, WireError> {
    let wanted = catalog::WantedProduct { product: Some(product), ..Default::default() };
    let products = vec![wanted];
    command(proto::command::Body::PutProducts(proto::catalog::PutProducts {
        products,
        ..Default::default()
    }))
}

#[test]
fn a_product_without_a_price_is_refused_by_name() {
    let product = proto::catalog::Product { sku: "A".into(), ..Default::default() };
    let error = put_one(product).expect_err("has no price");
    assert_eq!(error.to_string(), "price is missing");
}

#[test]
fn a_title_that_no_database_takes_is_refused_by_name() {
    let product = proto::catalog::Product { title: "Mug\0".into(), ..Default::default() };
    let error = put_one(product).expect_err("has a NUL");
    assert_eq!(error.to_string(), r#"title must have no control characters, got "Mug\0""#);
}

#[test]
fn a_message_for_another_service_is_refused_by_name() {
    let body = proto::command::Body::CancelOrder(proto::order::CancelOrder::default());
    let error = command(body).expect_err("is for the order service").to_string();
    assert_eq!(error, "cancel_order is not handled by this version of the service");

    let kind = proto::order::order_event::Kind::Paid(proto::order::Paid::default());
    let body =
        proto::event::Body::Order(proto::order::OrderEvent { summary: None, kind: Some(kind) });
    let event = proto::Event { body: Some(body), ..Default::default() }.encode_to_vec();
    assert!(matches!(Catalog::foreign(&event), Err(WireError::Unexpected(_))));
    assert!(matches!(Catalog::decode(&event), Err(WireError::Unexpected(_))));
}

/// A database with these rows, gone when the folder is dropped.
async fn database(rows: &[(&str, ProductRow)]) -> (AnyPool, TempDir) {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().expect("a private folder");
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("catalog.db").display());
    let pool = AnyPoolOptions::new().max_connections(1).connect(&url).await.expect("opens");
    let mut db = pool.acquire().await.expect("connects");
    documents::create_tables(&mut db, TABLES).await.expect("creates the tables");
    for shop in ["acme", "other"] {
        let of_shop = rows.iter().filter(|(of, _)| *of == shop);
        let of_shop = of_shop.map(|(_, row)| (row.product.sku.to_string(), row.clone()));
        let shop = Shop::parse(shop).expect("valid");
        documents::put(&mut db, &shop, of_shop).await.expect("writes");
    }
    drop(db);
    (pool, folder)
}

/// Asks by way of the wire, as the gateway does.
async fn ask<Q: Question>(db: &AnyPool, question: Q) -> Option<Q::Answer> {
    let question = Catalog::question(&question.encode()).expect("is a question");
    let found = Catalog.query(db, &Shop::parse("acme").expect("valid"), question).await;
    let found = found.expect("answers");
    found.map(|found| Q::Answer::decode(&*Catalog::encode_found(found)).expect("reads"))
}

#[tokio::test]
async fn questions_are_answered_from_the_shops_own_rows() {
    let row = |product, version| ProductRow { product, revision: (version, 1).into(), as_of: NOW };
    let (db, _folder) = database(&[
        ("acme", row(mug("A", 300, true), 1)),
        ("acme", row(mug("B", 500, false), 2)),
        ("acme", row(mug("C", 700, true), 1)),
        ("other", row(mug("D", 1, true), 1)),
    ])
    .await;

    let product = |sku: &str| catalog::GetProduct { sku: sku.to_owned() };
    let mug = catalog::Product {
        sku: "A".to_owned(),
        title: "Mug".to_owned(),
        price: Some(TaxBasis::Included.price(300, Currency::parse("GBP").expect("valid"))),
        active: true,
        ..Default::default()
    };
    let stored = catalog::StoredProduct { product: Some(mug), version: 1 };
    assert_eq!(ask(&db, product("A")).await, Some(stored));
    assert_eq!(ask(&db, product("D")).await, None);

    let skus = async |after: &str, limit| {
        let list = catalog::ListProducts { after: after.to_owned(), limit, parts: vec![] };
        let page = ask(&db, list).await.expect("a list");
        let products = page.products.into_iter().filter_map(|stored| stored.product);
        products.map(|product| product.sku).collect::<Vec<_>>()
    };
    assert_eq!(skus("", 0).await, ["A", "B", "C"]);
    assert_eq!(skus("A", 1).await, ["B"]);
    assert_eq!(skus("C", 100).await, Vec::<String>::new());
}

#[tokio::test]
async fn products_are_found_by_parts_of_title_and_sku() {
    let row = |sku, title: &str| {
        let product = Product { title: title.to_owned(), ..mug(sku, 300, true) };
        ("acme", ProductRow { product, revision: (1, 1).into(), as_of: NOW })
    };
    let (db, _folder) = database(&[
        row("A-1", "Blue mug"),
        row("A-2", "Blaue Tasse, groß"),
        row("B-1", "MUG of ÄPFEL, 100% full"),
        row("B_2", "Plate"),
    ])
    .await;
    let found = async |search: &str, after: &str, limit| {
        let parts = search.split(' ').map(str::to_owned).collect();
        let list = catalog::ListProducts { after: after.to_owned(), limit, parts };
        let page = ask(&db, list).await.expect("a list");
        let products = page.products.into_iter().filter_map(|stored| stored.product);
        (products.map(|product| product.sku).collect::<Vec<_>>().join(" "), page.next)
    };
    let all = |skus: &str| (skus.to_owned(), String::new());
    assert_eq!(found("mug", "", 0).await, all("A-1 B-1"));
    assert_eq!(found("mug a-", "", 0).await, all("A-1"));
    assert_eq!(found("äpf", "", 0).await, all("B-1"));
    assert_eq!(found("GROSS", "", 0).await, all(""), "letters are compared, not words");
    assert_eq!(found("0%", "", 0).await, all("B-1"));
    assert_eq!(found("%", "", 0).await, all("B-1"), "a wildcard stands for itself");
    assert_eq!(found("b_", "", 0).await, all("B_2"));
    assert_eq!(found("\\", "", 0).await, all(""));
    assert_eq!(found("u", "", 1).await, ("A-1".to_owned(), "A-1".to_owned()));
    assert_eq!(found("u", "A-1", 1).await, ("A-2".to_owned(), "A-2".to_owned()));
    assert_eq!(found("u", "A-2", 2).await, all("B-1"));
}

#[tokio::test]
async fn a_search_that_has_looked_at_enough_says_from_where_it_goes_on() {
    let products = (0..10_001).map(|number| {
        let product = mug(&format!("P-{number:05}"), 300, true);
        ("acme", ProductRow { product, revision: (1, 1).into(), as_of: NOW })
    });
    let (db, _folder) = database(&products.collect::<Vec<_>>()).await;
    let search = async |text: &str, after: &str| {
        let (after, parts) = (after.to_owned(), vec![text.to_owned()]);
        let page = ask(&db, catalog::ListProducts { after, limit: 10, parts }).await;
        let page = page.expect("a list");
        (page.products.len(), page.next)
    };
    assert_eq!(search("10000", "").await, (0, "P-09999".to_owned()));
    assert_eq!(search("10000", "P-09999").await, (1, String::new()));
    assert_eq!(search("none", "P-00000").await, (0, "P-10000".to_owned()));
    assert_eq!(search("none", "P-10000").await, (0, String::new()));
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = catalog::CatalogQuestion::default().encode_to_vec();
    assert!(matches!(Catalog::question(&nothing), Err(WireError::Missing("question"))));
    let wrong = catalog::GetProduct { sku: String::new() }.encode();
    assert!(matches!(Catalog::question(&wrong), Err(WireError::Parse(_))));
}

#[test]
fn every_answer_is_a_message_of_the_contract() {
    let results = [
        (ProductResult::Created, catalog::ProductResult::Created),
        (ProductResult::Updated, catalog::ProductResult::Updated),
        (ProductResult::Archived, catalog::ProductResult::Archived),
        (ProductResult::Unchanged, catalog::ProductResult::Unchanged),
        (ProductResult::Stale, catalog::ProductResult::Stale),
        (ProductResult::VersionMismatch, catalog::ProductResult::VersionMismatch),
    ];
    let outcomes = results.iter().map(|(result, _)| Outcome { result: *result, version: 7 });
    let answer = Answer::Products(outcomes.collect());
    let body = proto::AnswerBody::decode(&*Catalog::encode_answer(&answer)).expect("reads");
    let answer = catalog::PutProductsAnswer::take(body.answer.expect("is there"));
    let expected = results
        .map(|(_, wire)| catalog::ProductOutcome { result: wire.into(), version: 7 })
        .to_vec();
    assert_eq!(answer.expect("is of products").outcomes, expected);
}

const EARLIER: Timestamp = Timestamp::from_millis(1_299_999_999_999);
const LATER: Timestamp = Timestamp::from_millis(1_300_086_400_000);

/// Given a mug for 300 that was put as of now, when another is wanted, then this comes of it.
#[track_caller]
fn check_one(wanted: Wanted, expected: ProductResult, price: i64) {
    let mut tables = Tables::default();
    fold(&mut tables, created(mug("A", 300, true)));
    let decision = Catalog.decide(&tables, &Input::PutProducts(vec![wanted]), NOW);
    assert_eq!(results(&decision), [expected]);
    for event in decision.events {
        fold(&mut tables, event);
    }
    let row = tables.products.get(&sku("A")).expect("it is there");
    assert_eq!((row.product.price.minor, row.as_of), (price, NOW));
}

#[test]
fn an_import_of_what_was_so_before_undoes_nothing() {
    let import = Wanted { as_of: EARLIER, ..want(&mug("A", 250, true)) };
    check_one(import, ProductResult::Stale, 300);
    let same = Wanted { as_of: EARLIER, ..want(&mug("A", 300, true)) };
    check_one(same, ProductResult::Unchanged, 300);
}

#[test]
fn a_product_that_is_put_by_itself_as_it_is_counts_as_of_then() {
    let at = |millis| Timestamp::from_millis(NOW.millis() + millis);
    let now = at(10);
    let noted = |as_of| Wanted { as_of, is_noted: true, ..want(&mug("A", 300, true)) };
    let mut tables = Tables::default();
    fold(&mut tables, created(mug("A", 300, true)));
    // Not when it says nothing newer.
    assert_eq!(Catalog.decide(&tables, &Input::PutProducts(vec![noted(NOW)]), now).events, []);
    let decision = Catalog.decide(&tables, &Input::PutProducts(vec![noted(at(5))]), now);
    let (product, before) = (mug("A", 300, true), mug("A", 300, true));
    let fact = Fact::Updated { before };
    let event = Event::Product(products::Event { fact, product, as_of: at(5) });
    assert_eq!(decision.events, std::slice::from_ref(&event));
    let outcome = Outcome { result: ProductResult::Unchanged, version: 2 };
    let answer = Some(Answer::Products(vec![outcome]));
    assert_eq!(decision.answer, answer);
    assert_eq!(Catalog::implied_answer(&recorded(&tables, event.clone())), answer);
    fold(&mut tables, event);
    let older = Wanted { as_of: at(4), ..want(&mug("A", 250, true)) };
    let decision = Catalog.decide(&tables, &Input::PutProducts(vec![older]), now);
    assert_eq!((&*decision.events, &*results(&decision)), (&[][..], &[ProductResult::Stale][..]));
}

#[test]
fn who_knows_the_version_may_change_it_and_nobody_else() {
    let knowing = |expected_version| Wanted {
        as_of: EARLIER,
        expected_version: Some(expected_version),
        ..want(&mug("A", 250, true))
    };
    check_one(knowing(1), ProductResult::Updated, 250);
    check_one(knowing(0), ProductResult::VersionMismatch, 300);
    check_one(knowing(2), ProductResult::VersionMismatch, 300);
}

#[test]
fn a_change_that_comes_again_with_the_version_before_it_is_there_already() {
    let again = |expected_version, price| Wanted {
        expected_version: Some(expected_version),
        ..want(&mug("A", price, true))
    };
    check_one(again(0, 300), ProductResult::Unchanged, 300);
    check_one(again(0, 250), ProductResult::VersionMismatch, 300);
    check_one(again(2, 300), ProductResult::VersionMismatch, 300);
}

#[test]
fn a_clock_that_is_ahead_makes_nothing_later_stale() {
    let ahead = Wanted { as_of: LATER, ..want(&mug("A", 250, true)) };
    check_one(ahead, ProductResult::Updated, 250);
}

#[test]
fn a_product_is_as_of_the_time_that_its_sender_names() {
    // A file of products is sent line by line: its last lines may be newer than its first byte.
    for as_of in [EARLIER, LATER] {
        let currency = Currency::parse("GBP").expect("valid");
        let price = Some(TaxBasis::Included.price(1, currency));
        let product = catalog::Product { sku: "A".into(), price, ..Default::default() };
        let (product, said) = (Some(product), Some(as_of.into()));
        let wanted = catalog::WantedProduct { product, as_of: said, ..Default::default() };
        let products = vec![wanted];
        let put = proto::catalog::PutProducts { products, ..Default::default() };
        let put = proto::command::Body::PutProducts(put);
        let Ok(Input::PutProducts(wanted)) = command(put) else { panic!("it is one") };
        assert_eq!(wanted[0].as_of, as_of);
    }
}
