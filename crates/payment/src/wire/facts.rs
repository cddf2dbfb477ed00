//! Facts, as they are in the log.

use engine::WireError;
use events::{
    id::PaymentId,
    money::Money,
    proto::{self, payment::payment_event::Kind},
};
use protocol::{id::ParseError, time::Timestamp};

use crate::domain::{After, DifferenceKind, Fact, Operation, Refund, Resolution, StuckReason};

#[expect(clippy::too_many_lines, reason = "one arm for each fact")]
pub(super) fn encode(payment_id: PaymentId, fact: &Fact) -> Kind {
    let id = |operation: &Operation| operation.id(payment_id);
    let money = |amount: &Money| Some((*amount).into());
    match fact {
        Fact::AuthorizationPending { operation, amount, payment_method, due_by } => {
            Kind::AuthorizationPending(proto::payment::AuthorizationPending {
                operation_id: id(operation),
                amount: money(amount),
                payment_method: payment_method.clone(),
                due_by: Some((*due_by).into()),
            })
        }
        Fact::ChargePending { operation, amount, payment_method, due_by } => {
            Kind::ChargePending(proto::payment::ChargePending {
                operation_id: id(operation),
                amount: money(amount),
                payment_method: payment_method.clone(),
                due_by: Some((*due_by).into()),
            })
        }
        // The provider's name for it is in the summary.
        Fact::Authorized { operation, provider_reference: _, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Authorized(proto::payment::Authorized { operation_id, amount })
        }
        Fact::Declined { operation, code } => {
            let (operation_id, code) = (id(operation), code.clone());
            Kind::Declined(proto::payment::Declined { operation_id, code })
        }
        Fact::Failed { operation, detail } => {
            let (operation_id, detail) = (id(operation), detail.clone());
            Kind::Failed(proto::payment::Failed { operation_id, detail })
        }
        Fact::CapturePending { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::CapturePending(proto::payment::CapturePending { operation_id, amount })
        }
        Fact::Captured { operation, amount, provider_reference: _ } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Captured(proto::payment::Captured { operation_id, amount })
        }
        Fact::CaptureFailed { operation, code } => {
            let (operation_id, code) = (id(operation), code.clone());
            Kind::CaptureFailed(proto::payment::CaptureFailed { operation_id, code })
        }
        Fact::VoidPending { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::VoidPending(proto::payment::VoidPending { operation_id, amount })
        }
        Fact::Voided { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::Voided(proto::payment::Voided { operation_id, amount })
        }
        Fact::RefundPending { operation, amount, refund } => {
            Kind::RefundPending(proto::payment::RefundPending {
                operation_id: id(operation),
                amount: money(amount),
                refund_id: refund.id.clone(),
                reason: refund.reason.clone(),
            })
        }
        Fact::Refunded { operation, amount, refund_id } => {
            Kind::Refunded(proto::payment::Refunded {
                operation_id: id(operation),
                amount: money(amount),
                refund_id: refund_id.clone(),
            })
        }
        Fact::TurnedUp { operation, amount, provider_reference: _ } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::TurnedUp(proto::payment::TurnedUp { operation_id, amount })
        }
        Fact::CaptureRequested { operation, amount } => {
            let (operation_id, amount) = (id(operation), money(amount));
            Kind::CaptureRequested(proto::payment::CaptureRequested { operation_id, amount })
        }
        Fact::RefundRequested { amount, refund } => {
            Kind::RefundRequested(proto::payment::RefundRequested {
                refund_id: refund.id.clone(),
                amount: money(amount),
                reason: refund.reason.clone(),
            })
        }
        Fact::ActionRequired { operation, url, data, expires_at } => {
            Kind::ActionRequired(proto::payment::ActionRequired {
                operation_id: id(operation),
                url: url.clone(),
                data: data.clone(),
                expires_at: Some((*expires_at).into()),
            })
        }
        Fact::CancelRequested => Kind::CancelRequested(proto::payment::CancelRequested {}),
        Fact::Uncertain { operation, since } => {
            let (operation_id, since) = (id(operation), Some((*since).into()));
            Kind::Uncertain(proto::payment::Uncertain { operation_id, since })
        }
        Fact::Stuck { operation, reason, detail, since } => Kind::Stuck(proto::payment::Stuck {
            operation_id: id(operation),
            reason: encode_stuck_reason(*reason).into(),
            detail: detail.clone(),
            since: Some((*since).into()),
        }),
        Fact::SettledByOperator { operation, amount, resolution, reason, operator } => {
            Kind::SettledByOperator(proto::payment::SettledByOperator {
                operation_id: id(operation),
                amount: money(amount),
                resolution: encode_resolution(*resolution).into(),
                reason: reason.clone(),
                operator: operator.clone(),
            })
        }
    }
}

pub(super) fn decode(kind: Kind, after: &After) -> Result<Fact, WireError> {
    let money = |amount: Option<proto::Money>| Money::parse(amount.as_ref());
    let operation = |id: &str| Ok::<_, ParseError>(Operation::parse_id(id)?.1);
    Ok(match kind {
        Kind::AuthorizationPending(it) => Fact::AuthorizationPending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            payment_method: it.payment_method,
            due_by: Timestamp::parse(it.due_by.as_ref())?,
        },
        Kind::ChargePending(it) => Fact::ChargePending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            payment_method: it.payment_method,
            due_by: Timestamp::parse(it.due_by.as_ref())?,
        },
        Kind::Authorized(it) => Fact::Authorized {
            operation: operation(&it.operation_id)?,
            provider_reference: after.provider_reference.clone(),
            amount: money(it.amount)?,
        },
        Kind::Declined(it) => {
            Fact::Declined { operation: operation(&it.operation_id)?, code: it.code }
        }
        Kind::Failed(it) => {
            Fact::Failed { operation: operation(&it.operation_id)?, detail: it.detail }
        }
        Kind::CapturePending(it) => Fact::CapturePending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
        },
        Kind::Captured(it) => Fact::Captured {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            provider_reference: after.provider_reference.clone(),
        },
        Kind::CaptureFailed(it) => {
            Fact::CaptureFailed { operation: operation(&it.operation_id)?, code: it.code }
        }
        Kind::VoidPending(it) => {
            Fact::VoidPending { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::Voided(it) => {
            Fact::Voided { operation: operation(&it.operation_id)?, amount: money(it.amount)? }
        }
        Kind::RefundPending(it) => Fact::RefundPending {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            refund: Refund { id: it.refund_id, reason: it.reason },
        },
        Kind::Refunded(it) => Fact::Refunded {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            refund_id: it.refund_id,
        },
        Kind::TurnedUp(it) => Fact::TurnedUp {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
            provider_reference: after.provider_reference.clone(),
        },
        Kind::CaptureRequested(it) => Fact::CaptureRequested {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount)?,
        },
        Kind::RefundRequested(it) => Fact::RefundRequested {
            amount: money(it.amount)?,
            refund: Refund { id: it.refund_id, reason: it.reason },
        },
        Kind::ActionRequired(it) => Fact::ActionRequired {
            operation: operation(&it.operation_id)?,
            expires_at: Timestamp::parse(it.expires_at.as_ref())?,
            url: it.url,
            data: it.data,
        },
        Kind::CancelRequested(proto::payment::CancelRequested {}) => Fact::CancelRequested,
        Kind::Uncertain(it) => Fact::Uncertain {
            operation: operation(&it.operation_id)?,
            since: Timestamp::parse(it.since.as_ref())?,
        },
        Kind::Stuck(it) => Fact::Stuck {
            operation: operation(&it.operation_id)?,
            reason: stuck_reason(it.reason())?,
            since: Timestamp::parse(it.since.as_ref())?,
            detail: it.detail,
        },
        Kind::SettledByOperator(it) => Fact::SettledByOperator {
            operation: operation(&it.operation_id)?,
            amount: money(it.amount.clone())?,
            resolution: resolution(it.resolution())?,
            reason: it.reason,
            operator: it.operator,
        },
    })
}

pub(super) fn encode_stuck_reason(reason: StuckReason) -> proto::payment::StuckReason {
    match reason {
        StuckReason::NoAnswer => proto::payment::StuckReason::NoAnswer,
        StuckReason::Refused => proto::payment::StuckReason::Refused,
        StuckReason::Conflict => proto::payment::StuckReason::Conflict,
        StuckReason::UnknownToUs => proto::payment::StuckReason::UnknownToUs,
        StuckReason::UnknownToProvider => proto::payment::StuckReason::UnknownToProvider,
        StuckReason::AmountDiffers => proto::payment::StuckReason::AmountDiffers,
    }
}

fn stuck_reason(reason: proto::payment::StuckReason) -> Result<StuckReason, ParseError> {
    match reason {
        proto::payment::StuckReason::NoAnswer => Ok(StuckReason::NoAnswer),
        proto::payment::StuckReason::Refused => Ok(StuckReason::Refused),
        proto::payment::StuckReason::Conflict => Ok(StuckReason::Conflict),
        proto::payment::StuckReason::UnknownToUs => Ok(StuckReason::UnknownToUs),
        proto::payment::StuckReason::UnknownToProvider => Ok(StuckReason::UnknownToProvider),
        proto::payment::StuckReason::AmountDiffers => Ok(StuckReason::AmountDiffers),
        proto::payment::StuckReason::Unspecified => Err(unknown("reason")),
    }
}

fn encode_resolution(resolution: Resolution) -> proto::payment::Resolution {
    match resolution {
        Resolution::DoneElsewhere => proto::payment::Resolution::DoneElsewhere,
        Resolution::Retry => proto::payment::Resolution::Retry,
        Resolution::GiveUp => proto::payment::Resolution::GiveUp,
    }
}

pub(super) fn resolution(resolution: proto::payment::Resolution) -> Result<Resolution, ParseError> {
    match resolution {
        proto::payment::Resolution::DoneElsewhere => Ok(Resolution::DoneElsewhere),
        proto::payment::Resolution::Retry => Ok(Resolution::Retry),
        proto::payment::Resolution::GiveUp => Ok(Resolution::GiveUp),
        proto::payment::Resolution::Unspecified => Err(unknown("resolution")),
    }
}

fn unknown(what: &'static str) -> ParseError {
    ParseError::new(what, "must be one that this version knows", "")
}

pub(super) fn encode_difference_kind(kind: DifferenceKind) -> proto::payment::DifferenceKind {
    match kind {
        DifferenceKind::UnknownToUs => proto::payment::DifferenceKind::UnknownToUs,
        DifferenceKind::UnknownToProvider => proto::payment::DifferenceKind::UnknownToProvider,
        DifferenceKind::AmountDiffers => proto::payment::DifferenceKind::AmountDiffers,
    }
}

pub(super) fn difference_kind(
    kind: proto::payment::DifferenceKind,
) -> Result<DifferenceKind, WireError> {
    match kind {
        proto::payment::DifferenceKind::UnknownToUs => Ok(DifferenceKind::UnknownToUs),
        proto::payment::DifferenceKind::UnknownToProvider => Ok(DifferenceKind::UnknownToProvider),
        proto::payment::DifferenceKind::AmountDiffers => Ok(DifferenceKind::AmountDiffers),
        proto::payment::DifferenceKind::Unspecified => Err(WireError::Missing("kind")),
    }
}
