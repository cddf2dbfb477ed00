//! The simulated provider, with its ledger in a file.

use std::path::PathBuf;

use events::money::{Currency, Money};
use protocol::id::Shop;
use tempfile::TempDir;

use super::*;
use crate::provider::{Answer, Provider, Task};

/// Long enough that an answer which comes at all is never taken for lost.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a test waits for an answer that never comes.
const SHORT: Duration = Duration::from_millis(100);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a private folder");
    let file = folder.path().join("provider.db");
    (folder, file)
}

async fn simulator(file: &Path) -> Simulator {
    Simulator::open(file, Duration::ZERO).await.expect("opens")
}

async fn provider(file: &Path) -> Provider {
    Provider::new(simulator(file).await, TIMEOUT)
}

/// The same connection twice: one that gives up soon, and one that does not.
async fn hasty_and_patient(file: &Path) -> (Provider, Provider) {
    let simulator = simulator(file).await;
    (Provider::new(simulator.clone(), SHORT), Provider::new(simulator, TIMEOUT))
}

fn acme() -> Shop {
    Shop::parse("acme").expect("valid")
}

fn pounds(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").expect("valid") }
}

fn request(order: &str, minor: i64, task: Task) -> Request {
    let operation_id = format!("{order}:{}", task.as_str());
    Request { operation_id, shop: acme(), amount: pounds(minor), task }
}

fn authorize(order: &str, minor: i64, payment_method: &str) -> Request {
    request(order, minor, Task::Authorize { payment_method: payment_method.into() })
}

fn capture(order: &str, minor: i64) -> Request {
    request(order, minor, Task::Capture { provider_reference: reference(order) })
}

fn void(order: &str, minor: i64) -> Request {
    request(order, minor, Task::Void { provider_reference: reference(order) })
}

fn refund(order: &str, minor: i64) -> Request {
    request(order, minor, Task::Refund { provider_reference: reference(order) })
}

fn reference(order: &str) -> String {
    format!("sim_{order}:authorize")
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what the provider answers")]
fn approved(order: &str) -> Result<Answer, ProviderError> {
    Ok(Answer::Approved { provider_reference: reference(order) })
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what the provider answers")]
fn declined(code: &str) -> Result<Answer, ProviderError> {
    Ok(Answer::Declined { code: code.into() })
}

/// What a provider answers; when it was so is left out.
async fn perform(provider: &Provider, request: &Request) -> Result<Answer, ProviderError> {
    Ok(provider.perform(request).await?.answer)
}

/// What a provider says of a request; when it was so is left out.
async fn find(provider: &Provider, request: &Request) -> Result<Option<Answer>, ProviderError> {
    Ok(provider.find(request).await?.map(|found| found.answer))
}

/// What the provider's ledger says of the shop: net, held.
async fn money(provider: &Provider) -> (i64, i64) {
    let totals = provider.totals(&acme()).await.expect("answers");
    match totals[..] {
        [] => (0, 0),
        [Totals { net, held }] => {
            assert_eq!((net, held), (pounds(net.minor), pounds(held.minor)));
            (net.minor, held.minor)
        }
        _ => panic!("there are other currencies: {totals:?}"),
    }
}

#[tokio::test]
async fn money_is_set_aside_taken_paid_back_or_let_go() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(money(&provider).await, (0, 0));
    assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
    assert_eq!(perform(&provider, &authorize("b", 300, "card")).await, approved("b"));
    assert_eq!(money(&provider).await, (0, 800));
    assert_eq!(perform(&provider, &capture("a", 500)).await, approved("a"));
    assert_eq!(money(&provider).await, (500, 300));
    assert_eq!(perform(&provider, &void("b", 300)).await, approved("b"));
    assert_eq!(money(&provider).await, (500, 0));
    assert_eq!(perform(&provider, &refund("a", 500)).await, approved("a"));
    assert_eq!(money(&provider).await, (0, 0));
}

#[tokio::test]
async fn money_is_taken_in_one_step_and_paid_back() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let charge = request("a", 500, Task::Charge { payment_method: "ideal".into() });
    let reference = "sim_a:charge".to_owned();
    let taken = Ok(Answer::Approved { provider_reference: reference.clone() });
    for _ in 0..2 {
        assert_eq!(perform(&provider, &charge).await, taken);
    }
    assert_eq!(money(&provider).await, (500, 0));
    let other = Request { amount: pounds(501), ..charge.clone() };
    assert_eq!(perform(&provider, &other).await, Err(ProviderError::KeyReused));
    let listed = listed(&provider, None).await;
    let shown: Vec<_> =
        listed.iter().map(|it| (&*it.task, it.amount, &*it.provider_reference)).collect();
    assert_eq!(shown, [("charge", pounds(500), &*reference)]);
    let of_charge = |task| request("a", 500, task);
    let capture = of_charge(Task::Capture { provider_reference: reference.clone() });
    assert_eq!(perform(&provider, &capture).await, declined("captured_already"));
    let refund = of_charge(Task::Refund { provider_reference: reference.clone() });
    assert_eq!(perform(&provider, &refund).await, taken);
    assert_eq!(money(&provider).await, (0, 0));
}

#[tokio::test]
async fn the_same_key_has_one_effect_and_one_answer() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    for _ in 0..3 {
        assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
        assert_eq!(perform(&provider, &authorize("d", 1, "sim:decline:no")).await, declined("no"));
    }
    let request = authorize("b", 300, "card");
    let both = tokio::join!(perform(&provider, &request), perform(&provider, &request));
    assert_eq!(both, (approved("b"), approved("b")), "at the same time");
    assert_eq!(money(&provider).await, (0, 800));
}

#[tokio::test]
async fn the_same_key_with_other_parameters_is_an_error_and_does_nothing() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
    for other in [authorize("a", 501, "card"), authorize("a", 500, "another card")] {
        assert_eq!(perform(&provider, &other).await, Err(ProviderError::KeyReused));
        assert_eq!(find(&provider, &other).await, Err(ProviderError::KeyReused));
    }
    assert_eq!(money(&provider).await, (0, 500));
}

#[tokio::test]
async fn a_key_that_was_never_used_is_unknown() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(find(&provider, &authorize("a", 500, "card")).await, Ok(None));
    assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
    let found = find(&provider, &authorize("a", 500, "card")).await;
    assert_eq!(found, approved("a").map(Some));
}

#[tokio::test]
async fn declines_hold_nothing() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let request = authorize("a", 500, "sim:decline:insufficient_funds");
    assert_eq!(perform(&provider, &request).await, declined("insufficient_funds"));
    assert_eq!(find(&provider, &request).await, declined("insufficient_funds").map(Some));
    let request = authorize("b", 500, "sim:nonsense");
    assert_eq!(perform(&provider, &request).await, declined("invalid_payment_method"));
    assert_eq!(money(&provider).await, (0, 0));
}

#[tokio::test]
async fn a_declined_capture_leaves_the_money_set_aside() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let request = authorize("a", 500, "sim:capture_decline:expired");
    assert_eq!(perform(&provider, &request).await, approved("a"));
    assert_eq!(perform(&provider, &capture("a", 500)).await, declined("expired"));
    assert_eq!(money(&provider).await, (0, 500));
    assert_eq!(perform(&provider, &void("a", 500)).await, approved("a"));
    assert_eq!(money(&provider).await, (0, 0));
}

#[tokio::test]
async fn what_is_set_aside_is_taken_in_parts_and_the_rest_let_go() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
    let part = |number: u32, minor| {
        let operation_id = format!("a:capture-{number}");
        Request { operation_id, ..capture("a", minor) }
    };
    assert_eq!(perform(&provider, &part(1, 200)).await, approved("a"));
    assert_eq!(perform(&provider, &part(2, 100)).await, approved("a"));
    assert_eq!(money(&provider).await, (300, 200));
    assert_eq!(perform(&provider, &part(3, 201)).await, declined("amount_too_large"));
    assert_eq!(perform(&provider, &void("a", 200)).await, approved("a"));
    assert_eq!(money(&provider).await, (300, 0));
    assert_eq!(perform(&provider, &part(4, 1)).await, declined("voided"));
}

async fn listed(provider: &Provider, after: Option<(Timestamp, String)>) -> Vec<Transaction> {
    let (from, until) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let list = List { shop: acme(), from, until, after, limit: 2 };
    provider.transactions(&list).await.expect("answers")
}

#[tokio::test]
async fn what_was_done_is_listed_page_by_page() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
    assert_eq!(perform(&provider, &authorize("b", 1, "sim:decline:no")).await, declined("no"));
    assert_eq!(perform(&provider, &capture("a", 500)).await, approved("a"));
    assert_eq!(perform(&provider, &refund("a", 200)).await, approved("a"));
    let first = listed(&provider, None).await;
    let last = first.last().expect("is full");
    let second = listed(&provider, Some((last.at, last.operation_id.clone()))).await;
    let all: Vec<_> = [first, second].concat();
    let mut shown: Vec<_> = all.iter().map(|it| (it.task.as_str(), it.amount.minor)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("authorize", 500), ("capture", 500), ("refund", 200)]);
    assert!(all.iter().all(|it| it.provider_reference == reference("a")), "{all:?}");
    assert_eq!(provider.shops().await, Ok(vec![acme()]));
    let ids = ["a:capture", "b:authorize", "c:authorize"].map(str::to_owned);
    let asked = provider.listed(&acme(), &ids).await.expect("answers");
    let asked: Vec<_> = asked.iter().map(|it| it.operation_id.as_str()).collect();
    assert_eq!(asked, ["a:capture"], "what was declined and what was never asked for is not");
}

#[tokio::test]
async fn what_is_carried_out_late_is_listed_by_when_it_was() {
    let (_folder, file) = folder();
    let (hasty, patient) = hasty_and_patient(&file).await;
    let before = Simulator::now();
    let request = authorize("a", 500, "sim:late:300");
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout));
    let asked_by = Simulator::now();
    let mut done = vec![];
    testkit::eventually("it is carried out", async || {
        done = listed(&patient, None).await;
        !done.is_empty()
    })
    .await;
    assert!(done[0].at >= before + Duration::from_millis(300), "{done:?} since {before}");
    assert!(done[0].at > asked_by, "{done:?} asked for by {asked_by}");
    let list = List { shop: acme(), from: before, until: done[0].at, after: None, limit: 2 };
    assert_eq!(patient.transactions(&list).await, Ok(vec![]), "it was not done by then");
}

#[tokio::test]
async fn a_call_that_is_carried_out_late_is_unknown_until_then() {
    let (_folder, file) = folder();
    let (hasty, patient) = hasty_and_patient(&file).await;
    let request = authorize("a", 500, "sim:late:600000");
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout));
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout), "nor the second");
    assert_eq!(find(&patient, &request).await, Ok(None));
    assert_eq!(money(&patient).await, (0, 0));
    let request = authorize("b", 300, "sim:late:1");
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout));
    assert_eq!(money(&patient).await, (0, 300), "though nobody has asked for it since");
    assert_eq!(find(&patient, &request).await, approved("b").map(Some));
}

#[tokio::test]
async fn what_is_forgotten_is_neither_done_nor_listed() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let request = authorize("a", 500, "sim:void_forget");
    assert_eq!(perform(&provider, &request).await, approved("a"));
    assert_eq!(listed(&provider, None).await.len(), 1);
    assert_eq!(perform(&provider, &void("a", 500)).await, declined("unknown_authorization"));
    assert_eq!(listed(&provider, None).await, []);
    assert_eq!(money(&provider).await, (0, 0));
}

#[tokio::test]
async fn what_cannot_be_done_is_declined() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    assert_eq!(perform(&provider, &capture("x", 1)).await, declined("unknown_authorization"));
    assert_eq!(perform(&provider, &authorize("n", -1, "card")).await, declined("invalid_amount"));
    for order in ["a", "b"] {
        assert_eq!(perform(&provider, &authorize(order, 500, "card")).await, approved(order));
    }
    let under_another_key = |key: &str, mut request: Request| {
        request.operation_id = key.into();
        request
    };
    let too_large = under_another_key("k1", capture("a", 501));
    assert_eq!(perform(&provider, &too_large).await, declined("amount_too_large"));
    assert_eq!(perform(&provider, &refund("b", 1)).await, declined("amount_too_large"));
    assert_eq!(perform(&provider, &capture("a", 500)).await, approved("a"));
    let again = under_another_key("k2", capture("a", 500));
    assert_eq!(perform(&provider, &again).await, declined("captured_already"));
    assert_eq!(perform(&provider, &void("a", 500)).await, declined("captured_already"));
    assert_eq!(perform(&provider, &void("b", 500)).await, approved("b"));
    assert_eq!(perform(&provider, &capture("b", 500)).await, declined("voided"));
    let others = Request { shop: Shop::parse("other").expect("valid"), ..refund("a", 500) };
    assert_eq!(perform(&provider, &others).await, declined("unknown_authorization"));
    assert_eq!(money(&provider).await, (500, 0));
}

#[tokio::test]
async fn a_lost_answer_is_found_by_asking() {
    let (_folder, file) = folder();
    let (hasty, patient) = hasty_and_patient(&file).await;
    let request = authorize("a", 500, "sim:lost");
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout));
    assert_eq!(find(&patient, &request).await, approved("a").map(Some));
    assert_eq!(perform(&patient, &request).await, approved("a"), "the second call returns");
    assert_eq!(money(&patient).await, (0, 500));
}

#[tokio::test]
async fn a_slow_answer_is_found_by_asking_before_it_comes() {
    let (_folder, file) = folder();
    let (hasty, patient) = hasty_and_patient(&file).await;
    let request = authorize("a", 500, "sim:slow:600000");
    assert_eq!(perform(&hasty, &request).await, Err(ProviderError::Timeout));
    assert_eq!(find(&patient, &request).await, approved("a").map(Some));
    let request = authorize("b", 500, "sim:slow:1");
    assert_eq!(perform(&patient, &request).await, approved("b"), "it comes");
}

#[tokio::test]
async fn errors_do_nothing_until_they_are_over_even_across_connections() {
    let (_folder, file) = folder();
    let request = authorize("a", 500, "sim:error:3");
    for _ in 0..3 {
        let provider = provider(&file).await;
        assert_eq!(perform(&provider, &request).await, Err(ProviderError::Failed));
        assert_eq!(find(&provider, &request).await, Ok(None));
        assert_eq!(money(&provider).await, (0, 0));
    }
    let provider = provider(&file).await;
    assert_eq!(perform(&provider, &request).await, approved("a"));
    assert_eq!(money(&provider).await, (0, 500));
}

#[tokio::test]
async fn in_an_outage_queries_do_not_get_through_either() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let request = authorize("a", 500, "sim:outage:2");
    assert_eq!(perform(&provider, &request).await, Err(ProviderError::Unreachable));
    assert_eq!(find(&provider, &request).await, Err(ProviderError::Unreachable));
    assert_eq!(find(&provider, &request).await, Ok(None));
    assert_eq!(perform(&provider, &request).await, approved("a"));
}

#[tokio::test]
async fn the_ledger_is_kept_by_shop_and_survives_reopening() {
    let (_folder, file) = folder();
    {
        let provider = provider(&file).await;
        assert_eq!(perform(&provider, &authorize("a", 500, "card")).await, approved("a"));
        assert_eq!(perform(&provider, &authorize("b", 300, "card")).await, approved("b"));
        assert_eq!(perform(&provider, &capture("b", 300)).await, approved("b"));
    }
    let provider = provider(&file).await;
    assert_eq!(money(&provider).await, (300, 500));
    assert_eq!(perform(&provider, &capture("b", 300)).await, approved("b"), "as answered before");
    let others = provider.totals(&Shop::parse("other").expect("valid")).await;
    assert_eq!(others, Ok(vec![]));
    assert_eq!(money(&provider).await, (300, 500));
}

#[tokio::test]
async fn many_connections_opened_at_once_charge_a_key_once() {
    let (_folder, file) = folder();
    let opened = (0..8).map(|_| {
        let file = file.clone();
        tokio::spawn(async move {
            let provider = provider(&file).await;
            for order in 0..20 {
                let order = format!("o{order}");
                let answer = perform(&provider, &authorize(&order, 10, "card")).await;
                assert_eq!(answer, approved(&order));
            }
        })
    });
    for connection in opened.collect::<Vec<_>>() {
        connection.await.expect("does not panic");
    }
    assert_eq!(money(&provider(&file).await).await, (0, 200));
}

#[tokio::test]
async fn an_answer_has_the_time_at_which_it_became_so() {
    let (_folder, file) = folder();
    let provider = provider(&file).await;
    let request = authorize("a", 500, "card");
    let before = Simulator::now();
    let answered = provider.perform(&request).await.expect("answers");
    assert!((before..=Simulator::now()).contains(&answered.at));
    let listed = provider
        .listed(&acme(), std::slice::from_ref(&request.operation_id))
        .await
        .expect("answers");
    assert_eq!(listed[0].at, answered.at, "the same as in the provider's list");
    assert_eq!(provider.perform(&request).await.as_ref(), Ok(&answered), "it stays so");
    assert_eq!(provider.find(&request).await, Ok(Some(answered)));
}
