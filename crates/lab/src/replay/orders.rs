//! Placing an order and waiting for its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::{Charge, Client, NewOrder, OrderLine, Response};
use events::{
    http::{CancelReason, OrderView},
    id::{CustomerId, OrderId, Reference},
};
use reqwest::StatusCode;
use tokio::time::sleep;

use super::plan::{self, Order};

/// How long the gateway is asked to wait until an order is paid or cancelled: its longest.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often that is asked for: every order ends within its deadlines, which are minutes.
const MAX_WAITS: usize = 20;
/// The interval between two looks at an order that was placed under another key.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The currency of all orders.
pub(super) const CURRENCY: &str = "GBP";

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
    view.cancellation.as_ref().is_some_and(|it| {
        it.reason == CancelReason::OutOfStock || it.reason == CancelReason::StockLost
    })
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
    pub(super) outcome: Outcome,
    /// Whether the order was there before this run.
    pub(super) is_known: bool,
    /// How long it took until the order was accepted, where that was measured.
    pub(super) accepted_after: Option<Duration>,
    /// How long it took until the order was paid or cancelled.
    pub(super) settled_after: Duration,
}

/// The outcome of an order.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is paid or cancelled.
    Settled(Box<OrderView>),
    /// It is neither, after all deadlines.
    Unsettled(Box<OrderView>),
    /// The gateway rejected it; this is the answer.
    Rejected(String),
}

/// The request for an order.
fn new_order(order: &Order) -> NewOrder {
    let line = |line: &plan::OrderLine| OrderLine {
        sku: line.sku.to_string(),
        quantity: line.quantity,
        unit_price: Some(line.unit_price),
    };
    let charge =
        |charge: &plan::Charge| Charge { code: charge.code.to_string(), amount: charge.amount };
    NewOrder {
        reference: Some(order.invoice.to_string()),
        customer_id: order.customer.as_deref().map(str::to_owned),
        country: Some(order.country.to_string()),
        lines: order.lines.iter().map(line).collect(),
        charges: order.charges.iter().map(charge).collect(),
        payment_method: Some("card".to_owned()),
        ..NewOrder::in_currency(CURRENCY)
    }
}

/// Places an order, under an idempotency key that begins with `prefix`, and waits until it is paid
/// or cancelled. With `measures_acceptance` it is placed without waiting first, which takes a second
/// request.
pub(super) async fn place(
    client: &Client,
    order: &Order,
    prefix: &str,
    measures_acceptance: bool,
) -> Result<Placed> {
    let key = format!("{prefix}-{}", order.invoice);
    let request = new_order(order);
    let started = Instant::now();
    let mut wait = (!measures_acceptance).then_some(SETTLE_TIMEOUT);
    let mut accepted_after = None;
    let mut is_known = None;
    let mut last = None;
    for _ in 0..MAX_WAITS {
        let response = client.place(&request, &key, wait).await;
        let response = response.with_context(|| format!("place order {key}"))?;
        let status = response.status;
        // What this run has sent before is not known from another.
        let is_replayed = response.replayed && response.attempts == 1;
        is_known.get_or_insert(is_replayed || status == StatusCode::CONFLICT);
        if wait.is_none() && status == StatusCode::CREATED {
            accepted_after = Some(started.elapsed());
        }
        wait = Some(SETTLE_TIMEOUT);
        let outcome = match read(client, response).await? {
            Answer::Rejected(why) => Outcome::Rejected(why),
            Answer::Order(view) if view.is_settled() => Outcome::Settled(view),
            Answer::Order(view) => {
                if status == StatusCode::CONFLICT {
                    sleep(POLL_INTERVAL).await;
                }
                last = Some(view);
                continue;
            }
            Answer::Accepted => continue,
        };
        let (is_known, settled_after) = (is_known.unwrap_or(false), started.elapsed());
        return Ok(Placed { outcome, is_known, accepted_after, settled_after });
    }
    let Some(view) = last else { bail!("order {} is accepted and never shown", order.invoice) };
    let (outcome, settled_after) = (Outcome::Unsettled(view), started.elapsed());
    Ok(Placed { outcome, is_known: is_known.unwrap_or(false), accepted_after, settled_after })
}

/// What an answer says of the order.
enum Answer {
    Order(Box<OrderView>),
    Accepted,
    Rejected(String),
}

/// Reads an answer; the order that has the reference already is looked up.
async fn read(client: &Client, response: Response) -> Result<Answer> {
    if response.status == StatusCode::ACCEPTED {
        return Ok(Answer::Accepted);
    }
    let error = match response.succeeded() {
        Ok(response) => return Ok(Answer::Order(response.read()?)),
        Err(error) => error,
    };
    let taken = error.problem().filter(|problem| problem.code == "reference_taken");
    let known = taken.and_then(|problem| problem.members.get("order_id")?.as_str());
    let known: Option<OrderId> = known.and_then(|id| OrderId::parse(id).ok());
    match known {
        Some(id) => {
            let order = client.order(id).await?;
            Ok(Answer::Order(Box::new(order.with_context(|| format!("find order {id}"))?)))
        }
        None => Ok(Answer::Rejected(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order() -> Order {
        let line =
            |sku: &str, quantity| plan::OrderLine { sku: sku.into(), quantity, unit_price: 250 };
        Order {
            invoice: "536365".into(),
            customer: Some("17850".into()),
            country: "United Kingdom".into(),
            lines: vec![line("A", 2), line("B", 1), line("A", 3)],
            charges: vec![plan::Charge { code: "POST".into(), amount: 1800 }],
            total: 3300,
        }
    }

    #[track_caller]
    fn asks_for(order: &Order, expected: &Value) {
        let body = serde_json::to_value(new_order(order)).expect("is JSON");
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
        let line = |sku, units| {
            let line_id = sku;
            json!({"line_id": line_id, "sku": sku, "quantity": units, "unit_price": 250})
        };
        json!({
            "id": "00000000-0000-0000-0000-00000000000a",
            "reference": "536365",
            "number": 1,
            "status": "confirmed",
            "payment_status": "paid",
            "fulfilment_status": "unfulfilled",
            "tax_basis": "included",
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
