//! Operations: what is asked of the provider, and how its outcome becomes certain.
//!
//! An operation is in the log as pending before the provider is asked for it, and stays pending until
//! its outcome is certain. Whenever the provider may have heard of it (after a restart, after any
//! call without an answer), it is first asked what became of it, and only what it knows nothing of
//! is asked for again, with the same idempotency key: so nothing is charged twice, and an uncertain
//! outcome is never called a failure.

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
    domain::{Input, Operation, OperationKind, Outcome, Payment, Pending},
    provider::{Answer, Provider, ProviderError, Request, Task},
    store::PaymentRow,
};

/// After so many attempts to authorise, of which the provider has carried out none, the payment has
/// failed: they take 13 s, short against the time that an order waits for its payment. Money that
/// is promised or owed is moved however long it takes.
const MAX_AUTHORIZE_ATTEMPTS: u32 = 8;
/// The pause after the first attempt without an answer; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The pause after what only an operator can settle.
const OPERATOR_PAUSE: Duration = Duration::from_mins(10);

impl Effects for Payments {
    const OPERATION: OperationColumn =
        OperationColumn { table: PaymentRow::TABLE.name, column: "operation" };

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
        match ask(&self.provider, &announced.request, attempt).await {
            Ok(outcome) => Attempted::Done(announced.settled(outcome)),
            Err(NoOutcome::Refused) => {
                tracing::error!(operation.id = id, "the provider refuses to give money back");
                Attempted::RetryAt(next_attempt(id, attempt))
            }
            Err(NoOutcome::Provider(error @ ProviderError::KeyReused)) => {
                tracing::error!(operation.id = id, %error, "the operation cannot be carried out");
                Attempted::RetryAt(attempt.now + OPERATOR_PAUSE)
            }
            Err(NoOutcome::Provider(error)) => {
                let number = attempt.number;
                tracing::warn!(operation.id = id, attempt = number, %error, "no answer");
                Attempted::RetryAt(next_attempt(id, attempt))
            }
        }
    }
}

/// Why the outcome of an operation is not known after an attempt.
enum NoOutcome {
    /// The provider gave no answer.
    Provider(ProviderError),
    /// Money that must be given back is not. An operator has to talk to the provider, which is
    /// asked again until it is.
    Refused,
}

impl From<ProviderError> for NoOutcome {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

/// Makes one attempt.
async fn ask(
    provider: &Provider,
    request: &Request,
    attempt: Attempt,
) -> Result<Outcome, NoOutcome> {
    let authorizes = match &request.task {
        Task::Authorize { .. } => true,
        Task::Capture { .. } | Task::Void { .. } | Task::Refund { .. } => false,
    };
    let found = if attempt.may_be_known { provider.find(request).await } else { Ok(None) };
    let answered = match found {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => provider.perform(request).await,
        Err(ProviderError::KeyReused) => Err(ProviderError::KeyReused),
        // While the provider cannot be asked what it has done, no attempt is the last.
        Err(error) => return Err(error.into()),
    };
    let answer = match answered {
        Err(ProviderError::KeyReused) if authorizes => {
            let detail = ProviderError::KeyReused.to_string();
            return Ok(Outcome::Failed { detail });
        }
        // The payment has failed once the provider says that it has done nothing, and only then.
        Err(_) if authorizes && attempt.number >= MAX_AUTHORIZE_ATTEMPTS => {
            let Some(answer) = provider.find(request).await? else {
                let number = attempt.number;
                let detail = format!("{number} attempts, none of which the provider carried out");
                return Ok(Outcome::Failed { detail });
            };
            answer
        }
        answered => answered?,
    };
    match (&request.task, answer) {
        (_, Answer::Approved { provider_reference }) => {
            Ok(Outcome::Approved { provider_reference })
        }
        (Task::Authorize { .. } | Task::Capture { .. }, Answer::Declined { code }) => {
            Ok(Outcome::Declined { code })
        }
        (Task::Void { .. } | Task::Refund { .. }, Answer::Declined { .. }) => {
            Err(NoOutcome::Refused)
        }
    }
}

/// When the next attempt is made: after a pause that doubles with each attempt, changed by up to a
/// quarter so that operations which failed together are not tried again together.
fn next_attempt(operation_id: &str, attempt: Attempt) -> Timestamp {
    let doublings = attempt.number.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_PAUSE);
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
        let operation_id = payment.pending_id().filter(|id| *id == announced.id)?;
        let amount = payment.money(payment.pending_transaction()?.amount);
        let Payment { id: payment_id, payment_method, provider_reference, pending, .. } = payment;
        let Pending { operation, context } = pending?;
        let task = match operation.kind {
            OperationKind::Authorize => Task::Authorize { payment_method },
            OperationKind::Capture => Task::Capture { provider_reference },
            OperationKind::Void => Task::Void { provider_reference },
            OperationKind::Refund => Task::Refund { provider_reference },
        };
        let request = Request { operation_id, shop: announced.shop.clone(), amount, task };
        Some(Self { payment_id, operation, request, context })
    }

    /// The input that says what became of it.
    fn settled(self, outcome: Outcome) -> InternalInput<Input> {
        let Self { payment_id, operation, request, context } = self;
        let Request { operation_id, shop, task, .. } = request;
        InternalInput {
            shop,
            aggregate: payment_id.to_string(),
            cause: Cause { id: operation_id, kind: format!("operation.{}", task.as_str()) },
            context,
            input: Input::Settled { payment_id, operation, outcome },
        }
    }
}
