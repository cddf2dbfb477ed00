//! Operations: what is asked of the provider, and how its outcome becomes certain.
//!
//! An operation is in the log as pending before the provider is asked for it, and stays pending until
//! its outcome is certain. Whenever the provider may have heard of it (after a restart, after any
//! call without an answer), it is first asked what became of it, and only what it knows nothing of
//! is asked for again, with the same idempotency key: so nothing is charged twice, and an uncertain
//! outcome is never called a failure.
//!
//! What the order has no use for any more (see [`Payment::look_up_only_from`]) is not asked for, only
//! looked up: it has failed when the provider has not heard of it, for as long as a call that it never
//! answered may still be carried out. After some attempts without an answer the operation is uncertain
//! and is looked up at longer pauses; when it has been silent for long, it is stuck.

#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use engine::{Attempt, Attempted, Cause, Context, Effects, InternalInput, OperationColumn, Row};
use events::id::PaymentId;
use protocol::time::Timestamp;

use crate::{
    Payments,
    domain::{Input, Operation, OperationKind, Outcome, Payment, PaymentRow, Pending, Trouble},
    provider::{Answer, DatedAnswer, Provider, ProviderError, Request, Task},
};

/// After so many attempts without an answer an operation is uncertain: they take 13 s, short against
/// the time that an order waits for its payment. An authorisation or a charge whose attempts were all answered
/// and none carried out has failed then.
const MAX_ATTEMPTS: u32 = 8;
/// The pause after the first attempt without an answer; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause of an operation that is uncertain or stuck, as a multiple of the first.
const MAX_LOOKUP_FACTOR: u32 = 16;
/// The longest pause between two look-ups of an authorisation or a charge for which the customer has to do
/// something.
const ACTION_PAUSE: Duration = Duration::from_secs(2);
/// The pause after what only an operator can settle.
const OPERATOR_PAUSE: Duration = Duration::from_mins(10);

/// How long the payment service waits for the provider, and when it takes an operation for stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupPolicy {
    /// The pause after the first look-up of an operation that is uncertain; each further one is twice as
    /// long, up to 16 times.
    pub lookup_interval: Duration,
    /// For how long the provider may carry out a call that it has not answered. Longer than the timeout
    /// of a call.
    pub late_window: Duration,
    /// After how long an operation without an answer is stuck.
    pub stuck_after: Duration,
}

impl Effects for Payments {
    const OPERATION: OperationColumn =
        OperationColumn { table: PaymentRow::TABLE.name, column: "operation", due: None };

    fn destination(&self, _operation: &engine::Operation) -> String {
        format!("provider {}", Provider::NAME)
    }

    fn context(operation: &engine::Operation) -> Context {
        Announced::read(operation).map(|announced| announced.context).unwrap_or_default()
    }

    async fn execute(&self, operation: &engine::Operation, attempt: Attempt) -> Attempted<Input> {
        let id = &*operation.id;
        let announced = match Announced::read(operation) {
            Ok(announced) => announced,
            Err(error) => {
                tracing::error!(operation.id = id, %error, "a pending operation does not read");
                return Attempted::RetryAt(attempt.now + OPERATOR_PAUSE);
            }
        };
        let policy = &self.policy;
        match ask(&self.provider, &announced, attempt, policy).await {
            // It is known already that the customer has to do something.
            Asked::Answered(Outcome::ActionRequired { .. }, _) if announced.awaits_action => {
                let pause = ACTION_PAUSE.min(policy.lookup_interval);
                Attempted::RetryAt(attempt.now + pause)
            }
            Asked::Answered(outcome, at) => Attempted::Done(announced.settled(outcome, at)),
            Asked::Nothing { certain_at } => {
                let next = next_attempt(id, attempt, announced.trouble, policy);
                Attempted::RetryAt(next.min(certain_at))
            }
            Asked::Silent(error) => {
                let number = attempt.number;
                tracing::warn!(operation.id = id, attempt = number, %error, "no answer");
                match announced.after_silence(attempt, policy) {
                    Some(outcome) => Attempted::Done(announced.settled(outcome, None)),
                    None => {
                        Attempted::RetryAt(next_attempt(id, attempt, announced.trouble, policy))
                    }
                }
            }
        }
    }
}

/// What comes of one attempt.
enum Asked {
    /// The outcome is certain; and since when, if the provider said so.
    Answered(Outcome, Option<Timestamp>),
    /// The provider has done nothing so far, and is not asked to; it is certain at that time that it
    /// will not.
    Nothing { certain_at: Timestamp },
    /// The provider gave no answer.
    Silent(ProviderError),
}

impl From<DatedAnswer> for Asked {
    fn from(DatedAnswer { answer, at }: DatedAnswer) -> Self {
        Self::Answered(outcome(answer), Some(at))
    }
}

/// Makes one attempt.
async fn ask(
    provider: &Provider,
    announced: &Announced,
    attempt: Attempt,
    policy: &LookupPolicy,
) -> Asked {
    let request = &announced.request;
    let may_be_known =
        attempt.may_be_known || announced.trouble.is_some() || announced.awaits_action;
    let found = if may_be_known { provider.find(request).await } else { Ok(None) };
    let answer = match found {
        Ok(Some(answer)) => return answer.into(),
        Ok(None) => match announced.look_up_only_from {
            Some(from) if from <= attempt.now => {
                return looked_up(from, may_be_known, attempt.now, policy);
            }
            _ => provider.perform(request).await,
        },
        // While the provider cannot be asked what it has done, no attempt is the last.
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => answer.into(),
        Err(ProviderError::KeyReused) => Asked::Answered(Outcome::Conflict, None),
        // It says itself that it has failed; certain once it says so as well of the calls before.
        Err(ProviderError::Failed) if announced.has_failed(attempt) => {
            match provider.find(request).await {
                Ok(Some(answer)) => answer.into(),
                Ok(None) => {
                    let number = attempt.number;
                    let detail =
                        format!("{number} attempts, none of which the provider carried out");
                    Asked::Answered(Outcome::Failed { detail }, None)
                }
                Err(error) => Asked::Silent(error),
            }
        }
        Err(error) => Asked::Silent(error),
    }
}

/// What follows when the provider knows nothing of an operation that is not to be begun any more.
fn looked_up(from: Timestamp, may_be_known: bool, now: Timestamp, policy: &LookupPolicy) -> Asked {
    let certain_at = from + policy.late_window;
    let detail = if !may_be_known {
        "the order had no use for it before the provider was asked"
    } else if certain_at <= now {
        "the order has no use for it any more, and the provider has not carried it out"
    } else {
        return Asked::Nothing { certain_at };
    };
    Asked::Answered(Outcome::Failed { detail: detail.to_owned() }, None)
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Approved { provider_reference } => Outcome::Approved { provider_reference },
        Answer::Declined { code } => Outcome::Declined { code },
        Answer::ActionRequired { url, data, expires_at } => {
            Outcome::ActionRequired { url, data, expires_at }
        }
    }
}

/// When the next attempt is made: after a pause that doubles with each attempt, changed by up to a
/// quarter so that operations which failed together are not tried again together.
fn next_attempt(
    operation_id: &str,
    attempt: Attempt,
    trouble: Option<Trouble>,
    policy: &LookupPolicy,
) -> Timestamp {
    let (first, longest) = match trouble {
        None => (FIRST_PAUSE, MAX_PAUSE),
        Some(Trouble::Uncertain) => {
            (policy.lookup_interval, policy.lookup_interval * MAX_LOOKUP_FACTOR)
        }
        Some(Trouble::Stuck(_)) => {
            let longest = policy.lookup_interval * MAX_LOOKUP_FACTOR;
            (longest, longest)
        }
    };
    let doublings = attempt.number.saturating_sub(1).min(16);
    let pause = first.saturating_mul(1 << doublings).min(longest);
    // A hash with fixed keys, so that an attempt has the same pause in each run.
    let mut hasher = DefaultHasher::new();
    (operation_id, attempt.number).hash(&mut hasher);
    let percent = 75 + (hasher.finish() % 51) as u32;
    attempt.now + pause * percent / 100
}

/// An operation that a payment announces.
struct Announced {
    payment_id: PaymentId,
    operation: Operation,
    request: Request,
    /// What it continues.
    context: Context,
    /// When it was decided.
    since: Timestamp,
    trouble: Option<Trouble>,
    /// Whether the customer has to do something first.
    awaits_action: bool,
    /// See [`Payment::look_up_only_from`].
    look_up_only_from: Option<Timestamp>,
}

/// A row that does not announce the operation for which it was fetched.
#[derive(Debug, thiserror::Error)]
enum AnnouncedError {
    #[error("the row does not read")]
    Document(#[from] serde_json::Error),
    #[error("the payment is {status} and announces no such operation")]
    Nothing { status: &'static str },
}

impl Announced {
    fn read(operation: &engine::Operation) -> Result<Self, AnnouncedError> {
        let PaymentRow { payment, .. } = serde_json::from_str(&operation.document)?;
        let status = payment.status.as_str();
        Self::of(operation, payment).ok_or(AnnouncedError::Nothing { status })
    }

    fn of(announced: &engine::Operation, payment: Payment) -> Option<Self> {
        payment.pending_id().filter(|id| *id == announced.id)?;
        let transaction = payment.pending_transaction()?;
        let (amount, since) = (payment.money(transaction.amount), transaction.at_ms);
        let look_up_only_from = payment.look_up_only_from();
        let awaits_action = payment.action.is_some();
        let Payment { id: payment_id, payment_method, provider_reference, pending, .. } = payment;
        let Pending { operation, context, trouble, .. } = pending?;
        let task = match operation.kind {
            OperationKind::Authorize => Task::Authorize { payment_method },
            OperationKind::Charge => Task::Charge { payment_method },
            OperationKind::Capture => Task::Capture { provider_reference },
            OperationKind::Void => Task::Void { provider_reference },
            OperationKind::Refund => Task::Refund { provider_reference },
        };
        let (operation_id, shop) = (operation.id(payment_id), announced.shop.clone());
        let request = Request { operation_id, shop, amount, task };
        let since = Timestamp::from_millis(since);
        Some(Self {
            payment_id,
            operation,
            request,
            context,
            since,
            trouble,
            awaits_action,
            look_up_only_from,
        })
    }

    /// Whether an attempt that the provider answered with a failure is the last one.
    fn has_failed(&self, attempt: Attempt) -> bool {
        let was_tried_often = attempt.number >= MAX_ATTEMPTS || self.trouble.is_some();
        let begins =
            matches!(self.operation.kind, OperationKind::Authorize | OperationKind::Charge);
        begins && was_tried_often
    }

    /// What follows from an attempt without an answer, if anything does.
    fn after_silence(&self, attempt: Attempt, policy: &LookupPolicy) -> Option<Outcome> {
        let is_for_long = self.since + policy.stuck_after <= attempt.now;
        match self.trouble {
            Some(Trouble::Stuck(_)) => None,
            _ if is_for_long => Some(Outcome::Silent { for_long: true }),
            None if attempt.number >= MAX_ATTEMPTS => Some(Outcome::Silent { for_long: false }),
            None | Some(Trouble::Uncertain) => None,
        }
    }

    /// The input that says what became of it, and when by the provider's clock.
    fn settled(self, outcome: Outcome, occurred_at: Option<Timestamp>) -> InternalInput<Input> {
        let Self { payment_id, operation, request, context, .. } = self;
        let Request { operation_id, shop, task, .. } = request;
        InternalInput {
            shop,
            aggregate: payment_id.to_string(),
            cause: Cause { id: operation_id, kind: format!("operation.{}", task.as_str()) },
            context,
            input: Input::Settled { payment_id, operation, outcome, occurred_at },
        }
    }
}
