//! Of API keys.

use engine::{Cause, Context, Queries, Recorded, Rules, Wire, documents};
use events::{
    answers::CommandAnswer,
    proto::{self, shop},
};
use foldkit::{Projections, Random};
use prost::Message;
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};

use super::{NOW, ask, empty_database};
use crate::{
    Shops,
    domain::{
        Answer as AnyAnswer, Event as AnyEvent, Input as AnyInput, Tables,
        keys::{
            Answer, Command, Digest, Event, Fact, Input, KeyId, KeyRow, KeySettings, OldDigest,
            Outcome, Request, Use,
        },
    },
};

const HOUR_MS: i64 = 3_600_000;

fn id() -> KeyId {
    KeyId::parse("0123456789abcdef").expect("valid")
}

fn digest(of: char) -> Digest {
    Digest::parse(&of.to_string().repeat(64)).expect("valid")
}

fn later(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + ms)
}

fn settings() -> KeySettings {
    KeySettings {
        description: "checkout".to_owned(),
        shops: vec![Shop::parse("acme").expect("valid")],
        scopes: vec!["read".to_owned(), "prices-as-sold".to_owned()],
        expires_at: Some(later(10 * HOUR_MS)),
    }
}

fn add() -> Request {
    Request::Add { settings: settings(), digest: digest('a') }
}

fn rotate() -> Request {
    Request::Rotate { digest: digest('b'), keep_old_ms: HOUR_MS }
}

fn revoke() -> Request {
    Request::Revoke { reason: "a test".to_owned() }
}

fn added() -> Fact {
    Fact::Added { settings: settings(), digest: digest('a') }
}

fn rotated() -> Fact {
    Fact::Rotated { digest: digest('b'), old_valid_until: later(HOUR_MS) }
}

fn revoked() -> Fact {
    Fact::Revoked { reason: "a test".to_owned() }
}

fn used(ms: i64) -> Fact {
    Fact::Used { at: later(ms) }
}

fn key_event(fact: Fact) -> AnyEvent {
    AnyEvent::Key(Event { id: id(), fact })
}

fn asked(request: Request) -> AnyInput {
    AnyInput::Key(Input { id: id(), request })
}

fn fold(tables: &mut Tables, fact: Fact, time: Timestamp) {
    let event = key_event(fact);
    let recorded = Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: Shop::installation(),
        version: Shops::revision(tables, &event).version + 1,
        position: 1,
        actor: None,
        time,
        cause: Cause::default(),
        context: Context::default(),
        event,
    };
    Shops::apply(tables, &recorded);
}

fn given(facts: &[Fact]) -> Tables {
    let mut tables = Tables::default();
    for fact in facts {
        fold(&mut tables, fact.clone(), NOW);
    }
    tables
}

/// Given what happened to a key, when a request comes so much later, then this fact follows or none, and
/// the sender is answered this; and the key in the answer is that of the rows.
#[track_caller]
fn check_at(ms: i64, facts: &[Fact], when: Request, then: Option<Fact>, answered: Outcome) {
    let mut tables = given(facts);
    let decision = Shops.decide(&tables, &asked(when), later(ms));
    assert_eq!(decision.events, Vec::from_iter(then.clone().map(key_event)));
    let Some(AnyAnswer::Key(answer)) = decision.answer else { panic!("it is not answered") };
    assert_eq!(answer.outcome, answered);
    if let Some(fact) = then {
        fold(&mut tables, fact, later(ms));
    }
    // Where its last event is, is known when that is in the log.
    let without_position = |(id, mut row): (KeyId, KeyRow)| {
        row.revision.position = 0;
        (id, row)
    };
    let expected = tables.keys.get(&id()).map(|row| (id(), row.clone()));
    assert_eq!(answer.key.map(without_position), expected.map(without_position));
}

#[track_caller]
fn check(facts: &[Fact], when: Request, then: Option<Fact>, answered: Outcome) {
    check_at(0, facts, when, then, answered);
}

#[test]
fn a_key_is_added_once() {
    check(&[], add(), Some(added()), Outcome::Added);
    check(&[added()], add(), None, Outcome::Exists);
}

#[test]
fn an_unknown_key_is_neither_rotated_nor_revoked() {
    check(&[], rotate(), None, Outcome::Unknown);
    check(&[], revoke(), None, Outcome::Unknown);
}

#[test]
fn a_key_that_is_rotated_keeps_its_old_secret_for_a_time() {
    check(&[added()], rotate(), Some(rotated()), Outcome::Changed);
    let tables = given(&[added(), rotated()]);
    let key = tables.keys.get(&id()).expect("is there");
    let old = OldDigest { digest: digest('a'), valid_until: later(HOUR_MS) };
    assert_eq!((&key.digest, &key.old), (&digest('b'), &Some(old)));
}

#[test]
fn a_key_has_two_secrets_at_most() {
    let again = Fact::Rotated { digest: digest('c'), old_valid_until: later(HOUR_MS) };
    let tables = given(&[added(), rotated(), again]);
    let key = tables.keys.get(&id()).expect("is there");
    let old = key.old.as_ref().map(|old| &old.digest);
    assert_eq!((&key.digest, old), (&digest('c'), Some(&digest('b'))));
}

#[test]
fn a_key_is_revoked_for_good() {
    check(&[added()], revoke(), Some(revoked()), Outcome::Changed);
    check(&[added(), revoked()], revoke(), None, Outcome::Unchanged);
    check(&[added(), revoked()], rotate(), None, Outcome::Ended);
    check(&[added(), revoked()], add(), None, Outcome::Exists);
}

#[test]
fn a_key_that_has_expired_gets_no_other_secret() {
    check_at(
        10 * HOUR_MS - 1,
        &[added()],
        rotate(),
        {
            let old_valid_until = later(11 * HOUR_MS - 1);
            Some(Fact::Rotated { digest: digest('b'), old_valid_until })
        },
        Outcome::Changed,
    );
    check_at(10 * HOUR_MS, &[added()], rotate(), None, Outcome::Ended);
    check_at(10 * HOUR_MS, &[added()], revoke(), Some(revoked()), Outcome::Changed);
}

/// Given what happened to a key, when it is used at these times, then these facts follow.
#[track_caller]
fn check_use(facts: &[Fact], when: &[i64], then: &[Fact]) {
    let uses = when.iter().map(|ms| Use { id: id(), at: later(*ms) }).collect();
    let decision = Shops.decide(&given(facts), &AnyInput::KeyUse(uses), NOW);
    assert_eq!(decision.events, then.iter().cloned().map(key_event).collect::<Vec<_>>());
    assert_eq!(decision.answer, None);
}

#[test]
fn a_use_is_an_event_once_an_hour() {
    check_use(&[], &[0], &[]);
    check_use(&[added()], &[0], &[used(0)]);
    check_use(&[added()], &[5, 6], &[used(5)]);
    check_use(&[added(), used(0)], &[HOUR_MS - 1], &[]);
    check_use(&[added(), used(0)], &[HOUR_MS], &[used(HOUR_MS)]);
    // A gateway whose clock is behind, or that reported late.
    check_use(&[added(), used(HOUR_MS)], &[0], &[]);
}

#[test]
fn rows_read_back_from_their_documents_lead_to_the_same_decisions() {
    let mut random = Random::new(11);
    let mut projections = Projections::new(Shops);
    let ids = ["0123456789abcdef", "fedcba9876543210"];
    let mut events = 0;
    for step in 0..300 {
        let id = KeyId::parse(random.one_of(&ids)).expect("valid");
        let request = random.one_of(&[add(), rotate(), rotate(), revoke()]);
        let now = later(step * HOUR_MS / 20);
        let uses = vec![Use { id: id.clone(), at: now }];
        let input = random.one_of(&[
            AnyInput::Key(Input { id, request }),
            AnyInput::KeyUse(uses.clone()),
            AnyInput::KeyUse(uses),
        ]);
        events += projections.handle(&input, now).len();
    }
    assert_eq!(projections.finish().len(), 2);
    assert!(events > 10, "only {events} events followed");
}

#[test]
fn every_event_survives_the_wire_and_is_not_public() {
    let facts = [
        (added(), "key_added"),
        (rotated(), "key_rotated"),
        (revoked(), "key_revoked"),
        (used(5), "key_used"),
    ];
    for (fact, name) in facts {
        let event = key_event(fact);
        let encoded = Shops::encode(&event);
        assert_eq!((encoded.name, encoded.is_public), (name, false));
        let envelope = proto::Event { aggregate_id: id().to_string(), ..Default::default() };
        let bytes = [envelope.encode_to_vec(), encoded.body].concat();
        assert_eq!(Shops::decode(&bytes).expect("decodes"), event);
        assert!(events::cloud_events::render(&bytes).is_err());
        assert!(events::cloud_events::write(&bytes, &mut Vec::new()).is_err());
    }
}

fn sent() -> shop::KeySettings {
    shop::KeySettings {
        description: "checkout".to_owned(),
        shops: vec!["acme".to_owned()],
        scopes: vec!["read".to_owned(), "prices-as-sold".to_owned()],
        expires_at: Some(later(10 * HOUR_MS).into()),
    }
}

fn command(shop: &str, body: proto::command::Body) -> Result<AnyInput, String> {
    let command = proto::Command { shop: shop.into(), body: Some(body), ..Default::default() };
    Shops::command(&command.encode_to_vec()).map_err(|error| error.to_string())
}

fn add_key(settings: shop::KeySettings) -> proto::command::Body {
    let digest = digest('a').into();
    let add = shop::AddKey { key_id: id().into(), settings: Some(settings), digest };
    proto::command::Body::AddKey(add)
}

#[test]
fn every_command_is_read_and_is_of_the_installation() {
    use proto::command::Body;
    let (key_id, digest) = (id().to_string(), digest('b').to_string());
    let at = later(7);
    let used = shop::KeyUse { key_id: key_id.clone(), used_at: Some(at.into()) };
    let commands = [
        (add_key(sent()), asked(add())),
        (
            Body::RotateKey(shop::RotateKey {
                key_id: key_id.clone(),
                digest,
                keep_old_seconds: 3_600,
            }),
            asked(rotate()),
        ),
        (
            Body::RevokeKey(shop::RevokeKey { key_id, reason: Some("a test".to_owned()) }),
            asked(revoke()),
        ),
        (
            Body::NoteKeyUse(shop::NoteKeyUse { uses: vec![used] }),
            AnyInput::KeyUse(vec![Use { id: id(), at }]),
        ),
    ];
    for (body, input) in commands {
        assert_eq!(command("-", body.clone()), Ok(input));
        let refused = command("acme", body).expect_err("it is of no shop");
        assert!(refused.ends_with("is not handled by this version of the service"), "{refused}");
    }
    let of_shop = Body::ResumeShop(shop::ResumeShop::default());
    assert!(command("-", of_shop).expect_err("there is no such shop").starts_with("shop must be"));
}

/// Changes the settings of a key.
type Change = fn(&mut shop::KeySettings);

#[test]
fn a_command_that_breaks_a_rule_is_refused_by_name() {
    use proto::command::Body;
    let wrong: [(&str, Change); 7] = [
        ("description", |it| it.description = "x".repeat(201)),
        ("description", |it| it.description = "a\0b".to_owned()),
        ("shops", |it| it.shops = vec!["acme".to_owned(); 101]),
        ("shop", |it| it.shops = vec!["-".to_owned()]),
        ("scopes", |it| it.scopes.clear()),
        ("scopes", |it| it.scopes = vec!["Read".to_owned()]),
        ("scopes", |it| it.scopes = vec!["read".to_owned(); 33]),
    ];
    for (name, change) in wrong {
        let mut settings = sent();
        change(&mut settings);
        let error = command("-", add_key(settings)).expect_err("is wrong");
        assert!(error.starts_with(&format!("{name} must be ")), "{error}");
    }
    let rotate = shop::RotateKey { key_id: id().into(), ..Default::default() };
    let error = command("-", Body::RotateKey(rotate)).expect_err("has no digest");
    assert!(error.starts_with("digest must be "), "{error}");
    let revoke = shop::RevokeKey { key_id: "KEY".into(), ..Default::default() };
    let error = command("-", Body::RevokeKey(revoke)).expect_err("has no id");
    assert!(error.starts_with("key_id must be "), "{error}");
}

fn row() -> KeyRow {
    KeyRow {
        settings: settings(),
        digest: digest('b'),
        old: Some(OldDigest { digest: digest('a'), valid_until: later(HOUR_MS) }),
        revoked: None,
        last_used_at: Some(later(5)),
        created_at: NOW,
        rotated_at: later(1),
        revision: (3, 7).into(),
    }
}

fn stored() -> shop::Key {
    shop::Key {
        id: id().into(),
        settings: Some(sent()),
        created_at: Some(NOW.into()),
        rotated_at: Some(later(1).into()),
        old_valid_until: Some(later(HOUR_MS).into()),
        revoked_at: None,
        revocation_reason: None,
        last_used_at: Some(later(5).into()),
        version: 3,
    }
}

#[test]
fn every_answer_is_a_message_of_the_contract_without_a_digest() {
    let body = |to, outcome| {
        let answer = AnyAnswer::Key(Answer { to, outcome, key: Some((id(), row())) });
        let encoded = Shops::encode_answer(&answer);
        let digest = digest('b').to_string();
        assert!(!encoded.windows(64).any(|part| part == digest.as_bytes()));
        proto::AnswerBody::decode(&*encoded).expect("reads").answer.expect("is there")
    };
    let add = shop::AddKeyAnswer::take(body(Command::Add, Outcome::Added)).expect("is of it");
    assert_eq!((add.result(), add.key), (shop::KeyResult::Added, Some(stored())));
    let rotate = shop::RotateKeyAnswer::take(body(Command::Rotate, Outcome::Ended));
    assert_eq!(rotate.expect("is of it").result(), shop::KeyResult::Ended);
    let revoke = shop::RevokeKeyAnswer::take(body(Command::Revoke, Outcome::Unchanged));
    assert_eq!(revoke.expect("is of it").result(), shop::KeyResult::Unchanged);
}

#[tokio::test]
async fn a_key_is_found_by_its_id_and_only_gateways_ask_for_its_digest() {
    let (db, _folder) = empty_database().await;
    let installation = Shop::installation();
    let mut connection = db.acquire().await.expect("connects");
    let ids = ["0123456789abcdef", "1123456789abcdef", "2123456789abcdef"];
    for id in ids {
        documents::put(&mut connection, &installation, [(id.to_owned(), row())])
            .await
            .expect("writes");
    }
    drop(connection);

    let get = |key_id: &str| shop::GetKey { key_id: key_id.to_owned() };
    assert_eq!(ask(&db, &installation, get(ids[0])).await, Some(stored()));
    assert_eq!(ask(&db, &installation, get("3123456789abcdef")).await, None);
    let acme = Shop::parse("acme").expect("valid");
    assert_eq!(ask(&db, &acme, get(ids[0])).await, None);
    let credentials = shop::GetKeyCredentials { key_id: ids[0].to_owned() };
    let expected = shop::KeyCredentials {
        key: Some(stored()),
        digest: digest('b').into(),
        old_digest: digest('a').into(),
    };
    assert_eq!(ask(&db, &installation, credentials).await, Some(expected));

    let page = async |after: &str, limit| {
        let list = shop::ListKeys { after: after.to_owned(), limit };
        let page = ask(&db, &installation, list).await.expect("a list");
        (page.keys.into_iter().map(|key| key.id).collect::<Vec<_>>(), page.has_more)
    };
    assert_eq!(page("", 0).await, (ids.map(str::to_owned).to_vec(), false));
    assert_eq!(page(ids[0], 1).await, (vec![ids[1].to_owned()], true));

    let of_key = Shops.revision_of(&db, &installation, "key", ids[0]).await.expect("answers");
    assert_eq!(of_key, Some((3, 7).into()));
    let of_shop = Shops.revision_of(&db, &installation, "shop", ids[0]).await.expect("answers");
    assert_eq!(of_shop, None);
}
