//! Of shops.

use engine::{Cause, Context, Decision, Recorded, Rules, Wire, WireError, documents};
use events::{
    answers::CommandAnswer,
    money::Currency,
    proto::{self, answer_body, shop},
    shop::{Capture, Settings},
};
use foldkit::{Projections, Random};
use prost::Message;
use protocol::id::{EventId, Shop};
use sqlx::AnyPool;
use tempfile::TempDir;

use super::{NOW, ask, empty_database};
use crate::{
    Shops,
    domain::{
        Answer as AnyAnswer, Event as AnyEvent, Input as AnyInput, Tables,
        shops::{Answer, Command, Event, Fact, Input, Outcome, Request, ShopRow},
    },
    query::Found,
};

fn acme() -> Shop {
    Shop::parse("acme").expect("valid")
}

/// Settings in that currency.
fn selling_in(currency: &str) -> Settings {
    Settings { currency: Currency::parse(currency).ok(), ..Settings::default() }
}

fn create(settings: Settings) -> Request {
    Request::Create { settings }
}

fn change(settings: Settings, expected_version: Option<u64>) -> Request {
    Request::Change { settings, expected_version }
}

fn suspend() -> Request {
    Request::Suspend { reason: "a test".into(), expected_version: None }
}

fn resume() -> Request {
    Request::Resume { reason: String::new(), expected_version: None }
}

fn created(settings: Settings) -> Fact {
    Fact::Created { settings }
}

fn changed(before: Settings, after: Settings) -> Fact {
    Fact::Changed { before, after }
}

fn suspended() -> Fact {
    Fact::Suspended { reason: "a test".into() }
}

fn resumed() -> Fact {
    Fact::Resumed { reason: String::new() }
}

fn of_acme(request: Request) -> AnyInput {
    AnyInput::Shop(Input { name: acme(), request })
}

fn fold(shops: &mut Tables, fact: Fact) {
    let event = AnyEvent::Shop(Event { name: acme(), fact });
    let recorded = Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: acme(),
        version: Shops::revision(shops, &event).version + 1,
        position: 1,
        actor: None,
        time: NOW,
        cause: Cause::default(),
        context: Context::default(),
        event,
    };
    Shops::apply(shops, &recorded);
}

/// Given what happened to a shop, when a request comes, then this fact follows or none, and the
/// sender is answered this; and the shop in the answer is that of the rows.
#[track_caller]
fn check(given: &[Fact], when: Request, then: Option<Fact>, answered: Outcome) {
    let mut shops = Tables::default();
    for fact in given {
        fold(&mut shops, fact.clone());
    }
    let decision = Shops.decide(&shops, &of_acme(when), NOW);
    let event = then.clone().map(|fact| AnyEvent::Shop(Event { name: acme(), fact }));
    assert_eq!(decision.events, Vec::from_iter(event));
    let Some(AnyAnswer::Shop(answer)) = decision.answer else { panic!("it is not answered") };
    assert_eq!(answer.outcome, answered);
    if let Some(fact) = then {
        fold(&mut shops, fact);
    }
    // Where its last event is, is known when that is in the log.
    let without_position = |(name, mut row): (Shop, ShopRow)| {
        row.revision.position = 0;
        (name, row)
    };
    let expected = shops.shops.get(&acme()).map(|row| (acme(), row.clone()));
    assert_eq!(answer.shop.map(without_position), expected.map(without_position));
}

#[test]
fn a_shop_is_created_once() {
    let gbp = || selling_in("GBP");
    check(&[], create(gbp()), Some(created(gbp())), Outcome::Created);
    check(&[created(gbp())], create(gbp()), None, Outcome::Unchanged);
    check(&[created(gbp())], create(selling_in("EUR")), None, Outcome::Exists);
}

#[test]
fn a_change_says_what_was_before_and_is_afterwards() {
    let (gbp, eur) = (selling_in("GBP"), selling_in("EUR"));
    let after = Some(changed(gbp.clone(), eur.clone()));
    check(&[created(gbp.clone())], change(eur, None), after, Outcome::Changed);
    check(&[created(gbp.clone())], change(gbp, None), None, Outcome::Unchanged);
}

#[test]
fn a_change_that_was_made_for_another_version_changes_nothing() {
    let (gbp, eur) = (selling_in("GBP"), selling_in("EUR"));
    let given = [created(gbp.clone()), suspended()];
    check(&given, change(eur.clone(), Some(1)), None, Outcome::OtherVersion);
    check(&given, change(gbp.clone(), Some(1)), None, Outcome::OtherVersion);
    let after = Some(changed(gbp, eur.clone()));
    check(&given, change(eur, Some(2)), after, Outcome::Changed);
}

#[test]
fn a_shop_is_suspended_and_resumed() {
    let given = [created(Settings::default()), suspended(), resumed()];
    check(&given[..1], suspend(), Some(suspended()), Outcome::Changed);
    check(&given[..2], suspend(), None, Outcome::Unchanged);
    check(&given[..2], resume(), Some(resumed()), Outcome::Changed);
    check(&given[..1], resume(), None, Outcome::Unchanged);
    check(&given, suspend(), Some(suspended()), Outcome::Changed);
}

#[test]
fn a_change_does_not_resume_a_suspended_shop() {
    let mut shops = Tables::default();
    let (before, after) = (Settings::default(), selling_in("EUR"));
    for fact in [created(before.clone()), suspended(), changed(before, after.clone())] {
        fold(&mut shops, fact);
    }
    let row = shops.shops.get(&acme()).expect("exists");
    assert_eq!((row.suspended, &row.settings, row.revision.version), (true, &after, 3));
}

#[test]
fn an_unknown_shop_is_neither_changed_nor_suspended_nor_resumed() {
    for request in [change(Settings::default(), None), suspend(), resume()] {
        check(&[], request, None, Outcome::Unknown);
    }
}

#[test]
fn rows_read_back_from_their_documents_lead_to_the_same_decisions() {
    let mut random = Random::new(7);
    let mut projections = Projections::new(Shops);
    let mut events = 0;
    for _ in 0..300 {
        let settings = Settings {
            countries: vec![random.one_of(&["DE", "\"\\ and é"]).to_owned()],
            capture: random.one_of(&[Capture::OnConfirmation, Capture::OnShipment]),
            ..selling_in(random.one_of(&["GBP", "EUR"]))
        };
        let version = random.one_of(&[None, Some(3)]);
        let request = random.one_of(&[
            create(settings.clone()),
            change(settings, version),
            suspend(),
            resume(),
        ]);
        let name = Shop::parse(random.one_of(&["acme", "a-1"])).expect("valid");
        events += projections.handle(&AnyInput::Shop(Input { name, request }), NOW).len();
    }
    assert_eq!(projections.finish().len(), 2);
    assert!(events > 50, "only {events} events followed");
}

#[test]
fn every_event_survives_the_wire() {
    let facts = [
        (created(selling_in("GBP")), "created"),
        (changed(Settings::default(), selling_in("EUR")), "changed"),
        (suspended(), "suspended"),
        (resumed(), "resumed"),
    ];
    for (fact, name) in facts {
        let event = AnyEvent::Shop(Event { name: acme(), fact });
        let encoded = Shops::encode(&event);
        assert_eq!((encoded.name, encoded.is_public), (name, true));
        let envelope = proto::Event { aggregate_id: "acme".into(), ..Default::default() };
        let bytes = [envelope.encode_to_vec(), encoded.body].concat();
        assert_eq!(Shops::decode(&bytes).expect("decodes"), event);
    }
}

fn command(body: proto::command::Body) -> Result<AnyInput, WireError> {
    let command = proto::Command { shop: "acme".into(), body: Some(body), ..Default::default() };
    Shops::command(&command.encode_to_vec())
}

#[test]
fn every_command_is_read() {
    use proto::command::Body;
    let settings = selling_in("GBP");
    let sent = Some(shop::Settings::from(settings.clone()));
    let commands = [
        (Body::CreateShop(shop::CreateShop { settings: sent.clone() }), create(settings.clone())),
        (
            Body::ChangeShop(shop::ChangeShop { settings: sent, expected_version: Some(7) }),
            change(settings, Some(7)),
        ),
        (
            Body::SuspendShop(shop::SuspendShop {
                reason: Some("a test".into()),
                expected_version: None,
            }),
            suspend(),
        ),
        (Body::ResumeShop(shop::ResumeShop::default()), resume()),
    ];
    for (body, request) in commands {
        let input = command(body).expect("is a command");
        assert_eq!(input, of_acme(request));
    }
}

#[test]
fn a_command_that_breaks_a_rule_is_refused_by_name() {
    use proto::command::Body;
    let error = |body| command(body).expect_err("is wrong").to_string();
    let none = Body::CreateShop(shop::CreateShop::default());
    assert_eq!(error(none), "settings must be present, got \"\"");
    let reason = shop::SuspendShop { reason: Some("a\0b".into()), expected_version: None };
    let rule = "reason must be at most 500 characters without control characters, got \"a\\0b\"";
    assert_eq!(error(Body::SuspendShop(reason)), rule);
    let other = Body::CancelOrder(proto::order::CancelOrder::default());
    assert_eq!(error(other), "cancel_order is not handled by this version of the service");
    assert!(matches!(Shops::foreign(&[]), Err(WireError::Unexpected(_))));
}

#[test]
fn every_answer_is_a_message_of_the_contract() {
    let row = ShopRow {
        settings: selling_in("GBP"),
        suspended: true,
        revision: (3, 3).into(),
        created_at: NOW,
        updated_at: NOW,
    };
    let body = |to, outcome| {
        let answer = AnyAnswer::Shop(Answer { to, outcome, shop: Some((acme(), row.clone())) });
        let body = proto::AnswerBody::decode(&*Shops::encode_answer(&answer)).expect("reads");
        body.answer.expect("is there")
    };
    let expected = shop::Shop {
        name: "acme".into(),
        settings: Some(selling_in("GBP").into()),
        suspended: true,
        version: 3,
        created_at: Some(NOW.into()),
        updated_at: Some(NOW.into()),
    };
    let created = shop::CreateShopAnswer::take(body(Command::Create, Outcome::Exists));
    let created = created.expect("is of that command");
    assert_eq!(created.result(), shop::ShopResult::Exists);
    assert_eq!(created.shop, Some(expected));
    for (to, outcome, result) in [
        (Command::Change, Outcome::OtherVersion, shop::ShopResult::OtherVersion),
        (Command::Suspend, Outcome::Unknown, shop::ShopResult::Unknown),
        (Command::Resume, Outcome::Unchanged, shop::ShopResult::Unchanged),
    ] {
        let found = match body(to, outcome) {
            answer_body::Answer::ChangeShop(answer) => (Command::Change, answer.result()),
            answer_body::Answer::SuspendShop(answer) => (Command::Suspend, answer.result()),
            answer_body::Answer::ResumeShop(answer) => (Command::Resume, answer.result()),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, (to, result));
    }
}

/// A database with these shops, gone when the folder is dropped.
async fn database(names: &[&str]) -> (AnyPool, TempDir) {
    let (pool, folder) = empty_database().await;
    let mut db = pool.acquire().await.expect("connects");
    for name in names {
        let shop = Shop::parse(name).expect("valid");
        let row = ShopRow {
            settings: Settings::default(),
            suspended: false,
            revision: (1, 1).into(),
            created_at: NOW,
            updated_at: NOW,
        };
        documents::put(&mut db, &shop, [((*name).to_owned(), row)]).await.expect("writes");
    }
    drop(db);
    (pool, folder)
}

#[tokio::test]
async fn a_shop_is_found_by_its_name_and_listed_with_its_partition() {
    let (db, _folder) = database(&["acme", "berlin", "cairo"]).await;
    let found = ask(&db, &acme(), shop::GetShop {}).await.expect("is there");
    assert_eq!((found.name.as_str(), found.version), ("acme", 1));
    let none = Shop::parse("acne").expect("valid");
    assert_eq!(ask(&db, &none, shop::GetShop {}).await, None);

    let names = async |partition, after: &str, limit| {
        let list = shop::ListShops { partition, after: after.to_owned(), limit };
        let page = ask(&db, &Shop::unknown(), list).await.expect("a list");
        (page.shops.into_iter().map(|shop| shop.name).collect::<Vec<_>>().join(" "), page.has_more)
    };
    assert_eq!(names(0, "", 0).await, ("acme berlin cairo".into(), false));
    assert_eq!(names(0, "acme", 1).await, ("berlin".into(), true));
    assert_eq!(names(0, "acme", 2).await, ("berlin cairo".into(), false));
    assert_eq!(names(1, "", 0).await, (String::new(), false));
}

#[test]
fn a_page_ends_before_it_is_too_large_for_a_message() {
    let countries = (0..300).map(|number| format!("{number:064}")).collect();
    let row = ShopRow {
        settings: Settings { countries, ..Settings::default() },
        suspended: false,
        revision: (1, 1).into(),
        created_at: NOW,
        updated_at: NOW,
    };
    let shops = (0..100).map(|number| (format!("shop-{number:03}"), row.clone())).collect();
    let encoded = Shops::encode_found(Found::Shops { shops, has_more: false });
    assert!(encoded.len() < 600_000, "{} bytes", encoded.len());
    let page = shop::Shops::decode(&*encoded).expect("reads");
    assert!(page.has_more && page.shops.len() > 10, "{} shops", page.shops.len());
}

#[test]
fn what_is_no_question_is_refused() {
    let nothing = shop::ShopQuestion::default().encode_to_vec();
    assert!(matches!(Shops::question(&nothing), Err(WireError::Missing("question"))));
}

#[test]
fn a_decision_without_a_fact_still_answers() {
    let shops = Tables::default();
    let answer = Answer { to: Command::Suspend, outcome: Outcome::Unknown, shop: None };
    let expected = Decision::answered(Vec::new(), AnyAnswer::Shop(answer));
    assert_eq!(Shops.decide(&shops, &of_acme(suspend()), NOW), expected);
}
