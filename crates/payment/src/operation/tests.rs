//! Operations carried out against the simulated provider.

use std::path::PathBuf;

use events::money::{Currency, Money};
use protocol::id::Shop;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{Status, Transaction, TransactionStatus},
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
        let totals = self.restarted().await.totals(&acme()).await;
        let Totals { net, held } = totals.expect("answers");
        (net, held)
    }
}

async fn carry_out(provider: &Provider, request: &Request, may_be_known: bool) -> Outcome {
    let payments = Payments { provider: provider.clone() };
    for number in 1..=MAX_ATTEMPTS {
        let attempt = Attempt { number, may_be_known: may_be_known || number > 1, now: NOW };
        match payments.execute(&operation(request), attempt).await {
            Attempted::Done(input) => return outcome(input),
            Attempted::RetryAt(time) => assert!(time > NOW, "attempt {number} has no pause"),
        }
    }
    panic!("{} is not known after {MAX_ATTEMPTS} attempts", request.operation_id)
}

/// The operation as the engine finds it: by the row that announces it.
fn operation(request: &Request) -> engine::Operation {
    let (status, payment_method, provider_reference) = match request.task.clone() {
        Task::Authorize { payment_method } => {
            (Status::AuthorizationPending, payment_method, String::new())
        }
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
        at_ms: 0,
    };
    let context =
        Context { correlation_id: "c".into(), traceparent: "t".into(), tracestate: String::new() };
    let payment = Payment {
        id,
        status,
        amount: request.amount,
        payment_method,
        provider_reference,
        authorized: 0,
        captured: 0,
        refunded: 0,
        is_cancelled: false,
        transactions: vec![transaction],
        pending: Some(Pending { operation, context }),
    };
    let row = PaymentRow { version: 1, payment };
    engine::Operation {
        id: request.operation_id.clone(),
        shop: request.shop.clone(),
        key: id.to_string(),
        document: serde_json::to_string(&row).expect("serialises"),
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
    let totals = provider.totals(&acme()).await;
    assert_eq!(totals, Ok(Totals { net: 0, held: 500 }), "one charge");
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
    let payments = Payments { provider: simulated.provider.clone() };

    let other = Request { amount: pounds(499), ..authorize("card") };
    let detail = "the provider knows the operation with other parameters".to_owned();
    for may_be_known in [false, true] {
        let attempt = Attempt { number: 1, may_be_known, now: NOW };
        let attempted = payments.execute(&operation(&other), attempt).await;
        let Attempted::Done(input) = attempted else { panic!("is retried") };
        assert_eq!(outcome(input), Outcome::Failed { detail: detail.clone() });

        let other = Request { amount: pounds(499), ..capture() };
        let attempted = payments.execute(&operation(&other), attempt).await;
        let Attempted::RetryAt(time) = attempted else { panic!("has an outcome") };
        assert_eq!(time, NOW + Duration::from_mins(10), "an operator has time to look");
    }
    assert_eq!(simulated.money().await, (500, 0));
}

#[test]
fn pauses_double_up_to_their_limit_and_differ_between_operations() {
    let attempt = |number| Attempt { number, may_be_known: true, now: NOW };
    let pause = |id: &str, number| next_attempt(id, attempt(number)).millis() - NOW.millis();
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

#[tokio::test]
async fn an_outcome_continues_the_order() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let payments = Payments { provider: simulated.provider.clone() };
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
    let settled = Input::Settled { payment_id, operation, outcome: approved() };
    assert_eq!(input.input, settled);
}

#[tokio::test]
async fn a_row_that_announces_no_operation_is_left_to_an_operator() {
    let simulated = TestProvider::new(TIMEOUT).await;
    let payments = Payments { provider: simulated.provider.clone() };
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
