//! Operations carried out against the simulated provider.

use std::path::PathBuf;

use events::money::{Currency, Money};
use protocol::id::Shop;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{Action, Refund, Status, StuckReason, Transaction, TransactionStatus},
    provider::Totals,
    simulator::Simulator,
};

const PAYMENT: &str = "018f4e6a-0000-7000-8000-000000000001-1";
/// Long enough that an answer which comes at all is never taken for lost.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a test waits for an answer that never comes.
const SHORT: Duration = Duration::from_millis(100);

const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);
/// More attempts than any operation of these tests needs.
const MAX_ATTEMPTS: u32 = 200;

/// A provider of its own, gone when the folder is dropped.
struct TestProvider {
    folder: TempDir,
    provider: Provider,
}

impl TestProvider {
    async fn new(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a private folder");
        let provider = connect(folder.path().join("provider.db"), timeout).await;
        Self { folder, provider }
    }

    /// Another connection to the same provider, as after a restart.
    async fn restarted(&self) -> Provider {
        connect(self.folder.path().join("provider.db"), TIMEOUT).await
    }

    /// Makes attempts until the outcome is known, as the engine does, without its pauses.
    async fn carry_out(&self, request: &Request) -> Outcome {
        carry_out(&self.provider, request, false).await
    }

    /// The provider's own ledger: net, held.
    async fn money(&self) -> (i64, i64) {
        money(&self.restarted().await).await
    }
}

/// What a provider's ledger says of the only currency: net, held.
async fn money(provider: &Provider) -> (i64, i64) {
    let totals = provider.totals(&acme()).await.expect("answers");
    assert!(totals.len() <= 1, "{totals:?}");
    totals.first().map_or((0, 0), |Totals { net, held }| (net.minor, held.minor))
}

const POLICY: LookupPolicy = LookupPolicy {
    lookup_interval: Duration::from_secs(30),
    late_window: Duration::from_mins(15),
    stuck_after: Duration::from_hours(1),
};

fn payments(provider: &Provider) -> Payments {
    Payments { provider: provider.clone(), policy: POLICY }
}

/// Makes attempts until the outcome is certain; in between the operation becomes uncertain, as often as
/// the provider is silent.
async fn carry_out(provider: &Provider, request: &Request, may_be_known: bool) -> Outcome {
    let (mut number, mut trouble) = (0, None);
    for _ in 0..MAX_ATTEMPTS {
        number += 1;
        let attempt = Attempt { number, may_be_known: may_be_known || number > 1, now: NOW };
        match payments(provider).execute(&operation_in(request, trouble), attempt).await {
            Attempted::Done(input) => match outcome(input) {
                Outcome::Silent { for_long } => {
                    assert!(!for_long, "it is not even a moment old");
                    (number, trouble) = (0, Some(Trouble::Uncertain));
                }
                outcome => return outcome,
            },
            Attempted::RetryAt(time) => assert!(time > NOW, "attempt {number} has no pause"),
        }
    }
    panic!("{} is not known after {MAX_ATTEMPTS} attempts", request.operation_id)
}

/// The operation as the engine finds it: by the row that announces it.
fn operation(request: &Request) -> engine::Operation {
    operation_in(request, None)
}

fn operation_in(request: &Request, trouble: Option<Trouble>) -> engine::Operation {
    announced(payment_of(request, trouble), request)
}

fn announced(payment: Payment, request: &Request) -> engine::Operation {
    engine::Operation {
        id: payment.pending_id().expect("is carried out"),
        shop: request.shop.clone(),
        key: payment.id.to_string(),
        document: serde_json::to_string(&PaymentRow { revision: (1, 1).into(), payment })
            .expect("serialises"),
        live: engine::LiveRow::default(),
    }
}

fn payment_of(request: &Request, trouble: Option<Trouble>) -> Payment {
    let (status, payment_method, provider_reference) = match request.task.clone() {
        Task::Authorize { payment_method } => {
            (Status::AuthorizationPending, payment_method, String::new())
        }
        Task::Charge { payment_method } => (Status::ChargePending, payment_method, String::new()),
        Task::Capture { provider_reference } => {
            (Status::CapturePending, "card".into(), provider_reference)
        }
        Task::Void { provider_reference } => {
            (Status::VoidPending, "card".into(), provider_reference)
        }
        Task::Refund { provider_reference } => {
            (Status::RefundPending, "card".into(), provider_reference)
        }
    };
    let (id, operation) = Operation::parse_id(&request.operation_id).expect("valid");
    let transaction = Transaction {
        operation,
        amount: request.amount.minor,
        status: TransactionStatus::Pending,
        detail: String::new(),
        at_ms: NOW.millis(),
        ended_at_ms: None,
        refund: Refund::default(),
    };
    let context =
        Context { correlation_id: "c".into(), traceparent: "t".into(), tracestate: String::new() };
    let round = i64::from(trouble.is_some());
    Payment {
        id,
        status,
        amount: request.amount,
        payment_method,
        provider_reference,
        authorized: 0,
        captured: 0,
        refunded: 0,
        due_by_ms: i64::MAX,
        cancelled_at_ms: None,
        given_up_hold: 0,
        surplus: 0,
        given_up_refund: 0,
        action: None,
        transactions: vec![transaction],
        wanted: vec![],
        pending: Some(Pending { operation, context, round, trouble }),
        differences: vec![],
        changed_at_ms: NOW.millis(),
    }
}

fn outcome(input: InternalInput<Input>) -> Outcome {
    match input.input {
        Input::Settled { outcome, .. } => outcome,
        other => panic!("{other:?} says nothing of an outcome"),
    }
}

async fn connect(file: PathBuf, timeout: Duration) -> Provider {
    let simulator = Simulator::open(&file, Duration::ZERO).await.expect("opens");
    Provider::new(simulator, timeout)
}

fn acme() -> Shop {
    Shop::parse("acme").expect("valid")
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn request(task: Task) -> Request {
    let name = match task {
        Task::Authorize { .. } => "authorize",
        Task::Charge { .. } => "charge",
        Task::Capture { .. } => "capture-4",
        Task::Void { .. } => "void",
        Task::Refund { .. } => "refund-1",
    };
    let operation_id = format!("{PAYMENT}:{name}");
    Request { operation_id, shop: acme(), amount: pounds(500), task }
}

fn authorize(payment_method: &str) -> Request {
    request(Task::Authorize { payment_method: payment_method.into() })
}

fn charge(payment_method: &str) -> Request {
    request(Task::Charge { payment_method: payment_method.into() })
}

fn charged() -> Outcome {
    Outcome::Approved { provider_reference: format!("sim_{PAYMENT}:charge") }
}

fn reference() -> String {
    format!("sim_{PAYMENT}:authorize")
}

fn capture() -> Request {
    request(Task::Capture { provider_reference: reference() })
}

fn void() -> Request {
    request(Task::Void { provider_reference: reference() })
}

fn refund() -> Request {
    request(Task::Refund { provider_reference: reference() })
}

fn approved() -> Outcome {
    Outcome::Approved { provider_reference: reference() }
}

fn declined(code: &str) -> Outcome {
    Outcome::Declined { code: code.into() }
}

#[tokio::test]
async fn an_answer_is_the_outcome() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let broke = authorize("sim:decline:insufficient_funds");
    assert_eq!(simulated.carry_out(&broke).await, declined("insufficient_funds"));
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("card")).await, approved());
    assert_eq!(simulated.carry_out(&capture()).await, approved());
    assert_eq!(simulated.money().await, (500, 0));
    assert_eq!(simulated.carry_out(&refund()).await, approved());
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn a_charge_takes_the_money_in_one_step_and_once() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let broke = charge("sim:charge_decline:insufficient_funds");
    assert_eq!(simulated.carry_out(&broke).await, declined("insufficient_funds"));
    assert_eq!(simulated.money().await, (0, 0));
    for method in ["ideal", "sim:error:7", "sim:charge_outage:50"] {
        let simulated = TestProvider::new(TIMEOUT).await;
        assert_eq!(simulated.carry_out(&charge(method)).await, charged(), "{method}");
        assert_eq!(simulated.carry_out(&charge(method)).await, charged(), "{method}");
        assert_eq!(simulated.money().await, (500, 0), "{method}");
    }
    let simulated = TestProvider::new(SHORT).await;
    assert_eq!(simulated.carry_out(&charge("sim:charge_lost")).await, charged());
    assert_eq!(simulated.money().await, (500, 0));
}

#[tokio::test]
async fn a_charge_that_never_works_has_failed_and_nothing_is_taken() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let outcome = simulated.carry_out(&charge("sim:charge_error:1000")).await;
    let detail = "8 attempts, none of which the provider carried out".to_owned();
    assert_eq!(outcome, Outcome::Failed { detail });
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn a_declined_capture_is_an_outcome_and_the_void_follows() {
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:capture_decline:expired")).await, approved());
    assert_eq!(simulated.carry_out(&capture()).await, declined("expired"));
    assert_eq!(simulated.carry_out(&void()).await, approved());
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn after_a_charge_whose_answer_was_never_seen_a_restart_charges_nothing_more() {
    let simulated = TestProvider::new(SHORT).await;
    // The process ends while it waits for the answer.
    let lost = simulated.provider.perform(&authorize("sim:lost")).await;
    assert_eq!(lost, Err(ProviderError::Timeout));
    let provider = simulated.restarted().await;
    assert_eq!(carry_out(&provider, &authorize("sim:lost"), true).await, approved());
    assert_eq!(money(&provider).await, (0, 500), "one charge");
}

#[tokio::test]
async fn what_the_provider_never_heard_of_is_asked_for_after_a_restart() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let outcome = carry_out(&simulated.provider, &authorize("card"), true).await;
    assert_eq!(outcome, approved());
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn the_same_operation_twice_at_once_charges_once() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let request = authorize("card");
    let resumed = carry_out(&simulated.provider, &request, true);
    assert_eq!(tokio::join!(simulated.carry_out(&request), resumed), (approved(), approved()));
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn a_lost_answer_is_found_by_asking_and_charged_once() {
    let simulated = TestProvider::new(SHORT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:lost")).await, approved());
    assert_eq!(simulated.money().await, (0, 500));
    let simulated = TestProvider::new(SHORT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:capture_lost")).await, approved());
    assert_eq!(simulated.carry_out(&capture()).await, approved());
    assert_eq!(simulated.money().await, (500, 0));
}

#[tokio::test]
async fn an_answer_that_is_too_slow_is_found_by_asking() {
    let simulated = TestProvider::new(SHORT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:slow:600000")).await, approved());
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn errors_are_tried_again_until_one_attempt_works() {
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:error:7")).await, approved());
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn an_authorisation_that_never_works_has_failed_and_nothing_is_charged() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let outcome = simulated.carry_out(&authorize("sim:error:1000")).await;
    let detail = "8 attempts, none of which the provider carried out".to_owned();
    assert_eq!(outcome, Outcome::Failed { detail });
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn money_that_is_promised_or_owed_is_moved_however_often_it_fails() {
    for (method, task) in [("sim:capture_error:30", capture()), ("sim:void_error:30", void())] {
        let simulated = TestProvider::new(TIMEOUT).await;
        assert_eq!(simulated.carry_out(&authorize(method)).await, approved());
        assert_eq!(simulated.carry_out(&task).await, approved(), "{method}");
        let net = if task == capture() { 500 } else { 0 };
        assert_eq!(simulated.money().await, (net, 0), "{method}");
    }
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:refund_error:30")).await, approved());
    assert_eq!(simulated.carry_out(&capture()).await, approved());
    assert_eq!(simulated.carry_out(&refund()).await, approved());
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn while_the_provider_cannot_be_reached_nothing_is_called_a_failure() {
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("sim:outage:50")).await, approved());
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn an_operation_that_the_provider_knows_with_other_parameters_is_not_retried_for_ever() {
    let simulated = TestProvider::new(TIMEOUT).await;
    assert_eq!(simulated.carry_out(&authorize("card")).await, approved());
    assert_eq!(simulated.carry_out(&capture()).await, approved());
    let payments = payments(&simulated.provider);

    let other = Request { amount: pounds(499), ..authorize("card") };
    for may_be_known in [false, true] {
        let attempt = Attempt { number: 1, may_be_known, now: NOW };
        let attempted = payments.execute(&operation(&other), attempt).await;
        let Attempted::Done(input) = attempted else { panic!("is retried") };
        assert_eq!(outcome(input), Outcome::Conflict);

        let other = Request { amount: pounds(499), ..capture() };
        let attempted = payments.execute(&operation(&other), attempt).await;
        let Attempted::Done(input) = attempted else { panic!("is retried") };
        assert_eq!(outcome(input), Outcome::Conflict);
    }
    assert_eq!(simulated.money().await, (500, 0));
}

#[test]
fn pauses_double_up_to_their_limit_and_differ_between_operations() {
    let attempt = |number| Attempt { number, may_be_known: true, now: NOW };
    let pause_in = |id: &str, number, trouble| {
        next_attempt(id, attempt(number), trouble, &POLICY).millis() - NOW.millis()
    };
    let pause = |id: &str, number| pause_in(id, number, None);
    for (number, trouble, whole) in [
        (1, Trouble::Uncertain, 30_000),
        (2, Trouble::Uncertain, 60_000),
        (9, Trouble::Uncertain, 480_000),
        (1, Trouble::Stuck(StuckReason::NoAnswer), 480_000),
    ] {
        let pause = pause_in("a", number, Some(trouble));
        assert!((whole * 3 / 4..=whole * 5 / 4).contains(&pause), "{number}: {pause}");
    }
    for (number, whole) in
        [(1, 50), (2, 100), (3, 200), (8, 6_400), (11, 30_000), (u32::MAX, 30_000)]
    {
        for id in ["a", "b", "c"] {
            let pause = pause(id, number);
            assert!((whole * 3 / 4..=whole * 5 / 4).contains(&pause), "{number}: {pause}");
        }
    }
    assert_eq!(pause("a", 8), pause("a", 8));
    let pauses: std::collections::BTreeSet<_> =
        (0..20).map(|id: u32| pause(&id.to_string(), 8)).collect();
    assert!(pauses.len() > 10, "{pauses:?}");
}

/// Makes one attempt at an authorisation whose order was cancelled at `NOW`.
async fn of_a_cancelled_order(
    provider: &Provider,
    request: &Request,
    may_be_known: bool,
    now: Timestamp,
) -> Attempted<Input> {
    let cancelled = Payment { cancelled_at_ms: Some(NOW.millis()), ..payment_of(request, None) };
    let attempt = Attempt { number: 1, may_be_known, now };
    payments(provider).execute(&announced(cancelled, request), attempt).await
}

#[tokio::test]
async fn what_the_order_has_no_use_for_is_not_asked_for() {
    for request in [authorize("card"), charge("ideal")] {
        let simulated = TestProvider::new(TIMEOUT).await;
        let never_asked = of_a_cancelled_order(&simulated.provider, &request, false, NOW).await;
        let Attempted::Done(input) = never_asked else { panic!("is certain") };
        assert!(matches!(outcome(input), Outcome::Failed { .. }));

        // A call may be on its way that the provider has not carried out yet.
        let perhaps_asked = of_a_cancelled_order(&simulated.provider, &request, true, NOW).await;
        let Attempted::RetryAt(time) = perhaps_asked else { panic!("is not certain") };
        assert!(NOW < time && time <= NOW + POLICY.late_window, "{time}");
        let later = NOW + POLICY.late_window;
        let never_done = of_a_cancelled_order(&simulated.provider, &request, true, later).await;
        let Attempted::Done(input) = never_done else { panic!("is certain by now") };
        assert!(matches!(outcome(input), Outcome::Failed { .. }));
        assert_eq!(simulated.money().await, (0, 0), "the provider was never asked");
    }
}

#[tokio::test]
async fn what_the_provider_did_before_the_order_was_cancelled_is_found() {
    let simulated = TestProvider::new(SHORT).await;
    let request = authorize("sim:lost");
    let lost = simulated.provider.perform(&request).await;
    assert_eq!(lost, Err(ProviderError::Timeout));
    let found = of_a_cancelled_order(&simulated.provider, &request, true, NOW).await;
    let Attempted::Done(input) = found else { panic!("is known") };
    assert_eq!(outcome(input), approved());
}

#[tokio::test]
async fn an_authorisation_that_is_overdue_is_not_asked_for() {
    for request in [authorize("card"), charge("ideal")] {
        is_not_asked_for_when_it_is_overdue(&request).await;
    }
}

async fn is_not_asked_for_when_it_is_overdue(request: &Request) {
    let simulated = TestProvider::new(TIMEOUT).await;
    let overdue = Payment { due_by_ms: NOW.millis(), ..payment_of(request, None) };
    let attempt = Attempt { number: 1, may_be_known: false, now: NOW };
    let provider = &simulated.provider;
    let attempted = payments(provider).execute(&announced(overdue, request), attempt).await;
    let Attempted::Done(input) = attempted else { panic!("is certain") };
    assert!(matches!(outcome(input), Outcome::Failed { .. }));
    assert_eq!(simulated.money().await, (0, 0));
}

#[tokio::test]
async fn an_authorisation_that_needs_the_customer_is_looked_up_until_he_has_done_it() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let request = authorize("sim:action:2");
    let attempt = Attempt { number: 1, may_be_known: false, now: NOW };
    let asked = payments(&simulated.provider).execute(&operation(&request), attempt).await;
    let Attempted::Done(input) = asked else { panic!("is told") };
    let Outcome::ActionRequired { url, data, expires_at } = outcome(input) else {
        panic!("is told to do something")
    };
    assert!(url.starts_with("https://"), "{url}");
    assert_eq!(simulated.money().await, (0, 0));

    let action = Some(Action { url, data, expires_at_ms: expires_at.millis() });
    let announced = announced(Payment { action, ..payment_of(&request, None) }, &request);
    let lookup = async || payments(&simulated.provider).execute(&announced, attempt).await;
    assert!(matches!(lookup().await, Attempted::RetryAt(time) if time > NOW));
    let Attempted::Done(input) = lookup().await else { panic!("he has done it") };
    assert_eq!(outcome(input), approved());
    assert_eq!(simulated.money().await, (0, 500));
}

#[tokio::test]
async fn an_operation_without_an_answer_is_uncertain_and_after_long_stuck() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let request = authorize("sim:outage:1000");
    let attempt = async |number, trouble, now| {
        let attempt = Attempt { number, may_be_known: true, now };
        let operation = operation_in(&request, trouble);
        match payments(&simulated.provider).execute(&operation, attempt).await {
            Attempted::Done(input) => Some(outcome(input)),
            Attempted::RetryAt(_) => None,
        }
    };
    assert_eq!(attempt(7, None, NOW).await, None);
    assert_eq!(attempt(8, None, NOW).await, Some(Outcome::Silent { for_long: false }));
    let uncertain = Some(Trouble::Uncertain);
    assert_eq!(attempt(20, uncertain, NOW).await, None);
    let later = NOW + POLICY.stuck_after;
    let for_long = Some(Outcome::Silent { for_long: true });
    assert_eq!(attempt(20, uncertain, later).await, for_long);
    let stuck = Some(Trouble::Stuck(StuckReason::NoAnswer));
    assert_eq!(attempt(20, stuck, later).await, None, "it is looked up on");
}

#[tokio::test]
async fn an_outcome_continues_the_order() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let payments = payments(&simulated.provider);
    let attempt = Attempt { number: 1, may_be_known: false, now: NOW };
    let attempted = payments.execute(&operation(&authorize("card")), attempt).await;
    let Attempted::Done(input) = attempted else { panic!("has no outcome") };
    let context =
        Context { correlation_id: "c".into(), traceparent: "t".into(), tracestate: String::new() };
    assert_eq!((input.shop, input.aggregate.as_str(), input.context), (acme(), PAYMENT, context));
    let id = format!("{PAYMENT}:authorize");
    assert_eq!(input.cause, Cause { id, kind: "operation.authorize".into() });
    let payment_id = PaymentId::parse(PAYMENT).expect("valid");
    let operation = Operation::first(OperationKind::Authorize);
    let listed = simulated.provider.listed(&acme(), &[input.cause.id]).await.expect("answers");
    let occurred_at = Some(listed[0].at);
    let settled = Input::Settled { payment_id, operation, outcome: approved(), occurred_at };
    assert_eq!(input.input, settled);
}

#[tokio::test]
async fn a_row_that_announces_no_operation_is_left_to_an_operator() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let payments = payments(&simulated.provider);
    let attempt = Attempt { number: 1, may_be_known: true, now: NOW };
    let announced = operation(&authorize("card"));
    for operation in [
        engine::Operation { id: "another".into(), ..announced.clone() },
        engine::Operation { document: "{}".into(), ..announced },
    ] {
        let attempted = payments.execute(&operation, attempt).await;
        assert!(matches!(attempted, Attempted::RetryAt(_)), "{attempted:?}");
    }
    assert_eq!(simulated.money().await, (0, 0));
    assert_eq!(payments.destination(&operation(&authorize("card"))), "provider simulator");
}
