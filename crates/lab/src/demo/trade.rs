//! The day itself: customers order over HTTP, all at the same time, and see what they are answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use audit::Findings;
use client::{Client, Response};
use events::id::OrderId;
use indicatif::ProgressBar;
use reqwest::{Method, StatusCode};
use tokio::{sync::watch, task::JoinSet};

use super::{
    erp::{Answers, Push},
    plan::{Kind, Plan, Planned},
    products::RACE_SKU,
    second_payment::{PaidAgain, pay_again},
};
/// How long a racer waits for the outcome.
const RACER_WAIT: Duration = Duration::from_secs(30);

/// An order that was placed, as its customer saw it.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    /// What was special about it.
    pub kind: Kind,
    /// When the request was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub answered_after: Duration,
}

/// What the customers saw.
#[derive(Debug, Default)]
pub struct Trade {
    /// The orders that were placed.
    pub placed: BTreeMap<OrderId, Placed>,
    /// Those that were then cancelled by their customers, in time.
    pub cancelled: Vec<OrderId>,
    /// Cancellations that came too late.
    pub too_late: u64,
    /// Second payments, each after one that was declined.
    pub second_payments: u64,
    /// Second payments that came too late, because the order had ended.
    pub second_payments_too_late: u64,
    /// Requests that were rejected, because the product is no longer sold.
    pub refused: u64,
    /// Requests that were repeated and got the first answer.
    pub replayed: u64,
    /// Racers that got a unit.
    pub winners: u64,
    /// Racers that were refused, because there was none left.
    pub refused_racers: u64,
    /// Racers whose order timed out: the machine is slow.
    pub slow: u64,
    /// What the ERP was answered meanwhile.
    pub erp: Answers,
    /// Answers that nobody should get.
    pub wrong: Findings,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Trades until all orders are placed.
pub async fn trade(
    api: &Client,
    plan: Plan,
    pushes: Vec<Push>,
    clients: usize,
    bar: &ProgressBar,
) -> Result<Trade> {
    let started = Instant::now();
    let Plan { orders, race, .. } = plan;
    let (taken, count) = watch::channel(0);
    let day = Arc::new(Day { api: api.clone(), orders, taken, bar: bar.clone() });
    let next = Arc::new(AtomicUsize::new(0));
    let mut customers = JoinSet::new();
    for _ in 0..clients {
        customers.spawn(day.clone().order_one_by_one(next.clone()));
    }
    // The race begins at midday.
    let midday = day.orders.len() / 2;
    for racer in race {
        customers.spawn(day.clone().race(racer, count.clone(), midday));
    }
    let erp = tokio::spawn(day.clone().push_all(pushes, count));

    let mut trade = Trade::default();
    while let Some(seen) = customers.join_next().await {
        trade.append(seen.context("run a customer")?);
    }
    trade.took = started.elapsed();
    trade.erp = erp.await.context("run the ERP connector")??;
    Ok(trade)
}

struct Day {
    api: Client,
    orders: Vec<Planned>,
    /// How many of the orders have been taken up.
    taken: watch::Sender<usize>,
    bar: ProgressBar,
}

impl Day {
    /// A client: one order after another, as long as there are any.
    async fn order_one_by_one(self: Arc<Self>, next: Arc<AtomicUsize>) -> Trade {
        let mut trade = Trade::default();
        while let Some(order) = self.orders.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.taken.send_modify(|taken| *taken += 1);
            self.order(order, &mut trade).await;
        }
        trade
    }

    async fn race(
        self: Arc<Self>,
        racer: Planned,
        mut count: watch::Receiver<usize>,
        midday: usize,
    ) -> Trade {
        let mut trade = Trade::default();
        if count.wait_for(|taken| *taken >= midday).await.is_ok() {
            self.order(&racer, &mut trade).await;
        }
        trade
    }

    /// The ERP pushes at a quarter, a half and three quarters of the day.
    async fn push_all(
        self: Arc<Self>,
        pushes: Vec<Push>,
        mut count: watch::Receiver<usize>,
    ) -> Result<Answers> {
        let mut answers = Answers::default();
        let parts = pushes.len() + 1;
        for (part, push) in (1..).zip(pushes) {
            let from = self.orders.len() * part / parts;
            count.wait_for(|taken| *taken >= from).await.context("wait for the customers")?;
            answers.append(push.send(&self.api).await.context("push during the day")?);
        }
        Ok(answers)
    }

    async fn order(&self, order: &Planned, trade: &mut Trade) {
        let sent = Instant::now();
        let Planned { kind, key, body } = order;
        let wait = (*kind == Kind::Racer).then_some(RACER_WAIT);
        let first = self.api.place(body, key, wait);
        let answered = if *kind == Kind::Twice {
            let (first, second) = tokio::join!(first, self.api.place(body, key, None));
            trade.compare(key, first, second)
        } else {
            first.await.map_err(with_sources)
        };
        let answered_after = sent.elapsed();
        self.bar.inc(1);
        let response = match answered {
            Ok(response) => response,
            Err(problem) => return trade.wrong.add(format!("order {key}: {problem}")),
        };
        let Some(id) = trade.read(*kind, key, &response) else { return };
        trade.placed.insert(id, Placed { kind: *kind, sent, answered_after });
        if matches!(kind, Kind::Cancels | Kind::CancelsAtOnce | Kind::OneStepCancels) {
            self.cancel(id, trade).await;
        }
        if let Some(method) = kind.second_payment_method() {
            match pay_again(&self.api, id, method).await {
                Ok(PaidAgain::Started) => trade.second_payments += 1,
                Ok(PaidAgain::TooLate) => trade.second_payments_too_late += 1,
                Err(problem) => trade.wrong.add(format!("order {id}: {problem}")),
            }
        }
    }

    async fn cancel(&self, id: OrderId, trade: &mut Trade) {
        let request = self.api.request(Method::POST, &format!("orders/{id}/cancel"));
        let note = serde_json::json!({"note": "changed my mind"});
        match self.api.send(request.json(&note)).await {
            Ok(response) if response.status == StatusCode::OK => trade.cancelled.push(id),
            // The payment was quicker; on a slow machine that may be so even with a slow payment.
            Ok(response)
                if response.status == StatusCode::CONFLICT
                    && response.body["code"] == "too_late" =>
            {
                trade.too_late += 1;
            }
            Ok(Response { status, body, .. }) => {
                trade.wrong.add(format!("cancelling order {id} was answered {status}: {body}"));
            }
            Err(error) => {
                trade.wrong.add(format!("cancelling order {id}: {}", with_sources(error)));
            }
        }
    }
}

impl Trade {
    /// The order that was placed, if it was; anything else must be what is special about it.
    fn read(&mut self, kind: Kind, key: &str, response: &Response) -> Option<OrderId> {
        let Response { status, body, .. } = response;
        if kind == Kind::Discontinued {
            let is_named = body["errors"][0]["field"] == "lines[0].sku";
            if *status == StatusCode::UNPROCESSABLE_ENTITY && is_named {
                self.refused += 1;
            } else {
                self.wrong.add(format!("order {key} of a product that is not sold: {body}"));
            }
            return None;
        }
        let Some(id) = order_id(response) else {
            self.wrong.add(format!("order {key} was answered {status}: {body}"));
            return None;
        };
        if kind == Kind::Racer {
            self.read_race(key, response);
        }
        Some(id)
    }

    fn read_race(&mut self, key: &str, response: &Response) {
        let body = &response.body;
        let cancellation = &body["cancellation"];
        let shortage = &cancellation["shortages"][0];
        let is_paid = body["payment_status"] == "paid";
        let is_late = match body["status"].as_str() {
            Some("cancelled") => cancellation["reason"].as_str().is_some_and(is_for_time),
            // Else it had no end while the customer waited.
            _ => !is_paid,
        };
        if is_paid {
            self.winners += 1;
        } else if is_late {
            self.slow += 1;
        } else if cancellation["reason"] == "out_of_stock"
            && shortage["sku"] == RACE_SKU
            && shortage["available"] == 0
        {
            self.refused_racers += 1;
        } else {
            self.wrong.add(format!("racer {key} neither got a unit nor the reason: {body}"));
        }
    }

    /// The same request twice at the same time is one order.
    fn compare(
        &mut self,
        key: &str,
        first: Result<Response, client::Error>,
        second: Result<Response, client::Error>,
    ) -> Result<Response, String> {
        let first = first.map_err(with_sources)?;
        let second = second.map_err(with_sources)?;
        self.wrong.expect(order_id(&first) == order_id(&second), || {
            format!("the request {key}, sent twice, made two orders: {first:?}, {second:?}")
        });
        self.replayed += u64::from(first.replayed || second.replayed);
        let are_answered = [&first, &second].iter().all(|it| it.status == StatusCode::CREATED);
        self.wrong.expect(first.replayed != second.replayed || !are_answered, || {
            format!("of the request {key}, sent twice, one answer must say that it is a repetition")
        });
        Ok(first)
    }

    fn append(&mut self, other: Self) {
        self.placed.extend(other.placed);
        self.cancelled.extend(other.cancelled);
        self.too_late += other.too_late;
        self.second_payments += other.second_payments;
        self.second_payments_too_late += other.second_payments_too_late;
        self.refused += other.refused;
        self.replayed += other.replayed;
        self.winners += other.winners;
        self.refused_racers += other.refused_racers;
        self.slow += other.slow;
        self.wrong.append(other.wrong);
    }
}

/// The order that was placed; none where the answer names none.
fn order_id(response: &Response) -> Option<OrderId> {
    let id = match response.status {
        StatusCode::CREATED => &response.body["id"],
        StatusCode::ACCEPTED => &response.body["order_id"],
        _ => return None,
    };
    OrderId::parse(id.as_str()?).ok()
}

/// An error with its sources, on one line.
fn with_sources(error: client::Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Whether an order is cancelled for this reason because a deadline passed.
fn is_for_time(reason: &str) -> bool {
    ["stock_timeout", "payment_timeout", "stock_lost"].contains(&reason)
}
