//! What came of an attempt, whatever it was made by: HTTP or SMTP.

use std::time::Duration;

use webhook_http::{Exchange, Failure, Instruction, Outcome};

use crate::domain::DisabledReason;

/// What came of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// What went wrong; `None` when it was delivered.
    pub(super) error: Option<&'static str>,
    /// The HTTP status, or the reply code of SMTP; 0 without an answer.
    pub(super) status: u16,
    /// How long it took until that was known.
    pub(super) latency: Duration,
    /// The beginning of the answer, without what is secret or personal.
    pub(super) excerpt: String,
    /// How long the receiver wants no further attempt.
    pub(super) retry_after: Option<Duration>,
    /// Whether the receiver asks for less.
    pub(super) is_overloaded: bool,
    /// Whether to try it again is of no use.
    pub(super) is_final: bool,
    /// Whether it is not to be sent: the receiver says so, or there is none.
    pub(super) is_aborted: bool,
    /// Why the endpoint is to be disabled, if it asks for that.
    pub(super) disable: Option<DisabledReason>,
    /// What the receiver asks for by `webhook-delivery`, as it says it.
    pub(super) instruction: Option<&'static str>,
}

impl Reply {
    /// Nothing was sent, and it may be tried again.
    pub(super) fn unsent(error: &'static str) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// There is nobody that it could be sent to.
    pub(super) fn unaddressed(error: &'static str) -> Self {
        Self { error: Some(error), is_aborted: true, ..Self::default() }
    }

    /// Whether nothing more of the delivery follows.
    pub(super) fn is_over(&self) -> bool {
        self.error.is_none() || self.is_final || self.is_aborted
    }
}

impl From<Exchange> for Reply {
    fn from(exchange: Exchange) -> Self {
        let Exchange { outcome, status, latency, response_excerpt, retry_after, instruction } =
            exchange;
        let error = match outcome {
            Outcome::Failed(failure) | Outcome::Throttled(failure) => Some(failure.as_str()),
            Outcome::Gone => Some(Failure::Status.as_str()),
            Outcome::Delivered => None,
        };
        Self {
            error,
            status: status.unwrap_or(0),
            latency,
            excerpt: response_excerpt,
            retry_after,
            is_overloaded: matches!(outcome, Outcome::Throttled(_)),
            is_final: false,
            is_aborted: instruction == Some(Instruction::AbortMessage),
            instruction: instruction.map(Instruction::as_str),
            disable: match (outcome, instruction) {
                (Outcome::Gone, _) => Some(DisabledReason::Gone),
                (_, Some(Instruction::Disable)) => Some(DisabledReason::Instructed),
                (_, Some(Instruction::AbortMessage) | None) => None,
            },
        }
    }
}

impl From<mail::Exchange> for Reply {
    fn from(exchange: mail::Exchange) -> Self {
        let (error, is_final) = match exchange.outcome {
            mail::Outcome::Accepted => (None, false),
            mail::Outcome::Failed(failure) => (Some(failure.as_str()), false),
            mail::Outcome::Rejected(failure) => (Some(failure.as_str()), true),
        };
        Self {
            error,
            status: exchange.code.unwrap_or(0),
            latency: exchange.latency,
            is_overloaded: exchange.is_overloaded(),
            is_final,
            excerpt: exchange.enhanced_code,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_mail(outcome: mail::Outcome, code: u16) -> Reply {
        let (code, enhanced_code) = (Some(code), "5.1.1".to_owned());
        mail::Exchange { outcome, code, enhanced_code, latency: Duration::ZERO }.into()
    }

    #[test]
    fn what_a_mail_server_refuses_for_good_is_over_and_what_it_defers_is_not() {
        let rejected = by_mail(mail::Outcome::Rejected(mail::Failure::Rejected), 550);
        assert!(rejected.is_over() && rejected.is_final && !rejected.is_aborted);
        assert_eq!(
            (rejected.error, rejected.status, &*rejected.excerpt),
            (Some("rejected"), 550, "5.1.1")
        );
        let deferred = by_mail(mail::Outcome::Failed(mail::Failure::Deferred), 450);
        assert!(!deferred.is_over() && !deferred.is_overloaded);
        let busy = by_mail(mail::Outcome::Failed(mail::Failure::Deferred), 421);
        assert!(!busy.is_over() && busy.is_overloaded);
        assert_eq!(by_mail(mail::Outcome::Accepted, 250).error, None);
        assert!(Reply::unaddressed("recipient_erased").is_over());
        assert!(!Reply::unsent("order_unavailable").is_over());
    }
}
