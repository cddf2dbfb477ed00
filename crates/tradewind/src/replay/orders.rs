//! Placing an order and waiting for its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use events::{
    id::{CustomerId, OrderId, Reference},
    view::{CancelReason, OrderView},
};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    client::{self, Answer},
    plan::{Charge, Order, OrderLine},
};
use crate::api::Api;

/// How long the gateway is asked to wait for the end of an order, in seconds: its longest.
const WAIT_S: u64 = 60;
/// How often that is asked for: every order ends within its deadlines, which are minutes.
const WAITS: usize = 20;
/// The pause before an order is looked at again whose end cannot be waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// The currency of all orders.
const CURRENCY: &str = "GBP";

/// What of the order came back otherwise than it was sold; none if nothing did.
pub(super) fn difference(order: &Order, view: &OrderView) -> Option<String> {
    let lines = view.lines.iter().map(|it| (it.sku.as_str(), it.quantity.get(), it.unit_price));
    let sold = order.lines.iter().map(|it| (&*it.sku, it.quantity, it.unit_price));
    let charges = view.charges.iter().map(|it| (it.code.as_str(), it.amount));
    let planned = order.charges.iter().map(|it| (&*it.code, it.amount));
    let customer = view.customer_id.as_ref().map(CustomerId::as_str);
    let reference = view.reference.as_ref().map(Reference::as_str);
    let parts = [
        ("reference", reference == Some(&*order.invoice)),
        ("customer", customer == order.customer.as_deref()),
        ("country", view.country == *order.country),
        ("currency", view.currency.as_str() == CURRENCY),
        ("lines", lines.eq(sold)),
        ("charges", charges.eq(planned)),
        ("total", view.total == order.total),
    ];
    let other: Vec<_> = parts.iter().filter(|(_, is_same)| !is_same).map(|(it, _)| *it).collect();
    let other = (!other.is_empty()).then(|| other.join(", "))?;
    Some(format!("order {} came back with another {other}", order.invoice))
}

/// Whether an order was cancelled because there was too little stock.
pub(super) fn is_out_of_stock(view: &OrderView) -> bool {
    let reason = view.cancellation.as_ref().map(|cancellation| cancellation.reason);
    matches!(reason, Some(CancelReason::OutOfStock | CancelReason::StockLost))
}

/// What is wrong with the shortages that a cancellation for stock must name; none if nothing is.
pub(super) fn wrong_shortages(order: &Order, view: &OrderView) -> Option<String> {
    let shortages = view.cancellation.as_ref().map_or(&[][..], |it| &it.shortages);
    if shortages.is_empty() {
        return Some(format!("order {} names no shortage", order.invoice));
    }
    let wrong = shortages.iter().find(|shortage| {
        let is_asked_for = shortage.requested == order.units(shortage.sku.as_str());
        !is_asked_for || !(0..shortage.requested).contains(&shortage.available)
    })?;
    Some(format!("order {} names a wrong shortage: {wrong:?}", order.invoice))
}

/// What became of a request to place an order.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) fate: Fate,
    /// Whether the order was there before this run.
    pub(super) is_known: bool,
    /// How long it took until the order was accepted, where that was measured.
    pub(super) accepted_after: Option<Duration>,
    /// How long it took until the end of the order.
    pub(super) settled_after: Duration,
}

/// What an order came to.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is paid or cancelled.
    Ended(Box<OrderView>),
    /// It has come to no end.
    Open(Box<OrderView>),
    /// There is no order; the gateway told why.
    Refused(String),
}

#[derive(Serialize)]
struct Body<'a> {
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a str>,
    country: &'a str,
    currency: &'static str,
    lines: &'a [OrderLine],
    #[serde(skip_serializing_if = "<[Charge]>::is_empty")]
    charges: &'a [Charge],
    payment_method: &'static str,
}

/// The body of the request for an order.
fn body(order: &Order) -> Result<Vec<u8>> {
    let body = Body {
        reference: &order.invoice,
        customer_id: order.customer.as_deref(),
        country: &order.country,
        currency: CURRENCY,
        lines: &order.lines,
        charges: &order.charges,
        payment_method: "card",
    };
    serde_json::to_vec(&body).context("write an order")
}

/// Places an order, under an idempotency key that begins so, and waits for its end. The gateway tells
/// the end alone, unless `asks_twice`: then it is also seen when the order is accepted.
pub(super) async fn place(
    api: &Api,
    order: &Order,
    prefix: &str,
    asks_twice: bool,
) -> Result<Placed> {
    let key = format!("{prefix}-{}", order.invoice);
    let body = body(order)?;
    let started = Instant::now();
    let mut wait = (!asks_twice).then_some(WAIT_S);
    let mut accepted_after = None;
    let mut is_known = None;
    let mut last = None;
    for _ in 0..WAITS {
        let answer = post(api, &key, body.clone(), wait).await?;
        let seen = see(api, &answer).await?;
        is_known.get_or_insert(answer.is_known || answer.status == StatusCode::CONFLICT);
        if wait.is_none() && answer.status == StatusCode::CREATED {
            accepted_after = Some(started.elapsed());
        }
        wait = Some(WAIT_S);
        let fate = match seen {
            Seen::Refused => Fate::Refused(answer.to_string()),
            Seen::Order(view) if view.status.is_final() => Fate::Ended(view),
            Seen::Order(view) => {
                if answer.status == StatusCode::CONFLICT {
                    sleep(PAUSE).await;
                }
                last = Some(view);
                continue;
            }
            Seen::Accepted => continue,
        };
        let (is_known, settled_after) = (is_known.unwrap_or(false), started.elapsed());
        return Ok(Placed { fate, is_known, accepted_after, settled_after });
    }
    let Some(view) = last else { bail!("order {} is accepted and never shown", order.invoice) };
    let (fate, settled_after) = (Fate::Open(view), started.elapsed());
    Ok(Placed { fate, is_known: is_known.unwrap_or(false), accepted_after, settled_after })
}

async fn post(api: &Api, key: &str, body: Vec<u8>, wait: Option<u64>) -> Result<Answer> {
    let mut request = api
        .request(Method::POST, "orders")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(body);
    if let Some(seconds) = wait {
        request = request.header("prefer", format!("wait={seconds}"));
    }
    client::send(request).await.with_context(|| format!("place order {key}"))
}

/// What an answer tells about the order.
enum Seen {
    Order(Box<OrderView>),
    Accepted,
    Refused,
}

async fn see(api: &Api, answer: &Answer) -> Result<Seen> {
    #[derive(Deserialize)]
    struct Taken {
        code: String,
        order_id: OrderId,
    }
    Ok(match answer.status {
        StatusCode::CREATED => Seen::Order(answer.read()?),
        StatusCode::ACCEPTED => Seen::Accepted,
        StatusCode::CONFLICT => match answer.read::<Taken>() {
            Ok(taken) if taken.code == "reference_taken" => {
                Seen::Order(client::get(api, &format!("orders/{}", taken.order_id)).await?)
            }
            Ok(_) | Err(_) => Seen::Refused,
        },
        _ => Seen::Refused,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order() -> Order {
        let line = |sku: &str, quantity| OrderLine { sku: sku.into(), quantity, unit_price: 250 };
        Order {
            invoice: "536365".into(),
            customer: Some("17850".into()),
            country: "United Kingdom".into(),
            lines: vec![line("A", 2), line("B", 1), line("A", 3)],
            charges: vec![Charge { code: "POST".into(), amount: 1800 }],
            total: 3300,
        }
    }

    #[track_caller]
    fn asks_for(order: &Order, expected: &Value) {
        let body: Value = serde_json::from_slice(&body(order).expect("is JSON")).expect("is JSON");
        assert_eq!(body, *expected);
    }

    #[test]
    fn an_order_is_asked_for_as_it_was_sold() {
        let line =
            |sku: &str, quantity: i64| json!({"sku": sku, "quantity": quantity, "unit_price": 250});
        let mut expected = json!({
            "reference": "536365",
            "customer_id": "17850",
            "country": "United Kingdom",
            "currency": "GBP",
            "lines": [line("A", 2), line("B", 1), line("A", 3)],
            "charges": [{"code": "POST", "amount": 1800}],
            "payment_method": "card",
        });
        asks_for(&order(), &expected);
        for absent in ["customer_id", "charges"] {
            expected.as_object_mut().expect("is an object").remove(absent);
        }
        asks_for(&Order { customer: None, charges: vec![], ..order() }, &expected);
    }

    /// The order as it comes back when it is paid.
    fn paid() -> Value {
        let line = |sku, units| json!({"sku": sku, "quantity": units, "unit_price": 250});
        json!({
            "id": "00000000-0000-0000-0000-00000000000a",
            "reference": "536365",
            "status": "paid",
            "customer_id": "17850",
            "country": "United Kingdom",
            "lines": [line("A", 2), line("B", 1), line("A", 3)],
            "charges": [{"code": "POST", "amount": 1800}],
            "total": 3300,
            "currency": "GBP",
            "placed_at": "2010-12-01T08:26:00.000Z",
            "updated_at": "2010-12-01T08:26:01.000Z",
            "version": 5,
        })
    }

    fn view(order: Value) -> OrderView {
        serde_json::from_value(order).expect("is an order")
    }

    #[track_caller]
    fn comes_back(change: impl FnOnce(&mut Value), with_another: Option<&str>) {
        let mut order_told = paid();
        change(&mut order_told);
        let found = difference(&order(), &view(order_told));
        let wanted = with_another.map(|it| format!("order 536365 came back with another {it}"));
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_order_comes_back_as_it_was_sold_to_the_last_line() {
        comes_back(|_| (), None);
        comes_back(|it| it["reference"] = json!("536366"), Some("reference"));
        comes_back(|it| it["customer_id"] = Value::Null, Some("customer"));
        comes_back(|it| it["country"] = json!("France"), Some("country"));
        comes_back(|it| it["currency"] = json!("EUR"), Some("currency"));
        comes_back(|it| it["total"] = json!(3301), Some("total"));
        comes_back(|it| it["charges"][0]["amount"] = json!(1799), Some("charges"));
        comes_back(|it| it["charges"][0]["code"] = json!("DOT"), Some("charges"));
        for change in [
            |lines: &mut Vec<Value>| lines.swap(0, 2),
            |lines: &mut Vec<Value>| _ = lines.pop(),
            |lines: &mut Vec<Value>| lines[1]["quantity"] = json!(2),
            |lines: &mut Vec<Value>| lines[1]["unit_price"] = json!(251),
            |lines: &mut Vec<Value>| lines[1]["sku"] = json!("C"),
        ] {
            comes_back(|it| change(it["lines"].as_array_mut().expect("are there")), Some("lines"));
        }
    }

    /// Checks what is wrong with a cancellation that names these shortages.
    #[track_caller]
    fn check(shortages: &[(&str, i64, i64)], wrong: Option<&str>) {
        let shortages: Vec<_> = shortages
            .iter()
            .map(|(sku, requested, available)| {
                json!({"sku": sku, "requested": requested, "available": available})
            })
            .collect();
        let mut cancelled = paid();
        cancelled["status"] = json!("cancelled");
        cancelled["cancellation"] = json!({"reason": "out_of_stock", "shortages": shortages});
        let cancelled = view(cancelled);
        assert!(is_out_of_stock(&cancelled));
        let found = wrong_shortages(&order(), &cancelled);
        assert_eq!(found.is_some(), wrong.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().contains(wrong.unwrap_or_default()));
    }

    #[test]
    fn a_shortage_is_less_than_what_the_order_asks_for_on_all_its_lines() {
        check(&[("A", 5, 4)], None);
        check(&[("A", 5, 0), ("B", 1, 0)], None);
        check(&[], Some("names no shortage"));
        check(&[("A", 5, 5)], Some("wrong shortage"));
        check(&[("A", 5, -1)], Some("wrong shortage"));
        check(&[("A", 2, 1)], Some("wrong shortage"));
        check(&[("A", 5, 4), ("C", 1, 0)], Some("wrong shortage"));
    }
}
