//! What the gateway answers.

use events::http::{OrderGroup, OrderTotals, PaymentTotals, Positions, StockTotals};
use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Problem};

/// What the gateway answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Whether the answer is that to an earlier request with the same idempotency key.
    pub replayed: bool,
    /// How much of the services' logs the answer tells of; empty for a read.
    pub position: Positions,
    /// How often the request was sent until this came.
    pub attempts: u32,
    /// The body; null when there is none.
    pub body: Value,
}

impl Response {
    /// Reads the body of a 2xx answer; any other is an [`Error::Problem`].
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        let Self { status, body, .. } = self.succeeded()?;
        serde_json::from_value(body).map_err(|source| Error::Unreadable { status, source })
    }

    /// The answer, if it is a 2xx; any other is an [`Error::Problem`].
    pub fn succeeded(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(Error::Problem(Box::new(Problem::read(self.status, &self.body))))
    }
}

/// What became of lines that were pushed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PushResult {
    /// Lines that had their effect.
    #[serde(alias = "accepted")]
    pub applied: u64,
    /// Lines that changed nothing.
    #[serde(default)]
    pub unchanged: u64,
    /// Lines that were rejected.
    pub rejected: u64,
    /// `complete`; `pending` when lines are stored and not yet answered; `interrupted` when not all of them were handled.
    #[serde(default)]
    pub status: String,
    /// The line to go on from, unless it is complete.
    #[serde(default)]
    pub next_line: u64,
    /// Why it ended early: the stable name of that, such as `timed_out`.
    #[serde(default)]
    pub code: Option<String>,
    /// One for each line, or for each line that needs one.
    pub results: Vec<Value>,
}

/// What the services count over the shop.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Totals {
    /// Orders, by status and reason.
    pub orders: OrderTotals,
    /// Money, by the payment service and by the provider.
    pub payments: PaymentTotals,
    /// Stock.
    pub inventory: StockTotals,
}

impl Totals {
    /// Money that is authorised and neither captured nor voided, and operations whose outcome is
    /// not known.
    pub fn unsettled_payments(&self) -> i64 {
        let PaymentTotals { currencies, pending, .. } = &self.payments;
        // Each is 0, or something is open: currencies may be mixed.
        let open = currencies.iter().map(|totals| totals.authorized + totals.provider_held);
        pending + open.sum::<i64>()
    }

    /// Whether there are at least so many orders, all of them paid or cancelled, with no stock held
    /// and no payment open.
    pub fn are_settled(&self, orders: u64) -> bool {
        let groups = &self.orders.groups;
        let ended = groups.iter().map(|group| group.orders).sum::<i64>();
        groups.iter().all(OrderGroup::is_settled)
            && ended >= orders as i64
            && self.unsettled_payments() == 0
            && self.inventory.held == 0
    }
}
