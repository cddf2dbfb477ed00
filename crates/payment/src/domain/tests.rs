//! The rules of payment, given, when, then.

mod one_step;

use engine::{Cause, Context, Recorded};
use events::{
    id::{OrderId, PaymentId},
    money::{Currency, Money},
};
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};

use super::PaymentRows as State;
use super::{decide::decide, *};

const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";
const NOW: Timestamp = Timestamp::from_millis(0);
const DUE_BY: Timestamp = Timestamp::from_millis(600_000);
/// When the provider says that it was.
const ANSWERED_AT: Timestamp = Timestamp::from_millis(NOW.millis() - 250);
const AUTHORIZE: Operation = Operation::first(OperationKind::Authorize);
/// The order's version when it is confirmed.
const CAPTURE: Operation = Operation { kind: OperationKind::Capture, number: 4 };
const VOID: Operation = Operation::first(OperationKind::Void);
const REFUND: Operation = Operation::first(OperationKind::Refund);

fn order_id() -> OrderId {
    OrderId::parse(ORDER).expect("valid")
}

fn first() -> PaymentId {
    PaymentId::first(order_id())
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

// What happens.

fn authorization_pending() -> Fact {
    Fact::AuthorizationPending {
        operation: AUTHORIZE,
        amount: pounds(500),
        payment_method: "card".into(),
        due_by: DUE_BY,
    }
}

fn authorized() -> Fact {
    Fact::Authorized { operation: AUTHORIZE, provider_reference: "p1".into(), amount: pounds(500) }
}

fn declined() -> Fact {
    Fact::Declined { operation: AUTHORIZE, code: "insufficient_funds".into() }
}

fn failed() -> Fact {
    Fact::Failed { operation: AUTHORIZE, detail: "8 attempts".into() }
}

fn capture_pending() -> Fact {
    Fact::CapturePending { operation: CAPTURE, amount: pounds(500) }
}

fn captured() -> Fact {
    taken_by(CAPTURE, 500)
}

fn taken_by(operation: Operation, minor: i64) -> Fact {
    Fact::Captured { operation, amount: pounds(minor), provider_reference: "p1".into() }
}

fn capture_failed() -> Fact {
    Fact::CaptureFailed { operation: CAPTURE, code: "expired".into() }
}

fn void_pending() -> Fact {
    Fact::VoidPending { operation: VOID, amount: pounds(500) }
}

fn voided() -> Fact {
    Fact::Voided { operation: VOID, amount: pounds(500) }
}

fn refund_pending() -> Fact {
    Fact::RefundPending { operation: REFUND, amount: pounds(500), refund: Refund::default() }
}

fn refunded() -> Fact {
    Fact::Refunded { operation: REFUND, amount: pounds(500), refund_id: String::new() }
}

// What comes.

fn payment_due() -> Input {
    payment_due_of(first())
}

fn payment_due_of(payment_id: PaymentId) -> Input {
    payment_due_in(Steps::Authorize, payment_id)
}

fn payment_due_in(steps: Steps, payment_id: PaymentId) -> Input {
    let payment_method = "card".into();
    let (amount, due_by) = (pounds(500), DUE_BY);
    Input::PaymentDue { payment_id, amount, payment_method, due_by, steps, abandoned: None }
}

/// A second payment, which takes the place of the first while that one waits for its customer.
fn replaced_in(steps: Steps) -> Input {
    match payment_due_in(steps, first().next()) {
        Input::PaymentDue { payment_id, amount, payment_method, due_by, .. } => {
            let abandoned = Some(first());
            Input::PaymentDue { payment_id, amount, payment_method, due_by, steps, abandoned }
        }
        other => other,
    }
}

fn confirmed() -> Input {
    Input::Capture { payment_id: first(), number: CAPTURE.number, amount: pounds(500) }
}

fn cancelled() -> Input {
    Input::OrderCancelled { order_id: order_id() }
}

fn settled(operation: Operation, outcome: Outcome) -> Input {
    Input::Settled { payment_id: first(), operation, outcome, occurred_at: Some(ANSWERED_AT) }
}

fn approves(operation: Operation) -> Input {
    settled(operation, Outcome::Approved { provider_reference: "p1".into() })
}

fn declines(operation: Operation, code: &str) -> Input {
    settled(operation, Outcome::Declined { code: code.into() })
}

fn fails(operation: Operation) -> Input {
    settled(operation, Outcome::Failed { detail: "8 attempts".into() })
}

fn silent(operation: Operation, for_long: bool) -> Input {
    settled(operation, Outcome::Silent { for_long })
}

fn settles(resolution: Resolution) -> Input {
    let (reason, operator) = ("called the provider".into(), "ann".into());
    Input::SettledByOperator { payment_id: first(), resolution, reason, operator }
}

fn uncertain(operation: Operation) -> Fact {
    Fact::Uncertain { operation, since: NOW }
}

fn stuck(operation: Operation, reason: StuckReason, detail: &str) -> Fact {
    Fact::Stuck { operation, reason, detail: detail.into(), since: NOW }
}

fn settled_by_operator(operation: Operation, resolution: Resolution) -> Fact {
    let (reason, operator) = ("called the provider".into(), "ann".into());
    Fact::SettledByOperator { operation, amount: pounds(500), resolution, reason, operator }
}

fn fold(payments: &mut State, event: Event) {
    let version = payments.get(&event.payment_id).map_or(0, |row| row.revision.version) + 1;
    let recorded = Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
        shop: Shop::parse("acme").expect("valid"),
        version,
        position: 1,
        actor: None,
        time: NOW,
        cause: Cause::default(),
        context: Context { correlation_id: format!("c{version}"), ..Context::default() },
        event,
    };
    Payments::apply(payments, &recorded);
}

/// An event with a fact; what it says beside that is not looked at when it is folded.
fn event(payment_id: PaymentId, fact: Fact) -> Event {
    let none = pounds(0);
    let after = After {
        provider_reference: String::new(),
        authorized: none,
        captured: none,
        refunded: none,
    };
    Event { payment_id, fact, after, occurred_at: None }
}

fn history(facts: &[Fact]) -> State {
    let mut payments = State::default();
    for fact in facts {
        fold(&mut payments, event(first(), fact.clone()));
    }
    payments
}

/// What follows; each event says what the payment is like after it.
fn handle(payments: &mut State, input: &Input) -> Vec<Event> {
    let events = decide(payments, input, NOW).events;
    for event in &events {
        fold(payments, event.clone());
        assert_eq!(event.after, payment_of(payments, event.payment_id).after(), "{event:?}");
    }
    events
}

fn facts(events: &[Event]) -> Vec<Fact> {
    events.iter().map(|event| event.fact.clone()).collect()
}

fn payment_of(payments: &State, payment_id: PaymentId) -> &Payment {
    &payments.get(&payment_id).expect("has a payment").payment
}

fn answer(given: &[Fact], input: &Input) -> Option<Answer> {
    decide(&history(given), input, NOW).answer
}

fn pending(payments: &State) -> Option<Operation> {
    Some(payments.get(&first())?.payment.pending.as_ref()?.operation)
}

/// Given what happened, when the input comes, then these facts follow; and when it comes again,
/// nothing does. Yields the payments as they are then.
#[track_caller]
fn check(given: &[Fact], when: &Input, then: &[Fact]) -> State {
    let mut payments = history(given);
    assert_eq!(facts(&handle(&mut payments, when)), then);
    assert_eq!(facts(&handle(&mut payments, when)), [], "the same again");
    payments
}

/// Every history that a payment can have, by the facts that lead there.
fn histories() -> Vec<Vec<Fact>> {
    let pending = vec![authorization_pending()];
    let granted = [&pending[..], &[authorized()]].concat();
    let taking = [&granted[..], &[capture_pending()]].concat();
    let taken = [&taking[..], &[captured()]].concat();
    let not_taken = [&taking[..], &[capture_failed()]].concat();
    let letting_go = [&granted[..], &[Fact::CancelRequested, void_pending()]].concat();
    let paying_back = [&taken[..], &[Fact::CancelRequested, refund_pending()]].concat();
    vec![
        vec![],
        pending.clone(),
        [&pending[..], &[Fact::CancelRequested]].concat(),
        [&pending[..], &[declined()]].concat(),
        [&pending[..], &[failed()]].concat(),
        granted,
        [&taking[..], &[Fact::CancelRequested]].concat(),
        taking,
        taken,
        not_taken,
        [&letting_go[..], &[voided()]].concat(),
        letting_go,
        [&paying_back[..], &[refunded()]].concat(),
        paying_back,
        vec![authorization_pending(), uncertain(AUTHORIZE)],
        vec![authorization_pending(), uncertain(AUTHORIZE), Fact::CancelRequested],
        capture_stuck(),
        void_stuck(),
        refund_stuck(),
        vec![authorization_pending(), action_required()],
        [self::taken(), vec![part_pending("R1", 1, 200)]].concat(),
        [self::taken(), vec![part_pending("R1", 1, 200), part_requested("R2", 100)]].concat(),
        vec![authorization_pending(), authorized(), capturing(2, 100), capture_requested(3, 50)],
        one_step::charging(),
        [one_step::charging(), vec![Fact::CancelRequested]].concat(),
        [one_step::charging(), vec![uncertain(one_step::CHARGE)]].concat(),
        one_step::charged(),
    ]
}

fn capture_stuck() -> Vec<Fact> {
    let no_answer = stuck(CAPTURE, StuckReason::NoAnswer, "");
    vec![authorization_pending(), authorized(), capture_pending(), uncertain(CAPTURE), no_answer]
}

fn void_stuck() -> Vec<Fact> {
    let refused = stuck(VOID, StuckReason::Refused, "unknown_authorization");
    vec![authorization_pending(), authorized(), Fact::CancelRequested, void_pending(), refused]
}

fn refund_stuck() -> Vec<Fact> {
    let refused = stuck(REFUND, StuckReason::Refused, "account_closed");
    let taken = vec![authorization_pending(), authorized(), capture_pending(), captured()];
    [taken, vec![Fact::CancelRequested, refund_pending(), refused]].concat()
}

fn action_required() -> Fact {
    let url = "https://bank.example/confirm".to_owned();
    Fact::ActionRequired { operation: AUTHORIZE, url, data: String::new(), expires_at: DUE_BY }
}

fn taken() -> Vec<Fact> {
    vec![authorization_pending(), authorized(), capture_pending(), captured()]
}

fn capturing(number: u32, minor: i64) -> Fact {
    let operation = Operation { kind: OperationKind::Capture, number };
    Fact::CapturePending { operation, amount: pounds(minor) }
}

fn capture_requested(number: u32, minor: i64) -> Fact {
    let operation = Operation { kind: OperationKind::Capture, number };
    Fact::CaptureRequested { operation, amount: pounds(minor) }
}

fn part_captured(number: u32, minor: i64) -> Fact {
    let operation = Operation { kind: OperationKind::Capture, number };
    taken_by(operation, minor)
}

fn part(id: &str) -> Refund {
    Refund { id: id.into(), reason: "came broken".into() }
}

fn part_pending(id: &str, number: u32, minor: i64) -> Fact {
    let operation = Operation { kind: OperationKind::Refund, number };
    Fact::RefundPending { operation, amount: pounds(minor), refund: part(id) }
}

fn part_requested(id: &str, minor: i64) -> Fact {
    Fact::RefundRequested { amount: pounds(minor), refund: part(id) }
}

fn part_refunded(id: &str, number: u32, minor: i64) -> Fact {
    let operation = Operation { kind: OperationKind::Refund, number };
    Fact::Refunded { operation, amount: pounds(minor), refund_id: id.into() }
}

fn refund_of(id: &str, minor: i64) -> Input {
    let (order_id, amount, refund) = (order_id(), pounds(minor), part(id));
    Input::Refund { order_id, payment_id: None, amount, refund }
}

fn capture_of(number: u32, minor: i64) -> Input {
    Input::Capture { payment_id: first(), number, amount: pounds(minor) }
}

#[test]
fn what_is_authorised_is_captured_in_parts_one_after_the_other() {
    let given = [authorization_pending(), authorized()];
    check(&given, &capture_of(2, 100), &[capturing(2, 100)]);
    let given = [&given[..], &[capturing(2, 100)]].concat();
    check(&given, &capture_of(3, 50), &[capture_requested(3, 50)]);
    let given = [&given[..], &[capture_requested(3, 50)]].concat();
    let part = Operation { kind: OperationKind::Capture, number: 2 };
    let then = [part_captured(2, 100), capturing(3, 50)];
    let payments = check(&given, &approves(part), &then);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.captured, payment.held(), payment.wanted.len()), (100, 400, 0));
    // What was only requested is not captured once the order is cancelled.
    let given = [&given[..], &[Fact::CancelRequested]].concat();
    let void = Fact::VoidPending { operation: VOID, amount: pounds(400) };
    check(&given, &approves(part), &[part_captured(2, 100), void]);
}

#[test]
fn what_is_captured_is_refunded_in_parts_and_never_more_than_that() {
    check(&taken(), &refund_of("R1", 200), &[part_pending("R1", 1, 200)]);
    let given = [taken(), vec![part_pending("R1", 1, 200)]].concat();
    check(&given, &refund_of("R2", 100), &[part_requested("R2", 100)]);
    let given = [given, vec![part_requested("R2", 100)]].concat();
    let first_part = Operation { kind: OperationKind::Refund, number: 1 };
    let then = [part_refunded("R1", 1, 200), part_pending("R2", 2, 100)];
    check(&given, &approves(first_part), &then);

    let accepted = Some(RefundAnswer::Accepted { payment_id: first() }.into());
    assert_eq!(answer(&given, &refund_of("R3", 200)), accepted, "the rest");
    assert_eq!(answer(&given, &refund_of("R2", 100)), accepted, "the same again");
    let refundable = pounds(200);
    let too_large = RefundAnswer::TooLarge { payment_id: first(), refundable };
    assert_eq!(answer(&given, &refund_of("R3", 201)), Some(too_large.into()));
    assert_eq!(answer(&given, &refund_of("R3", 0)), Some(too_large.into()));
    let euros = Money { minor: 1, currency: Currency::parse("EUR").expect("valid") };
    let in_euros = Input::Refund {
        order_id: order_id(),
        payment_id: Some(first()),
        amount: euros,
        refund: part("R3"),
    };
    assert_eq!(answer(&given, &in_euros), Some(too_large.into()));
    let nothing = Some(RefundAnswer::NotFound.into());
    assert_eq!(answer(&[], &refund_of("R1", 1)), nothing);
    assert_eq!(answer(&[authorization_pending(), authorized()], &refund_of("R1", 1)), nothing);
}

#[test]
fn a_payment_has_no_more_refunds_than_the_maximum() {
    let mut payments = history(&taken());
    let names: Vec<_> = (1..=MAX_REFUNDS).map(|number| format!("R{number}")).collect();
    for name in &names {
        assert_eq!(handle(&mut payments, &refund_of(name, 1)).len(), 1, "{name}");
    }
    let next = decide(&payments, &refund_of("one more", 1), NOW);
    let too_large = RefundAnswer::TooLarge { payment_id: first(), refundable: pounds(0) };
    assert_eq!((next.events, next.answer), (vec![], Some(too_large.into())));
    // One that is known is accepted as before, and a cancellation gives back what is left.
    let accepted = RefundAnswer::Accepted { payment_id: first() };
    let again = decide(&payments, &refund_of(&names[0], 1), NOW);
    assert_eq!(again.answer, Some(accepted.into()));
    handle(&mut payments, &cancelled());
    let rest = facts(&handle(&mut payments, &approves(REFUND)));
    let operation = Operation { kind: OperationKind::Refund, number: 2 };
    let (amount, refund) = (pounds(499), Refund::default());
    let whole = Fact::RefundPending { operation, amount, refund };
    assert_eq!(rest, [part_refunded("R1", 1, 1), whole]);
}

#[test]
fn a_cancelled_order_gets_back_what_no_refund_has_paid_back() {
    let given = [taken(), vec![part_pending("R1", 1, 200)]].concat();
    check(&given, &cancelled(), &[Fact::CancelRequested]);
    let given = [given, vec![Fact::CancelRequested]].concat();
    let first_part = Operation { kind: OperationKind::Refund, number: 1 };
    let rest = Fact::RefundPending {
        operation: Operation { kind: OperationKind::Refund, number: 2 },
        amount: pounds(300),
        refund: Refund::default(),
    };
    check(&given, &approves(first_part), &[part_refunded("R1", 1, 200), rest]);
    let none = RefundAnswer::TooLarge { payment_id: first(), refundable: pounds(0) };
    assert_eq!(answer(&given, &refund_of("R2", 1)), Some(none.into()));
}

#[test]
fn an_action_of_the_customer_is_a_state_with_what_the_client_needs() {
    let Fact::ActionRequired { url, data, expires_at, .. } = action_required() else {
        panic!("is an action")
    };
    let asks = settled(AUTHORIZE, Outcome::ActionRequired { url, data, expires_at });
    let payments = check(&[authorization_pending()], &asks, &[action_required()]);
    let payment = payment_of(&payments, first());
    assert_eq!(payment.status, Status::ActionRequired);
    assert!(payment.action.is_some() && payment.pending_id().is_some(), "it is looked up on");
    let given = [authorization_pending(), action_required()];
    let payments = check(&given, &approves(AUTHORIZE), &[authorized()]);
    assert_eq!(payment_of(&payments, first()).action, None);
    check(&given, &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
    check(&given, &cancelled(), &[Fact::CancelRequested]);
}

#[test]
fn an_action_of_the_customer_expires_with_the_payment_at_the_latest() {
    let Fact::ActionRequired { url, data, .. } = action_required() else { panic!("is an action") };
    let expires_at = Timestamp::from_millis(DUE_BY.millis() + 1);
    let asks = settled(AUTHORIZE, Outcome::ActionRequired { url, data, expires_at });
    check(&[authorization_pending()], &asks, &[action_required()]);
}

#[test]
fn what_ships_before_a_payment_is_authorised_is_captured_once_it_is() {
    let requested = Fact::CaptureRequested { operation: CAPTURE, amount: pounds(500) };
    let given = [authorization_pending(), requested];
    check(&given[..1], &confirmed(), &given[1..]);
    check(&given, &approves(AUTHORIZE), &[authorized(), capture_pending()]);
    check(&[authorization_pending(), declined()], &confirmed(), &[]);
}

fn differs(kind: DifferenceKind, operation: Operation, amount: Money) -> Input {
    let (payment_id, provider_reference) = (first(), "p1".to_owned());
    let occurred_at = Some(ANSWERED_AT);
    let listed = Listed { payment_id, operation, amount, provider_reference, occurred_at };
    Input::Differs { kind, listed }
}

fn turns_up(operation: Operation) -> Input {
    differs(DifferenceKind::UnknownToUs, operation, pounds(500))
}

#[test]
fn what_the_provider_says_happened_when_it_says_and_what_follows_has_no_such_time() {
    let times = |given: &[Fact], when: &Input| {
        let events = handle(&mut history(given), when);
        events.iter().map(|event| event.occurred_at).collect::<Vec<_>>()
    };
    let pending = [authorization_pending()];
    let cancelled = [authorization_pending(), Fact::CancelRequested];
    assert_eq!(times(&pending, &approves(AUTHORIZE)), [Some(ANSWERED_AT)]);
    assert_eq!(times(&pending, &declines(AUTHORIZE, "no")), [Some(ANSWERED_AT)]);
    assert_eq!(times(&cancelled, &approves(AUTHORIZE)), [Some(ANSWERED_AT), None]);
    assert_eq!(times(&[], &turns_up(AUTHORIZE)), [Some(ANSWERED_AT), None]);
    assert_eq!(times(&[authorization_pending(), authorized()], &confirmed()), [None]);
}

#[test]
fn what_turns_up_at_the_provider_is_given_back() {
    let turned_up = |operation| Fact::TurnedUp {
        operation,
        amount: pounds(500),
        provider_reference: "p1".into(),
    };
    let then = [turned_up(AUTHORIZE), void_pending()];
    check(&[], &turns_up(AUTHORIZE), &then);
    check(&[authorization_pending(), failed()], &turns_up(AUTHORIZE), &then);
    let not_taken = [authorization_pending(), authorized(), capture_pending(), capture_failed()];
    let then = [turned_up(CAPTURE), refund_pending()];
    check(&not_taken, &turns_up(CAPTURE), &then);
    // What is pending is looked up, and what is known is known.
    check(&[authorization_pending()], &turns_up(AUTHORIZE), &[]);
    check(&[authorization_pending(), authorized()], &turns_up(AUTHORIZE), &[]);
    let given = [turned_up(AUTHORIZE), void_pending()];
    check(&given, &turns_up(AUTHORIZE), &[]);
}

/// A payment that has paid 200 for what has shipped; a further 100 could not be captured, and the rest was
/// let go.
fn paid_in_part() -> Vec<Fact> {
    let operation = Operation { kind: OperationKind::Capture, number: 6 };
    vec![
        authorization_pending(),
        authorized(),
        capturing(5, 200),
        part_captured(5, 200),
        capturing(6, 100),
        Fact::CaptureFailed { operation, code: GIVEN_UP.into() },
        Fact::VoidPending { operation: VOID, amount: pounds(300) },
        Fact::Voided { operation: VOID, amount: pounds(300) },
    ]
}

/// The provider lists the capture of 100 that could not be captured by our log.
fn late_capture() -> (Input, Fact) {
    let operation = Operation { kind: OperationKind::Capture, number: 6 };
    let provider_reference = "p1".into();
    let turned_up = Fact::TurnedUp { operation, amount: pounds(100), provider_reference };
    (differs(DifferenceKind::UnknownToUs, operation, pounds(100)), turned_up)
}

#[test]
fn a_capture_that_turns_up_is_given_back_and_what_the_order_has_paid_is_not() {
    let (lists, turned_up) = late_capture();
    let refund = Refund::default();
    let back = Fact::RefundPending { operation: REFUND, amount: pounds(100), refund };
    let mut payments = check(&paid_in_part(), &lists, &[turned_up, back]);
    let refunded =
        Fact::Refunded { operation: REFUND, amount: pounds(100), refund_id: String::new() };
    assert_eq!(facts(&handle(&mut payments, &approves(REFUND))), [refunded]);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.kept(), payment.refundable(), payment.surplus), (200, 200, 0));
    assert_eq!((payment.authorized, payment.held()), (300, 0), "it was not let go");
    // The merchant may refund what the order has paid, and a cancellation gives back the rest of it.
    let events = handle(&mut payments, &refund_of("R1", 150));
    assert_eq!(facts(&events), [part_pending("R1", 2, 150)]);
    handle(&mut payments, &approves(Operation { kind: OperationKind::Refund, number: 2 }));
    let events = handle(&mut payments, &cancelled());
    let operation = Operation { kind: OperationKind::Refund, number: 3 };
    let refund = Refund::default();
    let rest = Fact::RefundPending { operation, amount: pounds(50), refund };
    assert_eq!(facts(&events), [Fact::CancelRequested, rest]);
}

#[test]
fn a_capture_that_turns_up_was_not_held_when_that_was_given_up() {
    let (lists, _) = late_capture();
    let mut given = paid_in_part();
    given.pop();
    let mut payments = history(&given);
    handle(&mut payments, &silent(VOID, true));
    handle(&mut payments, &settles(Resolution::GiveUp));
    assert_eq!(payment_of(&payments, first()).given_up_hold, 300);
    handle(&mut payments, &lists);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.authorized, payment.held(), payment.given_up_hold), (500, 0, 200));
}

#[test]
fn a_capture_that_turns_up_during_a_refund_is_given_back_after_it() {
    let (lists, turned_up) = late_capture();
    let given = [paid_in_part(), vec![part_pending("R1", 1, 150)]].concat();
    let mut payments = check(&given, &lists, &[turned_up]);
    assert_eq!(payment_of(&payments, first()).refundable(), 50);
    let operation = Operation { kind: OperationKind::Refund, number: 2 };
    let (amount, refund) = (pounds(100), Refund::default());
    let back = Fact::RefundPending { operation, amount, refund };
    let events = handle(&mut payments, &approves(REFUND));
    assert_eq!(facts(&events), [part_refunded("R1", 1, 150), back]);
    assert_eq!(payment_of(&payments, first()).refundable(), 50);
}

#[test]
fn an_operator_settles_that_what_turned_up_is_not_given_back() {
    let (lists, _) = late_capture();
    let mut payments = history(&paid_in_part());
    handle(&mut payments, &lists);
    handle(&mut payments, &declines(REFUND, "account_closed"));
    handle(&mut payments, &settles(Resolution::Retry));
    let again = Operation { kind: OperationKind::Refund, number: 2 };
    assert_eq!(pending(&payments), Some(again));
    let payment = payment_of(&payments, first());
    assert_eq!((payment.surplus, payment.refundable()), (0, 200));
    handle(&mut payments, &declines(again, "account_closed"));
    handle(&mut payments, &settles(Resolution::GiveUp));
    let payment = payment_of(&payments, first());
    assert_eq!((pending(&payments), payment.refundable()), (None, 200), "it is left, and not paid");
}

#[test]
fn a_difference_that_giving_back_does_not_mend_is_for_an_operator() {
    let found = |operation, reason, detail| [stuck(operation, reason, detail)];
    let held = [authorization_pending(), authorized()];
    // Money that the provider has given back, and a payment of which we know nothing.
    let unknown = found(VOID, StuckReason::UnknownToUs, "5.00 GBP");
    check(&held, &turns_up(VOID), &unknown);
    check(&[], &turns_up(VOID), &unknown);
    let euros = Money { minor: 500, currency: Currency::parse("EUR").expect("valid") };
    let in_euros = differs(DifferenceKind::UnknownToUs, CAPTURE, euros);
    check(&held, &in_euros, &found(CAPTURE, StuckReason::UnknownToUs, "5.00 EUR"));

    let missing = differs(DifferenceKind::UnknownToProvider, AUTHORIZE, pounds(500));
    let missing_found = found(AUTHORIZE, StuckReason::UnknownToProvider, "");
    let payments = check(&held, &missing, &missing_found);
    let payment = payment_of(&payments, first());
    assert_eq!(payment.pending_id(), None, "nothing is asked of the provider for it");
    let trouble = Trouble::Stuck(StuckReason::UnknownToProvider);
    assert_eq!(payment.open_trouble(), Some(trouble));
    let given = [&held[..], &missing_found].concat();
    check(&given, &missing, &[]);
    // What is pending or was not done is expected of nobody.
    check(&held[..1], &missing, &[]);
    check(&[], &missing, &[]);

    let differing = differs(DifferenceKind::AmountDiffers, AUTHORIZE, pounds(499));
    check(&held, &differing, &found(AUTHORIZE, StuckReason::AmountDiffers, "4.99 GBP"));
    check(&held, &differs(DifferenceKind::AmountDiffers, AUTHORIZE, pounds(500)), &[]);
}

#[test]
fn a_difference_is_settled_by_an_operator_who_has_put_it_right() {
    let stuck = stuck(AUTHORIZE, StuckReason::UnknownToProvider, "");
    let given = [authorization_pending(), authorized(), stuck];
    let then = [settled_by_operator(AUTHORIZE, Resolution::DoneElsewhere)];
    let payments = check(&given, &settles(Resolution::DoneElsewhere), &then);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.open_trouble(), payment.held()), (None, 500), "it is as it was");
    check(&given, &settles(Resolution::Retry), &[]);
    check(&given, &settles(Resolution::GiveUp), &[]);
    // The payment goes on meanwhile.
    check(&given, &cancelled(), &[Fact::CancelRequested, void_pending()]);
}

/// The operator gives up what is pending, and the provider has done it.
fn given_up_and_done(payments: &mut State, operation: Operation, minor: i64) {
    handle(payments, &silent(operation, true));
    handle(payments, &settles(Resolution::GiveUp));
    let listed = differs(DifferenceKind::UnknownToUs, operation, pounds(minor));
    let detail = pounds(minor).to_string();
    let found = facts(&handle(payments, &listed));
    assert_eq!(found, [stuck(operation, StuckReason::UnknownToUs, &detail)]);
}

#[test]
fn a_refund_that_was_given_up_and_is_done_counts_when_the_operator_says_so() {
    let mut payments = history(&[taken(), vec![part_pending("R1", 1, 150)]].concat());
    given_up_and_done(&mut payments, REFUND, 150);
    assert_eq!(payment_of(&payments, first()).refundable(), 500);
    handle(&mut payments, &refund_of("R2", 100));
    let events = handle(&mut payments, &settles(Resolution::DoneElsewhere));
    assert_eq!(facts(&events)[1..], [part_refunded("R1", 1, 150)]);
    // What is pending meanwhile stays so.
    let second = Operation { kind: OperationKind::Refund, number: 2 };
    assert_eq!(pending(&payments), Some(second));
    handle(&mut payments, &approves(second));
    let payment = payment_of(&payments, first());
    assert_eq!((payment.refunded, payment.refundable(), payment.open_trouble()), (250, 250, None));
    // The provider's list and our log agree.
    let listed = differs(DifferenceKind::UnknownToUs, REFUND, pounds(150));
    assert_eq!(facts(&handle(&mut payments, &listed)), []);
}

#[test]
fn what_was_given_up_for_a_cancelled_order_and_is_done_is_given_up_no_longer() {
    let letting_go = void_stuck();
    let mut payments = history(&letting_go[..letting_go.len() - 1]);
    given_up_and_done(&mut payments, VOID, 500);
    let events = handle(&mut payments, &settles(Resolution::DoneElsewhere));
    assert_eq!(facts(&events)[1..], [voided()]);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.authorized, payment.held(), payment.given_up_hold), (0, 0, 0));

    let paying_back = refund_stuck();
    let mut payments = history(&paying_back[..paying_back.len() - 1]);
    given_up_and_done(&mut payments, REFUND, 500);
    let events = handle(&mut payments, &settles(Resolution::DoneElsewhere));
    assert_eq!(facts(&events)[1..], [refunded()]);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.refunded, payment.kept(), payment.given_up_refund), (500, 0, 0));
}

#[test]
fn a_later_payment_takes_the_place_of_an_earlier_one() {
    let second = first().next();
    let mut payments = history(&[authorization_pending(), uncertain(AUTHORIZE)]);
    let events = handle(&mut payments, &payment_due_of(second));
    assert_eq!(facts(&events), [Fact::CancelRequested, authorization_pending()]);
    assert_eq!(events.iter().map(|it| it.payment_id).collect::<Vec<_>>(), [first(), second]);
    // What turns up late of the first is given back.
    let late = facts(&handle(&mut payments, &approves(AUTHORIZE)));
    assert_eq!(late, [authorized(), void_pending()]);
}

#[test]
fn what_an_earlier_payment_has_taken_stays_with_the_order() {
    let taken = [authorization_pending(), authorized(), capture_pending(), captured()];
    let mut payments = history(&taken);
    let events = handle(&mut payments, &payment_due_of(first().next()));
    assert_eq!(facts(&events), [authorization_pending()]);
}

/// What both payments of the order have taken and not paid back, and what they have set aside.
fn kept_and_held(payments: &State) -> (i64, i64) {
    let both = [first(), first().next()].map(|id| payment_of(payments, id));
    (both.iter().map(|it| it.kept()).sum(), both.iter().map(|it| it.held()).sum())
}

fn of_second(input: Input) -> Input {
    match input {
        Input::Settled { operation, outcome, occurred_at, .. } => {
            let payment_id = first().next();
            Input::Settled { payment_id, operation, outcome, occurred_at }
        }
        Input::Capture { number, amount, .. } => {
            Input::Capture { payment_id: first().next(), number, amount }
        }
        other => other,
    }
}

/// The second payment is authorised, and captured as far as the provider is asked to.
fn second_is_paid(payments: &mut State) {
    handle(payments, &of_second(approves(AUTHORIZE)));
    handle(payments, &of_second(confirmed()));
    handle(payments, &of_second(approves(CAPTURE)));
}

#[test]
fn an_abandoned_payment_that_is_authorised_late_is_voided_beside_the_one_in_its_place() {
    let waits = [authorization_pending(), action_required()];
    for is_first_late in [true, false] {
        let mut payments = history(&waits);
        let events = handle(&mut payments, &replaced_in(Steps::Authorize));
        assert_eq!(facts(&events), [Fact::CancelRequested, authorization_pending()]);
        if is_first_late {
            second_is_paid(&mut payments);
        }
        let late = facts(&handle(&mut payments, &approves(AUTHORIZE)));
        assert_eq!(late, [authorized(), void_pending()]);
        handle(&mut payments, &approves(VOID));
        if !is_first_late {
            second_is_paid(&mut payments);
        }
        assert_eq!(kept_and_held(&payments), (500, 0));
    }
    // Its customer may have confirmed it before the second one is read.
    let granted = [&waits[..], &[authorized()]].concat();
    let mut payments = history(&granted);
    let events = handle(&mut payments, &replaced_in(Steps::Authorize));
    let expected = [Fact::CancelRequested, void_pending(), authorization_pending()];
    assert_eq!(facts(&events), expected);
}

#[test]
fn what_an_abandoned_payment_has_captured_is_refunded() {
    let at_once = Fact::CaptureRequested { operation: CAPTURE, amount: pounds(500) };
    let waits = [authorization_pending(), at_once, action_required()];
    let taking = [&waits[..], &[authorized(), capture_pending()]].concat();
    let taken = [&taking[..], &[captured()]].concat();
    let at_once = Steps::AuthorizeAndCapture(pounds(500));
    let begun = [
        authorization_pending(),
        Fact::CaptureRequested {
            operation: Operation::first(OperationKind::Capture),
            amount: pounds(500),
        },
    ];
    let mut payments = history(&waits);
    let events = handle(&mut payments, &replaced_in(at_once));
    assert_eq!(facts(&events), [&[Fact::CancelRequested], &begun[..]].concat());
    let late = facts(&handle(&mut payments, &approves(AUTHORIZE)));
    assert_eq!(late, [authorized(), void_pending()], "nothing is captured of it");

    let mut payments = history(&taking);
    handle(&mut payments, &replaced_in(at_once));
    let late = facts(&handle(&mut payments, &approves(CAPTURE)));
    assert_eq!(late, [captured(), refund_pending()]);

    let mut payments = history(&taken);
    let events = handle(&mut payments, &replaced_in(at_once));
    let given_back = [Fact::CancelRequested, refund_pending()];
    assert_eq!(facts(&events), [&given_back[..], &begun[..]].concat());
    handle(&mut payments, &approves(REFUND));
    handle(&mut payments, &of_second(approves(AUTHORIZE)));
    let capture = Operation::first(OperationKind::Capture);
    handle(&mut payments, &of_second(approves(capture)));
    assert_eq!(kept_and_held(&payments), (500, 0));
}

#[test]
fn a_payment_may_be_captured_as_soon_as_it_is_authorised() {
    let at_once = payment_due_in(Steps::AuthorizeAndCapture(pounds(300)), first());
    let capture = Operation::first(OperationKind::Capture);
    let requested = Fact::CaptureRequested { operation: capture, amount: pounds(300) };
    let given = [authorization_pending(), requested];
    check(&[], &at_once, &given);
    let begun = Fact::CapturePending { operation: capture, amount: pounds(300) };
    check(&given, &approves(AUTHORIZE), &[authorized(), begun]);
    // Of what is not authorised, nothing is captured.
    check(&given, &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
    check(&given, &fails(AUTHORIZE), &[failed()]);
    check(&given, &cancelled(), &[Fact::CancelRequested]);
}

#[test]
fn silence_is_uncertain_and_never_a_failure() {
    let given = [authorization_pending()];
    check(&given, &silent(AUTHORIZE, false), &[uncertain(AUTHORIZE)]);
    let given = [authorization_pending(), uncertain(AUTHORIZE)];
    check(&given, &approves(AUTHORIZE), &[authorized()]);
    check(&given, &cancelled(), &[Fact::CancelRequested]);
    let given = [&given[..], &[Fact::CancelRequested]].concat();
    check(&given, &approves(AUTHORIZE), &[authorized(), void_pending()]);
    check(&given, &fails(AUTHORIZE), &[failed()]);
}

#[test]
fn silence_for_long_is_for_an_operator() {
    let given = [authorization_pending(), authorized(), capture_pending(), uncertain(CAPTURE)];
    let payments =
        check(&given, &silent(CAPTURE, true), &[stuck(CAPTURE, StuckReason::NoAnswer, "")]);
    let payment = payment_of(&payments, first());
    let id = format!("{ORDER}-1:capture-4~2");
    assert_eq!(payment.pending_id(), Some(id), "it is asked for now and then");
    check(&capture_stuck(), &approves(CAPTURE), &[captured()]);
}

#[test]
fn money_that_the_provider_refuses_to_give_back_is_for_an_operator() {
    for (given, operation, code) in
        [(void_stuck(), VOID, "unknown_authorization"), (refund_stuck(), REFUND, "account_closed")]
    {
        let (last, given) = given.split_last().expect("is stuck");
        let payments = check(given, &declines(operation, code), std::slice::from_ref(last));
        let payment = payment_of(&payments, first());
        assert_eq!(payment.pending_id(), None, "the provider would say the same again");
        assert_eq!(payment.trouble(), Some(Trouble::Stuck(StuckReason::Refused)));
    }
}

#[test]
fn an_operator_lets_it_be_tried_again() {
    let second = |kind| Operation { kind, number: 2 };
    let void = second(OperationKind::Void);
    let again = Fact::VoidPending { operation: void, amount: pounds(500) };
    check_settled(&void_stuck(), Resolution::Retry, VOID, &[again]);
    let refund = second(OperationKind::Refund);
    let (amount, whole) = (pounds(500), Refund::default());
    let again = Fact::RefundPending { operation: refund, amount, refund: whole };
    check_settled(&refund_stuck(), Resolution::Retry, REFUND, &[again]);
    let payments = check_settled(&capture_stuck(), Resolution::Retry, CAPTURE, &[]);
    let id = format!("{ORDER}-1:capture-4~3");
    assert_eq!(payment_of(&payments, first()).pending_id(), Some(id), "under the same key");
}

#[test]
fn an_operator_says_that_it_was_done_elsewhere() {
    check_settled(&capture_stuck(), Resolution::DoneElsewhere, CAPTURE, &[captured()]);
    check_settled(&void_stuck(), Resolution::DoneElsewhere, VOID, &[voided()]);
    check_settled(&refund_stuck(), Resolution::DoneElsewhere, REFUND, &[refunded()]);
}

#[test]
fn an_operator_gives_it_up() {
    let refused = Fact::CaptureFailed { operation: CAPTURE, code: "given_up".into() };
    check_settled(&capture_stuck(), Resolution::GiveUp, CAPTURE, &[refused, void_pending()]);
    for (given, operation) in [(void_stuck(), VOID), (refund_stuck(), REFUND)] {
        let mut payments = check_settled(&given, Resolution::GiveUp, operation, &[]);
        let payment = payment_of(&payments, first());
        assert_eq!((payment.held(), payment.kept()), (0, 0));
        assert_eq!(facts(&handle(&mut payments, &cancelled())), [], "it is over");
    }
}

/// What follows when an operator settles what is stuck, after the fact that he did.
#[track_caller]
fn check_settled(
    given: &[Fact],
    resolution: Resolution,
    operation: Operation,
    then: &[Fact],
) -> State {
    let mut payments = history(given);
    let settled = decide(&payments, &settles(resolution), NOW);
    let answer = SettleAnswer::Settled { payment_id: first(), operation };
    assert_eq!(settled.answer, Some(answer.into()));
    let expected = [&[settled_by_operator(operation, resolution)], then].concat();
    assert_eq!(facts(&settled.events), expected);
    handle(&mut payments, &settles(resolution));
    payments
}

#[test]
fn what_is_on_its_way_is_not_for_an_operator() {
    let not_stuck = Some(SettleAnswer::NotStuck.into());
    assert_eq!(answer(&[authorization_pending()], &settles(Resolution::GiveUp)), not_stuck);
    let over = [authorization_pending(), declined()];
    assert_eq!(answer(&over, &settles(Resolution::Retry)), not_stuck);
    let not_found = Some(SettleAnswer::NotFound.into());
    assert_eq!(answer(&[], &settles(Resolution::Retry)), not_found);
    let unknown = [authorization_pending(), uncertain(AUTHORIZE)];
    let not_applicable = Some(SettleAnswer::NotApplicable.into());
    assert_eq!(answer(&unknown, &settles(Resolution::DoneElsewhere)), not_applicable);
}

#[test]
fn what_the_order_has_no_use_for_is_only_looked_up() {
    let from = |given: &[Fact]| payment_of(&history(given), first()).look_up_only_from();
    assert_eq!(from(&[authorization_pending()]), Some(DUE_BY));
    assert_eq!(from(&[authorization_pending(), Fact::CancelRequested]), Some(NOW));
    let taking = [authorization_pending(), authorized(), capture_pending()];
    assert_eq!(from(&taking), None);
    assert_eq!(from(&[&taking[..], &[Fact::CancelRequested]].concat()), Some(NOW));
    assert_eq!(from(&void_stuck()[..4]), None, "what is owed is given back, whatever happens");
}

#[test]
fn payment_due_begins_the_authorisation() {
    check(&[], &payment_due(), &[authorization_pending()]);
}

#[test]
fn an_approval_authorises() {
    check(&[authorization_pending()], &approves(AUTHORIZE), &[authorized()]);
}

#[test]
fn a_refusal_declines() {
    check(&[authorization_pending()], &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
}

#[test]
fn an_authorisation_that_certainly_did_not_happen_has_failed() {
    check(&[authorization_pending()], &fails(AUTHORIZE), &[failed()]);
}

#[test]
fn confirmed_begins_the_capture() {
    check(&[authorization_pending(), authorized()], &confirmed(), &[capture_pending()]);
}

#[test]
fn an_approved_capture_is_captured() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    let payments = check(&given, &approves(CAPTURE), &[captured()]);
    let row = payments.get(&first()).expect("has a payment");
    let Payment { authorized, captured, refunded, pending, .. } = &row.payment;
    assert_eq!((authorized, captured, refunded, row.revision.version), (&500, &500, &0, 4));
    assert_eq!(*pending, None);
}

#[test]
fn a_refused_capture_has_failed() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    // What is set aside is let go: nobody would ask for it any more.
    let then = [capture_failed(), void_pending()];
    let payments = check(&given, &declines(CAPTURE, "expired"), &then);
    assert!(!payment_of(&payments, first()).is_cancelled());
}

#[test]
fn what_is_being_let_go_is_not_captured_any_more() {
    let given = [authorization_pending(), authorized(), capture_pending(), capture_failed()];
    let given = [&given[..], &[void_pending()]].concat();
    let later = Input::Capture { payment_id: first(), number: 9, amount: pounds(100) };
    check(&given, &later, &[]);
    check(&[&given[..], &[voided()]].concat(), &later, &[]);
}

#[test]
fn what_is_left_when_a_part_cannot_be_captured_is_let_go_though_another_part_was_wanted() {
    let part = |number| Operation { kind: OperationKind::Capture, number };
    let (one, two, three) = (part(5), part(6), part(7));
    let pending = |operation, amount| Fact::CapturePending { operation, amount: pounds(amount) };
    let requested =
        |operation, amount| Fact::CaptureRequested { operation, amount: pounds(amount) };
    let refused = |operation| Fact::CaptureFailed { operation, code: "expired".into() };
    let given = [
        authorization_pending(),
        authorized(),
        pending(one, 200),
        taken_by(one, 200),
        pending(two, 100),
        requested(three, 50),
    ];
    // Another payment may be started for what is not captured: nothing more is taken by this one.
    let rest = Fact::VoidPending { operation: VOID, amount: pounds(300) };
    check(&given, &declines(two, "expired"), &[refused(two), rest.clone()]);
    let given = [&given[..], &[refused(two), rest]].concat();
    let again = Input::Capture { payment_id: first(), number: 7, amount: pounds(50) };
    check(&given, &again, &[]);
}

#[test]
fn nothing_more_is_captured_during_a_refund_when_a_part_could_not_be() {
    let operation = Operation { kind: OperationKind::Capture, number: 6 };
    let given = [
        authorization_pending(),
        authorized(),
        capturing(5, 200),
        part_captured(5, 200),
        capturing(6, 100),
        part_requested("R1", 50),
    ];
    let refused = Fact::CaptureFailed { operation, code: "expired".into() };
    let then = [refused, part_pending("R1", 1, 50)];
    let mut payments = check(&given, &declines(operation, "expired"), &then);
    // The order has shipped another part before it heard of that.
    assert_eq!(facts(&handle(&mut payments, &capture_of(7, 300))), []);
    let rest = Fact::VoidPending { operation: VOID, amount: pounds(300) };
    let events = handle(&mut payments, &approves(REFUND));
    assert_eq!(facts(&events), [part_refunded("R1", 1, 50), rest]);
}

#[test]
fn an_order_that_is_cancelled_before_its_payment_has_none() {
    check(&[], &cancelled(), &[]);
}

#[test]
fn what_is_authorised_is_voided_when_the_order_is_cancelled() {
    let then = [Fact::CancelRequested, void_pending()];
    check(&[authorization_pending(), authorized()], &cancelled(), &then);
}

#[test]
fn a_cancellation_during_the_authorisation_is_remembered() {
    check(&[authorization_pending()], &cancelled(), &[Fact::CancelRequested]);
}

#[test]
fn an_authorisation_that_arrives_after_the_cancel_is_voided() {
    check(
        &[authorization_pending(), Fact::CancelRequested],
        &approves(AUTHORIZE),
        &[authorized(), void_pending()],
    );
}

#[test]
fn a_refusal_that_arrives_after_the_cancel_leaves_nothing_to_do() {
    let given = [authorization_pending(), Fact::CancelRequested];
    check(&given, &declines(AUTHORIZE, "insufficient_funds"), &[declined()]);
    check(&given, &fails(AUTHORIZE), &[failed()]);
}

#[test]
fn a_cancellation_during_the_capture_is_remembered() {
    let given = [authorization_pending(), authorized(), capture_pending()];
    check(&given, &cancelled(), &[Fact::CancelRequested]);
}

#[test]
fn a_capture_that_arrives_after_the_cancel_is_refunded() {
    let given = [authorization_pending(), authorized(), capture_pending(), Fact::CancelRequested];
    check(&given, &approves(CAPTURE), &[captured(), refund_pending()]);
}

#[test]
fn a_capture_that_is_refused_after_the_cancel_is_voided() {
    let given = [authorization_pending(), authorized(), capture_pending(), Fact::CancelRequested];
    check(&given, &declines(CAPTURE, "expired"), &[capture_failed(), void_pending()]);
}

#[test]
fn what_is_captured_is_refunded_when_the_order_is_cancelled() {
    let given = [authorization_pending(), authorized(), capture_pending(), captured()];
    check(&given, &cancelled(), &[Fact::CancelRequested, refund_pending()]);
}

#[test]
fn what_could_not_be_captured_is_voided_when_the_order_is_cancelled() {
    let given = [authorization_pending(), authorized(), capture_pending(), capture_failed()];
    check(&given, &cancelled(), &[Fact::CancelRequested, void_pending()]);
}

#[test]
fn where_nothing_is_taken_or_set_aside_cancelling_does_nothing() {
    check(&[authorization_pending(), declined()], &cancelled(), &[]);
    check(&[authorization_pending(), failed()], &cancelled(), &[]);
}

#[test]
fn an_approved_void_is_voided() {
    let given = [authorization_pending(), authorized(), void_pending()];
    check(&given, &approves(VOID), &[voided()]);
    let after_a_late_authorisation =
        [authorization_pending(), Fact::CancelRequested, authorized(), void_pending()];
    check(&after_a_late_authorisation, &approves(VOID), &[voided()]);
}

#[test]
fn an_approved_refund_is_refunded() {
    let given =
        [authorization_pending(), authorized(), capture_pending(), captured(), refund_pending()];
    let payments = check(&given, &approves(REFUND), &[refunded()]);
    let payment = payment_of(&payments, first());
    assert_eq!((payment.authorized, payment.captured, payment.refunded), (500, 500, 500));
}

#[test]
fn what_is_captured_in_part_is_voided_and_refunded_when_the_order_is_cancelled() {
    let part = Input::Capture { payment_id: first(), number: 4, amount: pounds(450) };
    let pending = Fact::CapturePending { operation: CAPTURE, amount: pounds(450) };
    let taken = taken_by(CAPTURE, 450);
    let void = Fact::VoidPending { operation: VOID, amount: pounds(50) };
    let let_go = Fact::Voided { operation: VOID, amount: pounds(50) };
    let whole = Refund::default();
    let refund = Fact::RefundPending { operation: REFUND, amount: pounds(450), refund: whole };
    let given = [authorization_pending(), authorized()];
    check(&given, &part, std::slice::from_ref(&pending));
    let given = [&given[..], &[pending]].concat();
    check(&given, &approves(CAPTURE), std::slice::from_ref(&taken));
    let given = [&given[..], &[taken]].concat();
    check(&given, &cancelled(), &[Fact::CancelRequested, void.clone()]);
    let given = [&given[..], &[Fact::CancelRequested, void]].concat();
    let payments = check(&given, &approves(VOID), &[let_go, refund]);
    assert_eq!(payment_of(&payments, first()).authorized, 450);
}

#[test]
fn every_payment_of_a_cancelled_order_is_given_back() {
    let second = first().next();
    let mut payments = history(&[authorization_pending(), declined()]);
    let due = facts(&handle(&mut payments, &payment_due_of(second)));
    assert_eq!(due, [authorization_pending()], "the first has ended, the second begins");
    fold(&mut payments, event(second, authorized()));
    let events = handle(&mut payments, &cancelled());
    assert_eq!(facts(&events), [Fact::CancelRequested, void_pending()]);
    assert!(events.iter().all(|event| event.payment_id == second), "{events:?}");
    assert_eq!(payment_of(&payments, first()).status, Status::Declined);
}

#[test]
fn the_outcome_of_an_operation_that_is_not_pending_changes_nothing() {
    for given in histories() {
        let mut payments = history(&given);
        let pending = pending(&payments);
        for operation in [AUTHORIZE, CAPTURE, VOID, REFUND] {
            if pending == Some(operation) {
                continue;
            }
            for input in [approves(operation), declines(operation, "expired"), fails(operation)] {
                let events = handle(&mut payments, &input);
                assert_eq!(events, [], "{input:?} after {given:?}");
            }
        }
    }
}

#[test]
fn every_input_twice_has_the_effect_of_one_whatever_the_status() {
    let inputs = [
        payment_due(),
        confirmed(),
        cancelled(),
        approves(AUTHORIZE),
        declines(AUTHORIZE, "insufficient_funds"),
        fails(AUTHORIZE),
        approves(CAPTURE),
        declines(CAPTURE, "expired"),
        approves(VOID),
        approves(REFUND),
    ];
    for given in histories() {
        for input in &inputs {
            let mut payments = history(&given);
            handle(&mut payments, input);
            let again = handle(&mut payments, input);
            assert_eq!(again, [], "{input:?} twice after {given:?}");
        }
    }
}

#[test]
fn after_a_cancellation_no_money_stays_whatever_the_provider_answers() {
    for given in histories() {
        let mut payments = history(&given);
        handle(&mut payments, &cancelled());
        // The provider approves whatever it is asked: what was pending, and what that leads to.
        for _ in 0..4 {
            let Some(pending) = pending(&payments) else { break };
            if payment_of(&payments, first()).pending_id().is_none() {
                handle(&mut payments, &settles(Resolution::Retry));
                continue;
            }
            handle(&mut payments, &approves(pending));
        }
        let Some(PaymentRow { payment, .. }) = payments.get(&first()) else {
            assert_eq!(given, [], "has no payment");
            continue;
        };
        let sums = (payment.held(), payment.kept(), payment.pending.is_none());
        assert_eq!(sums, (0, 0, true), "after {given:?}");
    }
}

#[test]
fn a_pending_operation_keeps_what_it_continues() {
    let payments = history(&[authorization_pending(), authorized(), capture_pending()]);
    let pending = payment_of(&payments, first()).pending.as_ref().expect("is pending");
    assert_eq!(pending.operation, CAPTURE);
    assert_eq!(pending.context.correlation_id, "c3", "of the event that announced it");
}

#[test]
fn a_status_reads_alike_in_the_document_and_in_its_column() {
    for given in histories() {
        let payments = history(&given);
        let Some(PaymentRow { payment, .. }) = payments.get(&first()) else { continue };
        let status = serde_json::to_value(payment.status).expect("serialises");
        assert_eq!(status, payment.status.as_str());
    }
}

#[test]
fn an_operation_has_one_name() {
    for (name, operation) in
        [("authorize", AUTHORIZE), ("capture-4", CAPTURE), ("void", VOID), ("refund-1", REFUND)]
    {
        assert_eq!(operation.to_string(), name);
        assert_eq!(Operation::parse(name), Ok(operation));
    }
    let second = Operation { kind: OperationKind::Void, number: 2 };
    let id = format!("{ORDER}-1:void-2");
    assert_eq!(second.id(first()), id);
    assert_eq!(Operation::parse_id(&id), Ok((first(), second)));
    for wrong in ["", "capture", "void-1", "refund-01", "pay", "authorize-"] {
        assert!(Operation::parse(wrong).is_err(), "{wrong:?}");
    }
}
