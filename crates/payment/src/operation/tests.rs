//! Operations carried out against the simulated provider.

use std::path::PathBuf;

use engine::Cause;
use events::{
    id::EventId,
    money::{Currency, Money},
    time::Timestamp,
};
use tempfile::TempDir;

use super::*;
use crate::{
    provider::{ProviderError, Totals},
    simulator::Simulator,
};

const ORDER: &str = "018f4e6a-0000-7000-8000-000000000001";
/// Long enough that an answer which comes at all is never taken for lost.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a test waits for an answer that never comes.
const SHORT: Duration = Duration::from_millis(100);

const HASTE: Patience = Patience {
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(2),
    attempts: 8,
};

/// A provider of its own, gone when the folder is dropped.
struct World {
    folder: TempDir,
    provider: Provider,
}

impl World {
    async fn new(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a private folder");
        let provider = connect(folder.path().join("provider.db"), timeout).await;
        Self { folder, provider }
    }

    /// Another connection to the same provider, as after a restart.
    async fn restarted(&self) -> Provider {
        connect(self.folder.path().join("provider.db"), TIMEOUT).await
    }

    async fn carry_out(&self, request: &Request) -> Outcome {
        carry_out(&self.provider, &HASTE, request, false).await
    }

    /// The provider's own ledger: net, held.
    async fn money(&self) -> (i64, i64) {
        let totals = self.restarted().await.totals(&acme()).await;
        let Totals { net, held } = totals.expect("answers");
        (net, held)
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
    let operation_id = format!("{ORDER}:{}", task.as_str());
    Request { operation_id, shop: acme(), amount: pounds(500), task }
}

fn authorize(payment_method: &str) -> Request {
    request(Task::Authorize { payment_method: payment_method.into() })
}

fn reference() -> String {
    format!("sim_{ORDER}:authorize")
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
    let world = World::new(TIMEOUT).await;
    let broke = authorize("sim:decline:insufficient_funds");
    assert_eq!(world.carry_out(&broke).await, declined("insufficient_funds"));
    let world = World::new(TIMEOUT).await;
    assert_eq!(world.carry_out(&authorize("card")).await, approved());
    assert_eq!(world.carry_out(&capture()).await, approved());
    assert_eq!(world.money().await, (500, 0));
    assert_eq!(world.carry_out(&refund()).await, approved());
    assert_eq!(world.money().await, (0, 0));
}

#[tokio::test]
async fn a_declined_capture_is_an_outcome_and_the_void_follows() {
    let world = World::new(TIMEOUT).await;
    assert_eq!(world.carry_out(&authorize("sim:capture_decline:expired")).await, approved());
    assert_eq!(world.carry_out(&capture()).await, declined("expired"));
    assert_eq!(world.carry_out(&void()).await, approved());
    assert_eq!(world.money().await, (0, 0));
}

#[tokio::test]
async fn after_a_charge_whose_answer_was_never_seen_a_restart_charges_nothing_more() {
    let world = World::new(SHORT).await;
    // The process ends while it waits for the answer.
    let lost = world.provider.perform(&authorize("sim:lost")).await;
    assert_eq!(lost, Err(ProviderError::Timeout));
    let provider = world.restarted().await;
    assert_eq!(carry_out(&provider, &HASTE, &authorize("sim:lost"), true).await, approved());
    let totals = provider.totals(&acme()).await;
    assert_eq!(totals, Ok(Totals { net: 0, held: 500 }), "one charge");
}

#[tokio::test]
async fn after_a_restart_the_provider_is_asked_before_anything_is_charged() {
    let world = World::new(TIMEOUT).await;
    // Without a single attempt, all that can happen is the question.
    let patience = Patience { attempts: 0, ..HASTE };
    let outcome = carry_out(&world.provider, &patience, &authorize("card"), true).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(world.money().await, (0, 0));
}

#[tokio::test]
async fn what_the_provider_never_heard_of_is_asked_for_after_a_restart() {
    let world = World::new(TIMEOUT).await;
    let outcome = carry_out(&world.provider, &HASTE, &authorize("card"), true).await;
    assert_eq!(outcome, approved());
    assert_eq!(world.money().await, (0, 500));
}

#[tokio::test]
async fn the_same_operation_twice_at_once_charges_once() {
    let world = World::new(TIMEOUT).await;
    let request = authorize("card");
    let resumed = carry_out(&world.provider, &HASTE, &request, true);
    assert_eq!(tokio::join!(world.carry_out(&request), resumed), (approved(), approved()));
    assert_eq!(world.money().await, (0, 500));
}

#[tokio::test]
async fn a_lost_answer_is_found_by_asking_and_charged_once() {
    let world = World::new(SHORT).await;
    assert_eq!(world.carry_out(&authorize("sim:lost")).await, approved());
    assert_eq!(world.money().await, (0, 500));
    let world = World::new(SHORT).await;
    assert_eq!(world.carry_out(&authorize("sim:capture_lost")).await, approved());
    assert_eq!(world.carry_out(&capture()).await, approved());
    assert_eq!(world.money().await, (500, 0));
}

#[tokio::test]
async fn an_answer_that_is_too_slow_is_found_by_asking() {
    let world = World::new(SHORT).await;
    assert_eq!(world.carry_out(&authorize("sim:slow:600000")).await, approved());
    assert_eq!(world.money().await, (0, 500));
}

#[tokio::test]
async fn errors_are_tried_again_until_one_attempt_works() {
    let world = World::new(TIMEOUT).await;
    assert_eq!(world.carry_out(&authorize("sim:error:7")).await, approved());
    assert_eq!(world.money().await, (0, 500));
}

#[tokio::test]
async fn an_authorisation_that_never_works_has_failed_and_nothing_is_charged() {
    let world = World::new(TIMEOUT).await;
    let outcome = world.carry_out(&authorize("sim:error:1000")).await;
    let detail = "8 attempts, none of which the provider carried out".to_owned();
    assert_eq!(outcome, Outcome::Failed { detail });
    assert_eq!(world.money().await, (0, 0));
}

#[tokio::test]
async fn money_that_is_promised_or_owed_is_moved_however_often_it_fails() {
    for (method, task) in [("sim:capture_error:30", capture()), ("sim:void_error:30", void())] {
        let world = World::new(TIMEOUT).await;
        assert_eq!(world.carry_out(&authorize(method)).await, approved());
        assert_eq!(world.carry_out(&task).await, approved(), "{method}");
        let net = if task == capture() { 500 } else { 0 };
        assert_eq!(world.money().await, (net, 0), "{method}");
    }
    let world = World::new(TIMEOUT).await;
    assert_eq!(world.carry_out(&authorize("sim:refund_error:30")).await, approved());
    assert_eq!(world.carry_out(&capture()).await, approved());
    assert_eq!(world.carry_out(&refund()).await, approved());
    assert_eq!(world.money().await, (0, 0));
}

#[tokio::test]
async fn while_the_provider_cannot_be_reached_nothing_is_called_a_failure() {
    let world = World::new(TIMEOUT).await;
    assert_eq!(world.carry_out(&authorize("sim:outage:50")).await, approved());
    assert_eq!(world.money().await, (0, 500));
}

#[test]
fn an_announced_operation_and_its_outcome_continue_the_order() {
    let context = Context { correlation_id: "c".into(), traceparent: "t".into() };
    let order_id = OrderId::parse(ORDER).expect("valid");
    let fact = Fact::AuthorizationPending {
        operation_id: format!("{ORDER}:authorize"),
        amount: pounds(500),
        payment_method: "card".into(),
    };
    let recorded = Recorded {
        id: EventId::parse(ORDER).expect("valid"),
        shop: acme(),
        version: 1,
        time: Timestamp::from_millis(0),
        cause: Cause::default(),
        context: context.clone(),
        event: Event { order_id, fact },
    };
    let operation = Operation::announced(&recorded).expect("is pending");
    assert_eq!(operation.request, authorize("card"));
    let local = operation.settled(approved());
    assert_eq!((local.shop, local.aggregate.as_str(), local.context), (acme(), ORDER, context));
    let id = format!("{ORDER}:authorize");
    assert_eq!(local.cause, Cause { id: id.clone(), kind: "operation.authorize".into() });
    let signal = Signal::Settled { operation_id: id, outcome: approved() };
    assert_eq!(local.input, Input { order_id, signal });
}
