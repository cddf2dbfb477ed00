//! What a customer does whose card is declined: pays again, by another one, while the stock is held.

use std::time::{Duration, Instant};

use client::{Client, Response};
use events::{
    http::{OrderStatus, PaymentStatus},
    id::OrderId,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::sleep;

/// How long the customer waits for the first answer of the provider.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often the customer looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaidAgain {
    /// Another payment is started.
    Started,
    /// The order ended before: its stock ran out or was no longer held.
    TooLate,
}

/// Waits until the payment of an order is declined, and starts another by this method. An error says
/// what is wrong.
pub(super) async fn pay_again(
    api: &Client,
    id: OrderId,
    method: &str,
) -> Result<PaidAgain, String> {
    let started = Instant::now();
    loop {
        let order = api.order(id).await.map_err(|error| error.to_string())?;
        let Some(order) = order else { return Err("is not there".to_owned()) };
        if order.status == OrderStatus::Cancelled {
            return Ok(PaidAgain::TooLate);
        }
        let status = order.payment_status;
        if status == PaymentStatus::Failed {
            break;
        }
        if started.elapsed() > TIMEOUT {
            return Err(format!("its payment is not declined, but {status}"));
        }
        sleep(INTERVAL).await;
    }
    let request = api.request(Method::POST, &format!("orders/{id}/payments"));
    let request = request.json(&json!({"payment_method": method}));
    let Response { status, body, .. } =
        api.send(request).await.map_err(|error| error.to_string())?;
    match status {
        StatusCode::CREATED | StatusCode::ACCEPTED => Ok(PaidAgain::Started),
        // On a slow machine its stock may not be held any more.
        StatusCode::CONFLICT if body["code"] == "payment_not_due" => Ok(PaidAgain::TooLate),
        _ => Err(format!("another payment was answered {status}: {body}")),
    }
}
