//! What is known when something is decided: the order, and on which terms.

use std::time::Duration;

use events::{
    id::{OrderId, PaymentId},
    sealed::Sealed,
    shop::Settings,
};

use super::{CancelReason, Cancellation, Event, Fact, ListedLines, Shortage, Summary};
use crate::{
    Policy,
    domain::rows::{Order, OrderContent},
};

/// The terms of a decision: what the installation chose, and the shop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) policy: &'a Policy,
    pub(super) settings: &'a Settings,
}

impl Terms<'_> {
    /// How long the payment of an order may take.
    pub(super) fn payment_timeout(self) -> Duration {
        let seconds = self.settings.payment_seconds.map(u64::from);
        seconds.map_or(self.policy.payment_timeout, Duration::from_secs)
    }
}

/// An order about which something is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) id: OrderId,
    pub(crate) order: &'a Order,
    pub(crate) content: &'a OrderContent,
}

impl Known<'_> {
    /// The events of these facts, one after the other.
    pub(crate) fn events(&self, facts: Vec<Fact>) -> Vec<Event> {
        let mut statuses = self.order.statuses;
        let event = |fact: Fact| {
            statuses = fact.statuses(statuses, self.order);
            let OrderContent { number, reference, customer_id, .. } = self.content;
            let summary = Summary {
                number: *number,
                reference: reference.clone(),
                customer_id: customer_id.clone(),
                total: self.order.total,
                statuses,
            };
            Event { order_id: self.id, summary, fact }
        };
        facts.into_iter().map(event).collect()
    }

    /// That it is cancelled.
    pub(crate) fn cancelled(
        &self,
        reason: CancelReason,
        detail: &str,
        shortages: &[Shortage],
    ) -> Fact {
        let (detail, shortages) = (detail.to_owned(), shortages.to_vec());
        self.cancelled_as(Cancellation { reason, detail, shortages, note: None })
    }

    /// That it is cancelled as somebody requested.
    pub(crate) fn cancelled_on_request(&self, note: Option<&Sealed>) -> Fact {
        self.cancelled_as(Cancellation {
            reason: CancelReason::Requested,
            detail: String::new(),
            shortages: Vec::new(),
            note: note.cloned(),
        })
    }

    fn cancelled_as(&self, cancellation: Cancellation) -> Fact {
        Fact::Cancelled {
            cancellation,
            listed: ListedLines::of(self.content),
            payments: self.order.last_payment(),
        }
    }

    /// Its payment of that number.
    pub(crate) fn payment_id(&self, number: u32) -> PaymentId {
        PaymentId { order_id: self.id, number }
    }
}
