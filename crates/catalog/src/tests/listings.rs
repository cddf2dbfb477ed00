//! Listings: given, when, then.

use engine::{Rules, Wire};
use events::{
    id::{Language, ListingKey},
    listings::AttributeNumber,
    proto::catalog::catalog_event::Kind,
};
use foldkit::{Projections, Random};
use prost::Message;

use super::{
    NOW,
    categories::{self as category_tests, tables},
    created, fold, mug, sku,
};
use crate::{
    Catalog,
    domain::{
        Answer, Event, Input,
        categories::{self, CategoryResult, Delete},
        listings::{
            self, Archive, Attribute, AttributeValue, Fact, Listing, ListingResult, Media, Outcome,
            Put, Refusal, Translation, Variant,
        },
        products::Product,
    },
};

fn key() -> ListingKey {
    ListingKey::parse("mug").expect("valid")
}

/// A product that names the listing.
fn variant(name: &str) -> Event {
    created(Product { listing_key: Some(key()), ..mug(name, 300, true) })
}

fn listing() -> Listing {
    let variant = |name: &str| Variant {
        sku: sku(name),
        options: vec![("size".to_owned(), name.to_owned())],
    };
    let attribute = |name: &str, value| Attribute { name: name.to_owned(), value };
    Listing {
        key: key(),
        variants: vec![variant("S"), variant("L")],
        title: "A mug".to_owned(),
        text: Some("Of clay.\nFired twice.".to_owned()),
        media: vec![Media { url: "https://a.example/m.jpg".to_owned(), alternative_text: None }],
        attributes: vec![
            attribute("material", AttributeValue::Text("clay".to_owned())),
            attribute(
                "volume",
                AttributeValue::Number(AttributeNumber::parse(0.35).expect("valid")),
            ),
            attribute("dishwasher", AttributeValue::Boolean(false)),
            attribute("uses", AttributeValue::Texts(vec!["tea".to_owned()])),
        ],
        category_keys: vec![category_tests::key("mugs")],
        translations: vec![Translation {
            language: Language::parse("de").expect("valid"),
            title: "Eine Tasse".to_owned(),
            text: None,
        }],
    }
}

fn given() -> Vec<Event> {
    vec![
        variant("S"),
        variant("L"),
        category_tests::created("mugs"),
        category_tests::created("gifts"),
    ]
}

fn event(fact: Fact, listing: Listing) -> Event {
    Event::Listing(Box::new(listings::Event { fact, listing }))
}

fn put(listing: Listing) -> Input {
    Input::PutListing(Box::new(Put { listing, expected_version: None }))
}

fn archive() -> Input {
    Input::ArchiveListing(Archive { key: key(), expected_version: None })
}

/// Given what happened beside products and categories, when that is asked, then this fact follows, it survives the wire, and
/// the sender is answered this.
#[track_caller]
fn check(given: &[Event], when: &Input, then: Option<Event>, result: ListingResult, version: u64) {
    let mut tables = tables(given);
    let decision = Catalog.decide(&tables, when, NOW);
    let Some(Answer::PutListing(outcome) | Answer::ArchiveListing(outcome)) = decision.answer
    else {
        panic!("it is answered")
    };
    assert_eq!(
        (decision.events, outcome),
        (then.iter().cloned().collect(), Outcome { result, version })
    );
    if let Some(event) = then {
        assert_eq!(Catalog::decode(&Catalog::encode(&event).body).expect("reads"), event);
        fold(&mut tables, event);
        assert_eq!(Catalog.decide(&tables, when, NOW).events, [], "sent again");
    }
}

#[test]
fn a_listing_is_created_updated_and_archived_and_shown_again() {
    let mut history = given();
    let first = event(Fact::Created, listing());
    check(&history, &put(listing()), Some(first.clone()), ListingResult::Created, 1);
    history.push(first);
    let renamed = Listing { title: "A large mug".to_owned(), ..listing() };
    let fact = Fact::Updated { before: listing(), was_archived: false };
    let second = event(fact, renamed.clone());
    check(&history, &put(renamed.clone()), Some(second.clone()), ListingResult::Updated, 2);
    history.push(second);
    let third = event(Fact::Archived, renamed.clone());
    check(&history, &archive(), Some(third.clone()), ListingResult::Archived, 3);
    history.push(third);
    check(&history, &archive(), None, ListingResult::Unchanged, 3);
    let fact = Fact::Updated { before: renamed.clone(), was_archived: true };
    let fourth = event(fact, renamed.clone());
    check(&history, &put(renamed), Some(fourth), ListingResult::Updated, 4);
    check(&given(), &archive(), None, ListingResult::Unknown, 0);
}

#[test]
fn a_listing_names_what_the_shop_has() {
    let refused = |given: &[Event], refusal| {
        check(given, &put(listing()), None, ListingResult::Refused(refusal), 0);
    };
    let [small, large, mugs, gifts] = given().try_into().expect("four");
    let unknown =
        Refusal { unknown_categories: vec![0], unknown_skus: vec![0, 1], ..Refusal::default() };
    refused(&[], unknown);
    let other = created(mug("L", 300, true));
    let of_other = Refusal { skus_of_others: vec![1], ..Refusal::default() };
    refused(&[small.clone(), other, mugs.clone(), gifts], of_other);
    let deleted =
        category_tests::event(crate::domain::categories::Fact::Deleted, category_tests::at("mugs"));
    let gone = Refusal { unknown_categories: vec![0], ..Refusal::default() };
    refused(&[small, large, mugs, deleted], gone);
}

#[test]
fn a_category_with_a_listing_that_is_shown_is_not_deleted() {
    let result = |given: &[Event], name: &str| {
        let delete = Delete { key: category_tests::key(name), expected_version: None };
        let decision = Catalog.decide(&tables(given), &Input::DeleteCategory(delete), NOW);
        let Some(Answer::DeleteCategory(outcome)) = decision.answer else { panic!("is answered") };
        outcome.result
    };
    let mut history = given();
    history.push(event(Fact::Created, listing()));
    assert_eq!(result(&history, "mugs"), CategoryResult::HasListings);
    assert_eq!(result(&history, "gifts"), CategoryResult::Deleted);
    let elsewhere = Listing { category_keys: vec![category_tests::key("gifts")], ..listing() };
    let fact = Fact::Updated { before: listing(), was_archived: false };
    history.push(event(fact, elsewhere.clone()));
    assert_eq!(result(&history, "mugs"), CategoryResult::Deleted);
    assert_eq!(result(&history, "gifts"), CategoryResult::HasListings);
    history.push(event(Fact::Archived, elsewhere.clone()));
    assert_eq!(result(&history, "gifts"), CategoryResult::Deleted);
    let fact = Fact::Updated { before: elsewhere.clone(), was_archived: true };
    history.push(event(fact, elsewhere));
    assert_eq!(result(&history, "gifts"), CategoryResult::HasListings);
}

#[test]
fn an_update_of_a_listing_names_the_fields_that_changed() {
    let changed = |after: Listing, was_archived| {
        let fact = Fact::Updated { before: listing(), was_archived };
        let encoded = Catalog::encode(&event(fact, after));
        let decoded = events::proto::EventFact::decode(&*encoded.body).expect("reads");
        let Some(events::proto::event::Body::Catalog(body)) = decoded.body else {
            panic!("is of the catalogue")
        };
        let Some(Kind::ListingUpdated(updated)) = body.kind else { panic!("is an update") };
        updated.changed
    };
    let all = Listing {
        variants: vec![],
        title: "x".to_owned(),
        text: None,
        media: vec![],
        attributes: vec![],
        category_keys: vec![],
        translations: vec![],
        key: key(),
    };
    let names =
        ["variants", "title", "text", "media", "attributes", "category_keys", "translations"];
    assert_eq!(changed(all, false), names);
    assert_eq!(changed(listing(), true), ["archived"]);
}

#[test]
fn a_text_that_no_database_takes_is_refused() {
    let mut wanted = events::proto::catalog::Listing { key: "mug".into(), ..Default::default() };
    wanted.text = Some("a\0b".to_owned());
    let put = events::proto::catalog::PutListing { listing: Some(wanted), expected_version: None };
    let error =
        super::command(events::proto::command::Body::PutListing(put)).expect_err("has a NUL");
    assert!(error.to_string().starts_with("text must have no NUL"), "{error}");
}

#[test]
fn rows_of_trees_and_listings_read_back_lead_to_the_same_decisions() {
    const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut random = Random::new(11);
    let mut projections = Projections::new(Catalog);
    let mut events = 0;
    let variants = super::put(
        &["S", "L"].map(|name| Product { listing_key: Some(key()), ..mug(name, 300, true) }),
    );
    projections.handle(&variants, NOW);
    for _ in 0..500 {
        let name = random.one_of(&KEYS);
        let input = match random.below(4) {
            0 => Input::DeleteCategory(Delete {
                key: category_tests::key(name),
                expected_version: None,
            }),
            1 => {
                let category_keys = vec![category_tests::key(random.one_of(&KEYS))];
                put(Listing { category_keys, ..listing() })
            }
            2 if random.below(3) == 0 => archive(),
            _ => {
                let path = format!("{}/{name}", random.one_of(&KEYS));
                let path = if random.below(3) == 0 { name } else { path.as_str() };
                Input::PutCategory(categories::Put {
                    category: category_tests::at(path),
                    expected_version: None,
                })
            }
        };
        events += projections.handle(&input, NOW).len();
    }
    assert!(projections.finish().len() > 3);
    assert!(events > 100, "only {events} events followed");
}
