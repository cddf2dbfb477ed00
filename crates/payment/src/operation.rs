//! Operations: what is asked of the provider, and how its outcome becomes certain.
//!
//! An operation is in the log as pending before the provider hears of it, and stays pending until
//! its outcome is certain. Whenever the provider may have heard of it (after a restart, after any
//! call without an answer), it is first asked what became of it, and only what it knows nothing of
//! is asked for again, with the same idempotency key: so nothing is charged twice, and an uncertain
//! outcome is never called a failure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::{Cause, Context, Local, Recorded};
use events::id::{OrderId, Shop};
use tokio::time::sleep;

use crate::{
    domain::{Charge, Event, Fact, Input, Outcome, Signal, Status},
    provider::{Answer, Provider, Request, Task},
};

/// Something that is asked of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The order that it is about.
    pub order_id: OrderId,
    /// What is asked.
    pub request: Request,
    /// What it continues.
    pub context: Context,
}

impl Operation {
    /// The operation that an event announces, if it does.
    pub(crate) fn announced(recorded: &Recorded<Event>) -> Option<Self> {
        let (operation_id, amount, task) = match recorded.event.fact.clone() {
            Fact::AuthorizationPending { operation_id, amount, payment_method } => {
                (operation_id, amount, Task::Authorize { payment_method })
            }
            Fact::CapturePending { operation_id, amount, provider_reference } => {
                (operation_id, amount, Task::Capture { provider_reference })
            }
            Fact::VoidPending { operation_id, amount, provider_reference } => {
                (operation_id, amount, Task::Void { provider_reference })
            }
            Fact::RefundPending { operation_id, amount, provider_reference } => {
                (operation_id, amount, Task::Refund { provider_reference })
            }
            Fact::Authorized { .. }
            | Fact::Declined { .. }
            | Fact::Failed { .. }
            | Fact::Captured { .. }
            | Fact::CaptureFailed { .. }
            | Fact::Voided { .. }
            | Fact::Refunded { .. }
            | Fact::CancelRequested
            | Fact::Abandoned => return None,
        };
        Some(Self {
            order_id: recorded.event.order_id,
            request: Request { operation_id, shop: recorded.shop.clone(), amount, task },
            context: recorded.context.clone(),
        })
    }

    /// The operation that a payment waits for, if it does: the same that was announced.
    pub(crate) fn pending(shop: Shop, order_id: OrderId, charge: Charge) -> Option<Self> {
        let Charge { status, payment_method, provider_reference, pending, .. } = charge;
        let pending = pending?;
        let task = match status {
            Status::AuthorizationPending => Task::Authorize { payment_method },
            Status::CapturePending => Task::Capture { provider_reference },
            Status::VoidPending => Task::Void { provider_reference },
            Status::RefundPending => Task::Refund { provider_reference },
            Status::Authorized
            | Status::Declined
            | Status::Failed
            | Status::Captured
            | Status::CaptureFailed
            | Status::Voided
            | Status::Refunded => return None,
        };
        let operation_id = pending.operation_id;
        let request = Request { operation_id, shop, amount: pending.amount, task };
        Some(Self { order_id, request, context: pending.context })
    }

    /// The input that tells what became of it.
    pub(crate) fn settled(self, outcome: Outcome) -> Local<Input> {
        let Self { order_id, request, context } = self;
        let Request { operation_id, shop, task, .. } = request;
        Local {
            shop,
            aggregate: order_id.to_string(),
            cause: Cause { id: operation_id.clone(), kind: format!("operation.{}", task.as_str()) },
            context,
            input: Input { order_id, signal: Signal::Settled { operation_id, outcome } },
        }
    }
}

/// How often and after which pauses the provider is asked again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The pause after the first call without an answer; each further one is twice as long.
    pub(crate) first_pause: Duration,
    /// The longest pause.
    pub(crate) longest_pause: Duration,
    /// After so many attempts to authorise, each followed by the provider's word that it has done
    /// nothing, the payment has failed. Money that is promised or owed is moved however long it takes.
    pub(crate) attempts: u32,
}

impl Patience {
    /// Short against the time that an order waits for its payment: 8 attempts take 13 s of pauses.
    pub(crate) const DEFAULT: Self = Self {
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_secs(30),
        attempts: 8,
    };
}

/// Carries out what is asked until its outcome is certain. `resumed`: the provider may have heard
/// of it before.
pub(crate) async fn carry_out(
    provider: &Provider,
    patience: &Patience,
    request: &Request,
    resumed: bool,
) -> Outcome {
    let id = &*request.operation_id;
    let mut heard_of = resumed;
    let mut attempts = 0;
    let mut pause = patience.first_pause;
    loop {
        let answered = if heard_of {
            provider.find(request).await
        } else {
            attempts += 1;
            provider.perform(request).await.map(Some)
        };
        match answered.map(|answer| answer.map(|answer| settle(request, answer))) {
            Ok(Some(Some(outcome))) => return outcome,
            Ok(None) if attempts >= patience.attempts && gives_up(&request.task) => {
                let detail = format!("{attempts} attempts, none of which the provider carried out");
                return Outcome::Failed { detail };
            }
            Ok(None) => {
                heard_of = false;
                continue;
            }
            Ok(Some(None)) => {
                tracing::error!(operation.id = id, "the provider refuses to give money back");
            }
            Err(error) => {
                tracing::warn!(operation.id = id, attempts, %error, "no answer from the provider");
            }
        }
        heard_of = true;
        sleep(pause).await;
        pause = (pause * 2).min(patience.longest_pause);
    }
}

/// Whether an operation may end without the provider's answer.
fn gives_up(task: &Task) -> bool {
    match task {
        Task::Authorize { .. } => true,
        Task::Capture { .. } | Task::Void { .. } | Task::Refund { .. } => false,
    }
}

/// What an answer means; `None` when money that must be given back is not. An operator has to talk
/// to the provider then, which is asked again until it is.
fn settle(request: &Request, answer: Answer) -> Option<Outcome> {
    match (&request.task, answer) {
        (_, Answer::Approved { provider_reference }) => {
            Some(Outcome::Approved { provider_reference })
        }
        (Task::Authorize { .. } | Task::Capture { .. }, Answer::Declined { code }) => {
            Some(Outcome::Declined { code })
        }
        (Task::Void { .. } | Task::Refund { .. }, Answer::Declined { .. }) => None,
    }
}
