//! The rules, given what happened, when something comes, then this follows. Each history also goes
//! through the wire, and through rows that are read back from their documents.

use std::time::Duration;

use bytes::Bytes;
use engine::Rules;
use events::type_filter::TypeFilter;
use foldkit::{Projections, Random};
use protocol::time::Timestamp;

use super::rows::{EndpointRow, FailureRow, FailureState, QueueRow, numbered};
use super::{
    endpoint::{MailSettings, MailTemplate, Ordering},
    ledger::{Ledger, Replay, ReplayState},
    rendering::Payload,
    *,
};

const START: i64 = 1_300_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1_000)
}

fn sealed(text: &str) -> SealedValue {
    SealedValue { key_name: "key-1".to_owned(), ciphertext: text.into() }
}

fn secret(text: &str) -> NewSecret {
    NewSecret { value: sealed(text), public_key: None }
}

fn settings(filters: &[&str], ordering: Ordering) -> Settings {
    Settings {
        url: "https://example.com/hooks".to_owned(),
        event_types: filters.iter().map(|it| TypeFilter::parse(it).expect("valid")).collect(),
        description: String::new(),
        ordering,
        payload: Payload::Full,
        max_per_second: None,
        max_in_flight: None,
        headers: Vec::new(),
        retry_pauses_s: Vec::new(),
        mail: None,
    }
}

/// A service with its rows, whose clock is turned by hand.
struct Rig {
    projections: Projections<Notify>,
    state: State,
    number: u64,
    now: Timestamp,
}

impl Rig {
    fn new() -> Self {
        let mut state = State::default();
        for rows in engine::State::tables(&mut state) {
            rows.set_complete(true);
        }
        let projections = Projections::new(Notify::default());
        Self { projections, state, number: 0, now: at(0) }
    }

    /// One endpoint `ep` that wants these events.
    fn with(filters: &[&str], ordering: Ordering) -> Self {
        let mut rig = Self::new();
        rig.create("ep", filters, ordering);
        rig
    }

    fn create(&mut self, id: &str, filters: &[&str], ordering: Ordering) {
        let request =
            Request::Create { settings: settings(filters, ordering), secret: secret("first") };
        assert_eq!(self.ask_of(id, request).0, Outcome::Created);
    }

    /// Handles an input, and yields the facts.
    fn handle(&mut self, input: &Input) -> Vec<Fact> {
        let decision = Notify::default().decide(&self.state, input, self.now);
        for event in &decision.events {
            self.number += 1;
            let recorded = engine::Recorded {
                id: protocol::id::EventId(uuid::Uuid::from_u128(self.number.into())),
                shop: protocol::id::Shop::unknown(),
                version: Notify::revision(&self.state, event).version + 1,
                position: self.number,
                time: self.now,
                actor: None,
                cause: engine::Cause::default(),
                context: engine::Context::default(),
                event: event.clone(),
            };
            Notify::apply(&mut self.state, &recorded);
        }
        let followed = self.projections.handle(input, self.now);
        assert_eq!(followed, decision.events);
        self.check();
        followed.into_iter().map(|event| event.fact).collect()
    }

    /// What the ledger counts is what the rows say.
    fn check(&self) {
        let Some(row) = self.state.endpoints.get(&"ep".to_owned()) else { return };
        let ledger = &row.endpoint.ledger;
        let failures: Vec<_> = (1..=ledger.last_seq)
            .filter_map(|seq| self.failure(seq).filter(|row| !row.was_delivered))
            .map(|row| row.state)
            .collect();
        let count = |state: &str| {
            failures.iter().filter(|failure| failure.as_str() == state).count() as u64
        };
        assert_eq!(ledger.retrying(), count("retry_at"));
        assert_eq!(ledger.behind, count("held_behind"));
        assert_eq!(ledger.exhausted, count("exhausted"));
        assert_eq!(ledger.aborted, count("aborted"));
        assert!((1..=ledger.last_seq).all(|seq| {
            !(ledger.attempted.contains(seq) && ledger.held.contains(seq))
                && (self.failure(seq).is_none() || ledger.attempted.contains(seq))
        }));
    }

    fn ask_of(&mut self, id: &str, request: Request) -> (Outcome, Vec<Fact>) {
        let (endpoint_id, request) = (id.to_owned(), Box::new(request));
        let input = Input::Command { endpoint_id, request, expected_version: None };
        let decision = Notify::default().decide(&self.state, &input, self.now);
        let answer = decision.answer.expect("it is answered");
        let facts = self.handle(&input);
        (answer.outcome, facts)
    }

    fn ask(&mut self, request: Request) -> Outcome {
        self.ask_of("ep", request).0
    }

    fn publish(&mut self, events: &[(u64, &str)]) -> Vec<Fact> {
        let events = events.iter().map(|(position, event_type)| PublishedEvent {
            shop: "acme".to_owned(),
            position: *position,
            event_type: (*event_type).to_owned(),
            bytes: Bytes::new(),
        });
        let events = events.collect();
        self.handle(&Input::Published(Published { service: "order", events }))
    }

    /// Publishes so many events that the endpoint wants.
    fn publish_many(&mut self, count: u64) {
        let first = self.ledger().last_seq + 1;
        let events: Vec<_> = (first..first + count).map(|seq| (seq, "order.paid")).collect();
        self.publish(&events);
    }

    fn attempt(&mut self, round: Round) -> Vec<Fact> {
        self.handle(&Input::Attempted { endpoint_id: "ep".to_owned(), round })
    }

    fn deliver(&mut self, first: u64, last: u64) {
        self.attempt(Round { delivered: vec![(first, last)], ..Round::default() });
    }

    fn fail(&mut self, seq: u64) -> Option<Timestamp> {
        self.fail_with(Failed { seq, ..failed() })
    }

    fn fail_with(&mut self, failed: Failed) -> Option<Timestamp> {
        let facts = self.attempt(Round { failed: vec![failed], ..Round::default() });
        match facts.first() {
            Some(Fact::Attempted(attempted)) => attempted.failures[0].due_at,
            other => panic!("{other:?}"),
        }
    }

    fn row(&self) -> &EndpointRow {
        self.state.endpoints.get(&"ep".to_owned()).expect("it exists")
    }

    fn ledger(&self) -> &Ledger {
        &self.row().endpoint.ledger
    }

    fn failure(&self, seq: u64) -> Option<&FailureRow> {
        self.state.failures.get(&numbered("ep", seq))
    }

    fn state_of(&self, seq: u64) -> &'static str {
        self.failure(seq).map_or("none", |row| row.state.as_str())
    }

    /// When something is due, in seconds from the start; `None` when nothing is.
    fn due(&self) -> Option<i64> {
        self.row().endpoint.due().map(|due| (due.millis() - START).max(0) / 1_000)
    }

    fn wait_for(&mut self, due: Option<Timestamp>) {
        self.now = due.expect("it is tried again");
    }
}

fn failed() -> Failed {
    Failed {
        seq: 0,
        error_class: "status".to_owned(),
        status: 500,
        is_overloaded: false,
        retry_after: None,
        is_final: false,
        is_aborted: false,
        begins_anew: false,
        replay: None,
        key: String::new(),
    }
}

fn scheduled(facts: &[Fact]) -> &Scheduled {
    match facts {
        [Fact::Scheduled(scheduled)] => scheduled,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_endpoint_numbers_what_it_wants_from_one_without_gaps() {
    let mut rig = Rig::new();
    rig.create("paid", &["order.paid"], Ordering::Parallel);
    rig.create("all", &["*"], Ordering::Parallel);
    rig.create("stock", &["inventory.*"], Ordering::Parallel);
    let facts = rig.publish(&[(3, "order.placed"), (4, "order.paid"), (7, "order.paid")]);
    let first = scheduled(&facts);
    assert_eq!(first.positions, [3, 4, 7]);
    let matched = |scheduled: &Scheduled| {
        let matches = scheduled.matches.iter();
        matches
            .map(|it| (it.endpoint_id.clone(), it.first_seq, it.indexes.clone()))
            .collect::<Vec<_>>()
    };
    let is = |id: &str, seq, indexes: &[u32]| (id.to_owned(), seq, indexes.to_vec());
    assert_eq!(matched(first), [is("paid", 1, &[1, 2]), is("all", 1, &[0, 1, 2])]);
    let facts = rig.publish(&[(8, "order.paid")]);
    assert_eq!(matched(scheduled(&facts)), [is("paid", 3, &[0]), is("all", 4, &[0])]);
}

#[test]
fn what_no_endpoint_wants_leaves_no_trace() {
    let mut rig = Rig::with(&["order.paid"], Ordering::Parallel);
    assert_eq!(rig.publish(&[(1, "order.placed")]), []);
    let facts = rig.publish(&[(2, "order.placed"), (3, "order.paid"), (4, "order.placed")]);
    assert_eq!(scheduled(&facts).positions, [3]);
}

#[test]
fn an_endpoint_is_sent_what_is_published_after_it_was_created() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(3);
    rig.create("late", &["*"], Ordering::Parallel);
    let facts = rig.publish(&[(4, "order.paid")]);
    let late = &scheduled(&facts).matches[1];
    assert_eq!((&*late.endpoint_id, late.first_seq), ("late", 1));
}

#[test]
fn delivered_through_a_number_is_one_run() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(100);
    assert_eq!(rig.due(), Some(0));
    rig.deliver(2, 60);
    rig.deliver(1, 1);
    rig.deliver(61, 100);
    let ledger = rig.ledger();
    assert_eq!(ledger.attempted.runs().collect::<Vec<_>>(), [(1, 100)]);
    assert_eq!((ledger.delivered(), ledger.fresh(), ledger.window.len()), (100, 0, 0));
    assert_eq!((rig.due(), rig.row().endpoint.operation("ep")), (None, None));
}

#[test]
fn a_failed_delivery_is_tried_ten_times_and_holds_up_no_other() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(2);
    for attempt in 1..=9 {
        let due = rig.fail(1);
        assert_eq!(rig.failure(1).expect("it failed").attempts, attempt);
        assert_eq!(rig.due(), Some(0), "the second is not attempted");
        rig.wait_for(due);
    }
    assert!(rig.now >= at(75 * 3_600), "75.6 hours");
    assert_eq!(rig.fail(1), None);
    assert_eq!(rig.state_of(1), "exhausted");
    rig.deliver(2, 2);
    assert_eq!((rig.ledger().exhausted, rig.ledger().delivered(), rig.due()), (1, 1, None));
}

#[test]
fn a_retry_that_succeeds_leaves_no_trace() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(1);
    let due = rig.fail(1);
    assert_eq!(rig.row().endpoint.due(), due);
    rig.deliver(1, 1);
    assert_eq!((rig.state_of(1), rig.due(), rig.ledger().delivered()), ("none", None, 1));
}

#[test]
fn what_the_endpoint_does_not_want_again_is_not_sent_again() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(1);
    assert_eq!(rig.fail_with(Failed { seq: 1, is_aborted: true, ..failed() }), None);
    assert_eq!((rig.state_of(1), rig.ledger().aborted), ("aborted", 1));
}

#[test]
fn what_is_aborted_while_a_request_is_under_way_stays_so_when_that_fails() {
    let mut rig = Rig::with(&["*"], Ordering::Fifo);
    rig.publish_many(3);
    let due = rig.fail(1);
    rig.wait_for(due);
    // The second attempt at the first is under way, and then the first at the second.
    for (seq, attempts) in [(1, 2), (2, 1)] {
        assert_eq!(rig.ask(Request::AbortDelivery { seq }), Outcome::Changed);
        assert_eq!(rig.fail_with(Failed { seq, status: 504, ..failed() }), None);
        let row = rig.failure(seq).expect("it is listed");
        assert_eq!((row.state, row.attempts, row.status), (FailureState::Aborted, attempts, 504));
        assert!(row.is_sent);
    }
    assert_eq!((rig.ledger().aborted, rig.ledger().retrying()), (2, 0));
    assert_eq!(rig.ledger().next_fresh(), Some(3), "nothing holds it up");
    // A replay of it that fails begins anew.
    let due = rig.fail_with(Failed { seq: 1, begins_anew: true, ..failed() });
    assert!(due.is_some());
    assert_eq!(rig.failure(1).map(|row| row.attempts), Some(1));
}

#[test]
fn what_was_aborted_on_request_is_known_as_such_until_it_is_tried_again() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(3);
    rig.fail(1);
    for seq in 1..=2 {
        assert_eq!(rig.ask(Request::AbortDelivery { seq }), Outcome::Changed);
    }
    // The request that was under way has failed.
    rig.fail(1);
    assert_eq!([1, 2, 3].map(|seq| rig.ledger().was_aborted(seq)), [true, true, false]);
    rig.fail_with(Failed { seq: 1, begins_anew: true, ..failed() });
    assert_eq!((rig.state_of(1), rig.ledger().was_aborted(1)), ("retry_at", false));
    // The newest are known, as many as a row has.
    let mut ledger = Ledger::new(8);
    (1..=1_001).for_each(|seq| ledger.note_abort(seq));
    assert_eq!([1, 2, 1_001].map(|seq| ledger.was_aborted(seq)), [false, true, true]);
}

#[test]
fn what_a_replay_sends_stays_of_it_while_it_is_tried_again() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(2);
    rig.deliver(1, 1);
    let replay = || Some("r".to_owned());
    rig.fail_with(Failed { seq: 1, begins_anew: true, replay: replay(), ..failed() });
    rig.fail(2);
    let of = |rig: &Rig| [1, 2].map(|seq| rig.failure(seq).expect("it failed").replay.clone());
    assert_eq!(of(&rig), [replay(), None]);
    rig.fail_with(Failed { seq: 1, replay: replay(), ..failed() });
    assert_eq!(of(&rig), [replay(), None]);
}

fn mail(event_types: &[&str]) -> Settings {
    let mail = MailSettings {
        sender_name: "Acme".to_owned(),
        sender_address: "orders@acme.example".to_owned(),
        language: "en".to_owned(),
        templates: vec![MailTemplate {
            event_type: "order.shipped".to_owned(),
            subject: "On its way".to_owned(),
            text: "{{ order.number }}".to_owned(),
            html: "<p>{{ order.number }}</p>".to_owned(),
        }],
    };
    let filters = event_types.iter().map(|it| TypeFilter::parse(it).expect("valid"));
    Settings::of_mail(filters.collect(), mail)
}

/// A shop that sends these mails: its endpoint is called as that of the other tests.
fn mailing(event_types: &[&str]) -> Rig {
    let mut rig = Rig::new();
    let set = Request::SetMail { settings: mail(event_types), expected_version: None };
    let (outcome, facts) = rig.ask_of("ep", set);
    assert_eq!(outcome, Outcome::Created);
    assert!(matches!(&facts[..], [Fact::Created { secret: None, .. }]), "{facts:?}");
    rig
}

/// What a mail server answers: the class of the error, and the reply code.
fn refused(seq: u64, error_class: &str, status: u16) -> Failed {
    Failed {
        seq,
        error_class: error_class.to_owned(),
        status,
        is_final: error_class == "rejected",
        ..failed()
    }
}

#[test]
fn a_shop_sends_the_mails_that_it_wants_and_none_before() {
    let mut rig = Rig::new();
    assert_eq!(rig.publish(&[(1, "order.confirmed")]), []);
    let mut rig = mailing(&["order.confirmed"]);
    rig.publish(&[(2, "order.placed"), (3, "order.confirmed")]);
    assert_eq!((rig.ledger().last_seq, rig.due()), (1, Some(0)));
    let set = |event_types: &[&str]| Request::SetMail {
        settings: mail(event_types),
        expected_version: None,
    };
    assert_eq!(rig.ask(set(&["order.confirmed"])), Outcome::Unchanged);
    assert_eq!(rig.ask(set(&[])), Outcome::Changed);
    assert_eq!(rig.publish(&[(4, "order.confirmed")]), [], "it sends no mails any more");
    assert_eq!(rig.due(), Some(0), "what was scheduled before is sent");
}

#[test]
fn the_settings_of_mails_are_changed_only_at_the_version_that_is_expected() {
    let set = |event_types: &[&str], expected_version| Request::SetMail {
        settings: mail(event_types),
        expected_version,
    };
    let mut rig = Rig::new();
    assert_eq!(rig.ask_of("ep", set(&[], Some(1))), (Outcome::OtherVersion, vec![]));
    assert_eq!(rig.ask_of("ep", set(&[], Some(0))).0, Outcome::Created);
    for wrong in [0, 2] {
        assert_eq!(rig.ask(set(&["order.confirmed"], Some(wrong))), Outcome::OtherVersion);
    }
    assert_eq!(rig.ask(set(&["order.confirmed"], Some(1))), Outcome::Changed);
}

#[test]
fn a_mail_that_is_refused_for_good_is_not_tried_again_and_is_listed() {
    let mut rig = mailing(&["order.*"]);
    rig.publish_many(3);
    assert_eq!(rig.fail_with(refused(1, "rejected", 550)), None);
    assert_eq!(rig.failure(1).expect("it is listed").state, FailureState::Exhausted);
    assert!(rig.fail_with(refused(2, "deferred", 450)).is_some());
    let erased = Failed { is_aborted: true, ..refused(3, "recipient_erased", 0) };
    assert_eq!(rig.fail_with(erased), None);
    let row = rig.failure(3).expect("it is listed");
    assert_eq!((row.state, &*row.error_class), (FailureState::Aborted, "recipient_erased"));
}

#[test]
fn what_is_refused_of_mails_does_not_hold_up_the_others_and_a_dead_server_does() {
    let mut rig = mailing(&["order.*"]);
    rig.publish_many(60);
    for seq in 1..=15 {
        rig.fail_with(refused(seq, "rejected", 550));
        rig.fail_with(refused(seq + 15, "deferred", 450));
        let nobody = Failed { is_aborted: true, ..refused(seq + 30, "no_recipient", 0) };
        rig.fail_with(nobody);
    }
    assert_eq!(rig.ledger().health.paused_until, None, "the server works");
    for seq in 46..=55 {
        let (class, status) = if seq % 2 == 0 { ("connect", 0) } else { ("deferred", 421) };
        rig.fail_with(refused(seq, class, status));
    }
    assert_eq!(rig.ledger().health.paused_until, None, "10 of 40");
    let mut rig = mailing(&["order.*"]);
    rig.publish_many(20);
    for seq in 1..=10 {
        let (class, status) = if seq % 2 == 0 { ("connect", 0) } else { ("deferred", 421) };
        rig.fail_with(refused(seq, class, status));
    }
    assert!(rig.ledger().health.paused_until.is_some());
}

#[test]
fn mails_are_not_disabled_however_long_the_server_fails() {
    let mut rig = mailing(&["order.*"]);
    rig.publish_many(10);
    for seq in 1..=10 {
        rig.fail_with(refused(seq, "connect", 0));
        rig.now = rig.now + Duration::from_hours(24);
    }
    assert!(rig.row().endpoint.is_active());
}

#[test]
fn an_endpoint_that_is_gone_is_disabled() {
    for reason in [DisabledReason::Gone, DisabledReason::Instructed] {
        let mut rig = Rig::with(&["*"], Ordering::Parallel);
        rig.publish_many(2);
        let round = Round {
            failed: vec![Failed { seq: 1, ..failed() }],
            disable: Some(DisableRequest { reason, settings_version: 1 }),
            ..Round::default()
        };
        let facts = rig.attempt(round);
        assert!(
            matches!(&facts[1], Fact::Disabled { reason: is, .. } if *is == reason),
            "{facts:?}"
        );
        assert_eq!((rig.row().endpoint.disabled, rig.due()), (Some(reason), None));
    }
}

#[test]
fn an_endpoint_that_was_changed_and_enabled_is_not_disabled_by_an_answer_of_before() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(4);
    let reason = DisabledReason::Gone;
    let gone = |seq, settings_version| Round {
        failed: vec![Failed { seq, status: 410, ..failed() }],
        disable: Some(DisableRequest { reason, settings_version }),
        ..Round::default()
    };
    rig.attempt(gone(1, 1));
    assert_eq!(rig.row().endpoint.disabled, Some(reason));
    let url = "https://example.com/new".to_owned();
    let settings = Settings { url, ..settings(&["*"], Ordering::Parallel) };
    assert_eq!(rig.ask(Request::Change { settings, expected_version: None }), Outcome::Changed);
    assert_eq!(rig.ask(Request::Enable { deliver_held: true }), Outcome::Changed);
    // These were under way with the first.
    for seq in 2..=4 {
        assert_eq!(rig.attempt(gone(seq, 1)).len(), 1);
    }
    assert!(rig.row().endpoint.is_active());
    rig.deliver(1, 3);
    let version = rig.row().endpoint.settings_version;
    rig.attempt(gone(4, version));
    assert_eq!(rig.row().endpoint.disabled, Some(reason), "it is gone where it is now");
}

#[test]
fn an_endpoint_that_only_fails_is_warned_and_then_disabled() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(10);
    rig.fail(1);
    rig.fail(2);
    rig.now = at(61 * 3_600);
    let facts =
        rig.attempt(Round { failed: vec![Failed { seq: 3, ..failed() }], ..Round::default() });
    assert_eq!(facts[1], Fact::FailureWarned { since: at(0) });
    let facts =
        rig.attempt(Round { failed: vec![Failed { seq: 4, ..failed() }], ..Round::default() });
    assert_eq!(facts.len(), 1, "it is said once");
    rig.now = at(120 * 3_600);
    let facts =
        rig.attempt(Round { failed: vec![Failed { seq: 5, ..failed() }], ..Round::default() });
    assert!(
        matches!(facts[1], Fact::Disabled { reason: DisabledReason::Failing, .. }),
        "{facts:?}"
    );
}

#[test]
fn the_others_that_want_it_learn_of_an_endpoint_that_is_disabled() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    for (id, filter) in [("all", "*"), ("orders", "order.*"), ("news", "webhook.*")] {
        rig.create(id, &[filter], Ordering::Parallel);
    }
    rig.publish_many(1);
    let disable = Some(DisableRequest { reason: DisabledReason::Gone, settings_version: 1 });
    let gone = Round { failed: vec![failed()], disable, ..Round::default() };
    let facts = rig.attempt(gone.clone());
    let rendering = Rendering { payload: Payload::Full, version: 1 };
    let to = [("all", 2), ("news", 1)].map(|(id, seq)| Announcement {
        endpoint_id: id.to_owned(),
        seq,
        rendering,
    });
    let to = to.to_vec();
    let news = EndpointNotice::Disabled { reason: DisabledReason::Gone };
    assert_eq!(facts[2], Fact::Announced { news, to });
    let last = |id: &str| {
        rig.state.endpoints.get(&id.to_owned()).expect("it exists").endpoint.ledger.last_seq
    };
    assert_eq!([last("ep"), last("all"), last("orders"), last("news")], [1, 2, 1, 1]);
    // An answer that comes later says it once more, and nobody is told again.
    assert_eq!(rig.attempt(gone).len(), 1);
    // On request nobody is told either.
    let (_, facts) = rig.ask_of("all", Request::Disable { note: String::new() });
    assert_eq!(facts.len(), 1);
}

#[test]
fn what_comes_while_an_endpoint_is_disabled_is_held_and_not_lost() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(2);
    rig.deliver(1, 1);
    assert_eq!(rig.ask(Request::Disable { note: String::new() }), Outcome::Changed);
    rig.publish_many(3);
    assert_eq!((rig.ledger().last_seq, rig.due()), (5, None));
    assert_eq!(rig.ask(Request::Enable { deliver_held: false }), Outcome::Changed);
    assert_eq!((rig.ledger().held.len(), rig.due()), (4, None));
    rig.publish_many(1);
    assert_eq!(rig.ledger().fresh_within(1, 9), [(6, 6)]);
    let replay = |id: &str| {
        let selection = Selection::Missing;
        Request::StartReplay { id: id.into(), from: 0, to: 0, selection, max_per_second: Some(5) }
    };
    assert_eq!(rig.ask(replay("r")), Outcome::Changed);
    // They are held until the replay has sent them.
    assert_eq!((rig.ledger().fresh_within(1, 9), rig.ledger().held.len()), (vec![(6, 6)], 4));
    let progress = |through, sent| ReplayProgress { id: "r".into(), through, sent };
    rig.attempt(Round {
        delivered: vec![(2, 3)],
        replays: vec![progress(3, 2)],
        ..Round::default()
    });
    assert_eq!((rig.ledger().held.len(), rig.ledger().replays[0].through), (2, 3));
    rig.fail(4);
    assert_eq!((rig.state_of(4), rig.ledger().held.len()), ("retry_at", 1));
    rig.attempt(Round {
        delivered: vec![(5, 6)],
        replays: vec![progress(6, 2)],
        ..Round::default()
    });
    let Replay { state, sent, max_per_second, .. } = rig.ledger().replays[0].clone();
    assert_eq!((state, sent, max_per_second), (ReplayState::Done, 4, Some(5)));
    assert_eq!(rig.ask(replay("nothing")), Outcome::Changed);
    assert_eq!(rig.ledger().replays[1].state, ReplayState::Done, "nothing is held any more");
}

#[test]
fn an_endpoint_that_is_enabled_can_be_sent_what_was_held() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.ask(Request::Disable { note: String::new() });
    rig.publish_many(3);
    rig.ask(Request::Enable { deliver_held: true });
    assert_eq!(rig.ledger().fresh_within(1, 3), [(1, 3)]);
    assert_eq!(rig.ledger().health.limit, 1, "one delivery at first");
    rig.deliver(1, 1);
    assert_eq!(rig.ledger().health.limit, 2);
}

#[test]
fn nothing_is_sent_while_most_requests_fail_and_no_attempt_is_used_up() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(20);
    let failures = (1..=10).map(|seq| Failed { seq, ..failed() }).collect();
    rig.attempt(Round { failed: failures, ..Round::default() });
    assert_eq!(rig.due(), Some(30), "neither what was not attempted nor the retries");
    rig.now = at(30);
    rig.deliver(11, 11);
    assert_eq!(rig.due(), Some(0));
    assert_eq!(rig.failure(1).expect("it failed").attempts, 1);
}

#[test]
fn values_are_encrypted_anew_and_nothing_else_changes() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    let keep_old = Duration::from_hours(1);
    rig.ask(Request::RotateSecret { secret: secret("second"), keep_old });
    let header = endpoint::Header { name: "authorization".to_owned(), value: sealed("header") };
    let after = Settings { headers: vec![header], ..rig.row().endpoint.settings.clone() };
    rig.ask(Request::Change { settings: after, expected_version: None });
    let before = rig.row().endpoint.clone();

    let again = |text: &str| SealedValue { key_name: "key-2".to_owned(), ..sealed(text) };
    let pair = |text: &str| (sealed(text), again(text));
    let values = vec![pair("first"), pair("second"), pair("header"), pair("gone")];
    let (outcome, facts) = rig.ask_of("ep", Request::RewrapValues { values: values.clone() });
    assert_eq!(outcome, Outcome::Changed);
    assert_eq!(facts, [Fact::ValuesRewrapped { values: values[..3].to_vec() }]);
    let endpoint = rig.row().endpoint.clone();
    let sealed: Vec<_> = endpoint.sealed_values().cloned().collect();
    assert_eq!(sealed, [again("second"), again("first"), again("header")]);
    assert_eq!(endpoint.secrets[1].expires_at, before.secrets[1].expires_at);
    assert_eq!(endpoint.settings_version, before.settings_version);
    // What was rotated away meanwhile is not there to be replaced.
    assert_eq!(rig.ask(Request::RewrapValues { values }), Outcome::Unchanged);
}

#[test]
fn deliveries_in_order_wait_for_the_one_that_failed() {
    let mut rig = Rig::with(&["*"], Ordering::Fifo);
    rig.publish_many(3);
    let due = rig.fail(1);
    assert_eq!(rig.row().endpoint.due(), due, "the second waits for the first");
    rig.wait_for(due);
    rig.deliver(1, 1);
    assert_eq!(rig.due(), Some(0));
}

#[test]
fn deliveries_of_one_aggregate_wait_for_each_other_and_others_do_not() {
    let mut rig = Rig::with(&["*"], Ordering::PerKey);
    rig.publish_many(5);
    let key = || "order-1".to_owned();
    rig.fail_with(Failed { seq: 1, key: key(), ..failed() });
    rig.attempt(Round {
        delivered: vec![(4, 5)],
        behind: vec![(2, key()), (3, key())],
        ..Round::default()
    });
    assert_eq!(
        [rig.state_of(1), rig.state_of(2), rig.state_of(3)],
        ["retry_at", "held_behind", "held_behind"]
    );
    assert_eq!(rig.ledger().delivered(), 2);
    rig.deliver(1, 1);
    assert_eq!([rig.state_of(2), rig.state_of(3)], ["retry_at", "held_behind"]);
    assert_eq!(rig.failure(2).map(|row| row.attempts), Some(0));
    // The next one goes as well when the one before is given up.
    assert_eq!(rig.ask(Request::AbortDelivery { seq: 2 }), Outcome::Changed);
    assert_eq!([rig.state_of(2), rig.state_of(3)], ["aborted", "retry_at"]);
    rig.deliver(3, 3);
    assert_eq!(rig.state.queues.get(&"ep/order-1".to_owned()), None::<&QueueRow>);
    assert_eq!(rig.due(), None);
}

#[test]
fn what_waits_behind_a_failure_has_its_turn_also_when_the_ordering_has_changed() {
    for ordering in [Ordering::Parallel, Ordering::Fifo] {
        let mut rig = Rig::with(&["*"], Ordering::PerKey);
        rig.publish_many(4);
        let key = || "order-1".to_owned();
        rig.fail_with(Failed { seq: 1, key: key(), ..failed() });
        let behind = vec![(2, key()), (3, key()), (4, key())];
        rig.attempt(Round { behind, ..Round::default() });
        rig.ask(Request::Change { settings: settings(&["*"], ordering), expected_version: None });
        // Each fails once more, under the ordering in which attempts have no key, and comes to another end.
        rig.fail(1);
        rig.deliver(1, 1);
        assert_eq!([rig.state_of(2), rig.state_of(3)], ["retry_at", "held_behind"]);
        rig.fail(2);
        rig.ask(Request::AbortDelivery { seq: 2 });
        assert_eq!([rig.state_of(3), rig.state_of(4)], ["retry_at", "held_behind"]);
        rig.fail_with(Failed { seq: 3, is_final: true, ..failed() });
        assert_eq!([rig.state_of(3), rig.state_of(4)], ["exhausted", "retry_at"]);
        rig.deliver(4, 4);
        assert_eq!(rig.state.queues.get(&"ep/order-1".to_owned()), None::<&QueueRow>);
    }
}

#[test]
fn what_was_delivered_stays_so_and_holds_up_nothing_when_it_fails_in_a_replay() {
    for ordering in [Ordering::Parallel, Ordering::PerKey, Ordering::Fifo] {
        let mut rig = Rig::with(&["*"], ordering);
        rig.publish_many(4);
        rig.deliver(1, 2);
        let key =
            || if ordering == Ordering::PerKey { "order-1".to_owned() } else { String::new() };
        let again = |seq, begins_anew| Failed { seq, begins_anew, key: key(), ..failed() };
        let mut due = rig.fail_with(again(1, true));
        assert_eq!(rig.due(), Some(0), "the third is not held up");
        assert_eq!(rig.state.queues.get(&"ep/order-1".to_owned()), None::<&QueueRow>);
        for _ in 2..=10 {
            assert_eq!((rig.ledger().delivered(), rig.ledger().retrying()), (2, 0));
            rig.wait_for(due);
            due = rig.fail_with(again(1, false));
        }
        let row = rig.failure(1).expect("it is known that it failed");
        assert!(row.state == FailureState::Exhausted && row.was_delivered && row.is_sent);
        assert_eq!((due, rig.ledger().delivered(), rig.ledger().exhausted), (None, 2, 0));
        // It may be asked for once more, and given up on request.
        rig.fail_with(again(1, true));
        assert_eq!(rig.ask(Request::AbortDelivery { seq: 1 }), Outcome::Changed);
        assert_eq!((rig.ledger().delivered(), rig.ledger().aborted), (2, 0));
        rig.deliver(1, 4);
        assert_eq!((rig.failure(1), rig.ledger().delivered(), rig.due()), (None, 4, None));
    }
}

#[test]
fn what_comes_behind_a_delivery_that_has_just_succeeded_is_due_at_once() {
    let mut rig = Rig::with(&["*"], Ordering::PerKey);
    rig.publish_many(2);
    rig.fail_with(Failed { seq: 1, key: "order-1".into(), ..failed() });
    rig.attempt(Round {
        delivered: vec![(1, 1)],
        behind: vec![(2, "order-1".into())],
        ..Round::default()
    });
    let state = rig.failure(2).map(|row| row.state);
    assert_eq!(state, Some(FailureState::Retry { due: at(0) }));
}

#[test]
fn an_old_secret_signs_for_a_day_and_there_are_ten_at_most() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    let rotate = |name: &str, hours| Request::RotateSecret {
        secret: secret(name),
        keep_old: Duration::from_hours(hours),
    };
    assert_eq!(rig.ask(rotate("second", 24)), Outcome::Changed);
    let signing = |rig: &Rig, now| {
        let signing = rig.row().endpoint.signing(now).map(|it| it.ciphertext.clone());
        signing.map(|text| String::from_utf8(text).expect("a text")).collect::<Vec<_>>()
    };
    assert_eq!(signing(&rig, at(24 * 3_600 - 1)), ["second", "first"]);
    assert_eq!(signing(&rig, at(24 * 3_600)), ["second"]);
    for number in 3..=10 {
        assert_eq!(rig.ask(rotate(&number.to_string(), 24)), Outcome::Changed);
    }
    assert_eq!(signing(&rig, at(0)).len(), 10);
    assert_eq!(rig.ask(rotate("one too many", 24)), Outcome::TooMany);
    assert_eq!(rig.ask(rotate("the only one", 0)), Outcome::Changed);
    assert_eq!(signing(&rig, at(0)), ["the only one"]);
    rig.now = at(0);
}

#[test]
fn a_change_that_was_made_for_another_version_changes_nothing() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    let change = |filter: &str, expected_version| Request::Change {
        settings: settings(&[filter], Ordering::Parallel),
        expected_version,
    };
    assert_eq!(rig.ask(change("*", Some(1))), Outcome::Unchanged);
    assert_eq!(rig.ask(change("order.*", Some(1))), Outcome::Changed);
    assert_eq!(rig.ask(change("stock.*", Some(1))), Outcome::OtherVersion);
    rig.publish_many(3);
    assert_eq!(rig.ask(change("stock.*", Some(2))), Outcome::Changed, "deliveries are no change");
}

#[test]
fn a_deleted_endpoint_is_sent_nothing_and_its_id_is_not_given_out_again() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(3);
    assert_eq!(rig.ask(Request::Delete), Outcome::Changed);
    assert_eq!(rig.due(), None);
    assert_eq!(rig.publish(&[(9, "order.paid")]), []);
    assert_eq!(rig.ask(Request::Delete), Outcome::Unknown);
    assert_eq!(rig.attempt(Round { delivered: vec![(1, 1)], ..Round::default() }), []);
    let secret = secret("x");
    let create = Request::Create { settings: settings(&["*"], Ordering::Parallel), secret };
    assert_eq!(rig.ask(create), Outcome::Exists);
}

#[test]
fn a_test_delivery_has_a_number_like_any_other() {
    let mut rig = Rig::with(&["order.paid"], Ordering::Parallel);
    rig.publish_many(1);
    let rendering = Rendering { payload: Payload::Full, version: 1 };
    let test = Fact::TestScheduled { seq: 2, rendering };
    assert_eq!(rig.ask_of("ep", Request::SendTest).1, [test]);
    rig.publish(&[(9, "order.paid")]);
    assert_eq!(rig.ledger().last_seq, 3);
    let run = &rig.ledger().window[1];
    assert_eq!((&*run.service, run.position(2), run.position(3)), ("notify", Some(3), None));
    rig.ask(Request::Disable { note: String::new() });
    assert_eq!(rig.ask(Request::SendTest), Outcome::Disabled);
}

#[test]
fn a_replay_goes_on_where_it_was_and_can_be_cancelled() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(10);
    rig.deliver(1, 10);
    let replay = |id: &str, from, to| Request::StartReplay {
        id: id.into(),
        from,
        to,
        selection: Selection::All,
        max_per_second: None,
    };
    assert_eq!(rig.ask(replay("a", 3, 99)), Outcome::Changed);
    assert_eq!(rig.ask(replay("a", 3, 99)), Outcome::Unchanged);
    for (from, to) in [(12, 0), (11, 11), (11, 99)] {
        assert_eq!(rig.ask(replay("none", from, to)), Outcome::Unknown);
    }
    assert_eq!(rig.due(), Some(0));
    let progress = |through| ReplayProgress { id: "a".into(), through, sent: 3 };
    rig.attempt(Round { delivered: vec![(3, 5)], replays: vec![progress(5)], ..Round::default() });
    let Replay { through, to, sent, .. } = rig.ledger().replays[0].clone();
    assert_eq!((through, to, sent), (5, 10, 3));
    // What fails in a replay is tried again like anything that fails, and is delivered all the same.
    assert!(rig.fail(6).is_some());
    assert_eq!(rig.ledger().delivered(), 10);
    assert_eq!(rig.ask(Request::CancelReplay { id: "a".into() }), Outcome::Changed);
    assert_eq!(rig.ask(Request::CancelReplay { id: "a".into() }), Outcome::Unchanged);
    assert_eq!(rig.ask(Request::CancelReplay { id: "b".into() }), Outcome::Unknown);
    assert!(rig.ledger().running_replays().next().is_none());
}

#[test]
fn a_replay_of_what_was_scheduled_since_the_last_delivery_has_ended_at_once() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    let replay = |id: &str, from, to| Request::StartReplay {
        id: id.into(),
        from,
        to,
        selection: Selection::All,
        max_per_second: None,
    };
    assert_eq!(rig.ask(replay("of none", 1, 0)), Outcome::Changed);
    rig.publish_many(10);
    rig.deliver(1, 10);
    assert_eq!(rig.ask(replay("since the last", 11, 0)), Outcome::Changed);
    assert_eq!(rig.ask(replay("between two", 6, 5)), Outcome::Changed);
    for Replay { id, state, sent, .. } in &rig.ledger().replays {
        assert_eq!((*state, *sent), (ReplayState::Done, 0), "{id}");
    }
    assert_eq!((rig.ledger().replays.len(), rig.due()), (3, None));
}

#[test]
fn the_events_of_a_long_backlog_are_not_in_the_row_of_the_endpoint() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    for _ in 0..30 {
        rig.publish_many(500);
    }
    let in_window: u64 = rig.ledger().window.iter().map(Run::len).sum();
    assert_eq!((rig.ledger().last_seq, in_window), (15_000, 2_000));
    let document = serde_json::to_string(rig.row()).expect("it serialises");
    assert!(document.len() < 2_000, "{}", document.len());
}

#[test]
fn a_thousand_deliveries_take_few_bytes_in_the_log() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    let types = ["order.placed", "order.paid", "order.paid", "order.shipped"];
    let events: Vec<_> = (1..=500).map(|seq| (seq * 2, types[seq as usize % 4])).collect();
    let facts = rig.publish(&events);
    let bytes = |fact: &Fact| {
        let event = Event { endpoint_id: "ep".into(), fact: fact.clone() };
        <Notify as engine::Wire>::encode(&event).body.len()
    };
    assert!(bytes(&facts[0]) < 500 * 8, "{}", bytes(&facts[0]));
    let facts = rig.attempt(Round { delivered: vec![(1, 500)], ..Round::default() });
    assert!(bytes(&facts[0]) < 40, "{}", bytes(&facts[0]));
}

#[test]
fn a_random_history_ends_in_the_same_rows_however_it_is_folded() {
    for seed in 1..=40 {
        let mut random = Random::new(seed);
        let ordering = random.one_of(&[Ordering::Parallel, Ordering::PerKey, Ordering::Fifo]);
        let mut rig = Rig::with(&["order.*"], ordering);
        for step in 0..60 {
            rig.now = at(step * 40);
            let last = rig.ledger().last_seq;
            let seq = random.below(last + 2) + 1;
            let key = random.one_of(&["", "a", "b"]).to_owned();
            match random.below(12) {
                0..=3 => rig.publish_many(random.below(5) + 1),
                4 | 5 if last > 0 => {
                    let first = random.below(last) + 1;
                    rig.deliver(first, (first + random.below(4)).min(last));
                }
                6 => {
                    let is_aborted = random.below(4) == 0;
                    let is_final = random.below(8) == 0;
                    let begins_anew = random.below(4) == 0;
                    let replay = (random.below(2) == 0).then(|| "r1".to_owned());
                    let failed = Failed { seq, is_final, is_aborted, begins_anew, key, ..failed() };
                    let failed = Failed { replay, ..failed };
                    rig.attempt(Round { failed: vec![failed], ..Round::default() });
                }
                7 if !key.is_empty() && seq <= last => {
                    rig.attempt(Round { behind: vec![(seq, key)], ..Round::default() });
                }
                8 => drop(rig.ask(Request::Disable { note: String::new() })),
                9 => drop(rig.ask(Request::Enable { deliver_held: random.below(2) == 0 })),
                10 => {
                    let selection =
                        random.one_of(&[Selection::Missing, Selection::Failed, Selection::All]);
                    let id = format!("r{step}");
                    let max_per_second = None;
                    rig.ask(Request::StartReplay {
                        id,
                        from: 0,
                        to: seq,
                        selection,
                        max_per_second,
                    });
                }
                _ => drop(rig.ask(Request::AbortDelivery { seq })),
            }
        }
        rig.projections.finish();
    }
}

#[test]
fn how_a_body_is_made_is_decided_when_it_is_scheduled() {
    let mut rig = Rig::with(&["*"], Ordering::Parallel);
    rig.publish_many(1);
    let after = Settings { payload: Payload::Thin, ..rig.row().endpoint.settings.clone() };
    rig.ask(Request::Change { settings: after, expected_version: None });
    rig.publish_many(1);
    rig.ask(Request::SendTest);
    let payloads: Vec<_> = rig.ledger().window.iter().map(|run| run.rendering.payload).collect();
    assert_eq!(payloads, [Payload::Full, Payload::Thin, Payload::Thin]);
}

#[test]
fn what_was_never_on_its_way_is_not_sent() {
    let mut rig = Rig::with(&["*"], Ordering::PerKey);
    rig.publish_many(9);
    let key = || "order-1".to_owned();
    let with = |seq, error_class: &str| Failed {
        seq,
        error_class: error_class.to_owned(),
        status: 0,
        ..failed()
    };
    rig.ask(Request::AbortDelivery { seq: 1 });
    for (seq, class) in [(2, "unresolved"), (3, "refused"), (4, "timeout")] {
        rig.fail_with(with(seq, class));
    }
    rig.fail_with(Failed { key: key(), ..with(5, "connect") });
    rig.attempt(Round { behind: vec![(6, key())], ..Round::default() });
    rig.deliver(7, 7);
    rig.fail_with(with(7, "connect"));
    let is_sent = |rig: &Rig, seq| rig.failure(seq).expect("it is open").is_sent;
    assert_eq!([1, 2, 3, 5, 6].map(|seq| is_sent(&rig, seq)), [false; 5]);
    assert!(is_sent(&rig, 4) && is_sent(&rig, 7), "a request was under way once");
    // What was sent once stays so, whatever the next attempt comes to.
    rig.fail_with(with(4, "unresolved"));
    rig.ask(Request::AbortDelivery { seq: 4 });
    assert!(is_sent(&rig, 4));
    // The one behind has its turn, and was not sent by that.
    rig.ask(Request::AbortDelivery { seq: 5 });
    assert_eq!((rig.state_of(6), is_sent(&rig, 6)), ("retry_at", false));
}
