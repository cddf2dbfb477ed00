//! How each fact changes a payment.

use engine::Context;
use events::money::Money;
use protocol::time::Timestamp;

use super::{
    Action, DONE_ELSEWHERE, Fact, OpenDifference, Operation, OperationKind, Payment, Pending,
    Refund, Resolution, Status, StuckReason, Transaction, TransactionStatus, Trouble, Wanted,
};

impl Payment {
    /// Folds a fact into the payment that it happened to.
    pub(super) fn fold(&mut self, fact: &Fact, time: Timestamp, context: &Context) {
        self.changed_at_ms = time.millis();
        match fact {
            Fact::AuthorizationPending { operation, amount, .. } => {
                self.begins(Status::AuthorizationPending, *operation, *amount, time, context);
            }
            Fact::ChargePending { operation, amount, .. } => {
                self.begins(Status::ChargePending, *operation, *amount, time, context);
            }
            Fact::CapturePending { operation, amount } => {
                self.begins(Status::CapturePending, *operation, *amount, time, context);
                self.wanted.retain(|wanted| match wanted {
                    Wanted::Capture { operation: known, .. } => known != operation,
                    Wanted::Refund { .. } => true,
                });
            }
            Fact::VoidPending { operation, amount } => {
                self.begins(Status::VoidPending, *operation, *amount, time, context);
            }
            Fact::RefundPending { operation, amount, refund } => {
                self.begins(Status::RefundPending, *operation, *amount, time, context);
                if let Some(begun) = self.transactions.last_mut() {
                    begun.refund.clone_from(refund);
                }
                self.wanted.retain(|wanted| match wanted {
                    Wanted::Refund { refund: known, .. } => known.id != refund.id,
                    Wanted::Capture { .. } => true,
                });
                if refund.is_unasked() {
                    self.surplus = (self.surplus - amount.minor).max(0);
                }
            }
            Fact::TurnedUp { operation, amount, provider_reference } => {
                self.turned_up(*operation, *amount, provider_reference, time);
            }
            Fact::CaptureRequested { operation, amount } => {
                let (operation, amount) = (*operation, amount.minor);
                self.wanted.push(Wanted::Capture { operation, amount });
            }
            Fact::RefundRequested { amount, refund } => {
                self.wanted.push(Wanted::Refund { refund: refund.clone(), amount: amount.minor });
            }
            Fact::ActionRequired { url, data, expires_at, .. } => {
                let (url, data, expires_at_ms) = (url.clone(), data.clone(), expires_at.millis());
                self.requires(Action { url, data, expires_at_ms });
            }
            Fact::Authorized { operation, provider_reference, amount } => {
                self.ends(Status::Authorized, *operation, TransactionStatus::Done, "");
                self.provider_reference.clone_from(provider_reference);
                self.authorized += amount.minor;
            }
            Fact::Captured { operation, amount, provider_reference } => {
                self.captured(*operation, *amount, provider_reference);
            }
            Fact::Voided { operation, amount } => {
                self.clear_given_up(*operation, *amount);
                self.ends(Status::Voided, *operation, TransactionStatus::Done, "");
                self.authorized -= amount.minor;
            }
            Fact::Refunded { operation, amount, .. } => {
                self.clear_given_up(*operation, *amount);
                self.ends(Status::Refunded, *operation, TransactionStatus::Done, "");
                self.refunded += amount.minor;
            }
            Fact::Declined { operation, code } => {
                self.ends(Status::Declined, *operation, TransactionStatus::Refused, code);
                self.wanted.clear();
            }
            Fact::Failed { operation, detail } => {
                self.ends(Status::Failed, *operation, TransactionStatus::Failed, detail);
                self.wanted.clear();
            }
            Fact::CaptureFailed { operation, code } => {
                self.ends(Status::CaptureFailed, *operation, TransactionStatus::Refused, code);
                // The order may be paid by another payment from here on: this one must take nothing more.
                self.wanted.retain(|wanted| matches!(wanted, Wanted::Refund { .. }));
            }
            Fact::CancelRequested => {
                self.cancelled_at_ms = Some(time.millis());
                // All of it is given back.
                self.wanted.clear();
                self.surplus = 0;
            }
            Fact::Uncertain { operation, .. } => {
                self.in_trouble(Trouble::Uncertain);
                self.mark(*operation, TransactionStatus::Uncertain, "");
            }
            Fact::Stuck { operation, reason, detail, .. } if reason.is_difference() => {
                let (reason, detail, at_ms) = (*reason, detail.clone(), time.millis());
                let operation = *operation;
                self.differences.push(OpenDifference { operation, reason, detail, at_ms });
            }
            Fact::Stuck { operation, reason, detail, .. } => {
                self.in_trouble(Trouble::Stuck(*reason));
                self.mark(*operation, TransactionStatus::Stuck, detail);
            }
            Fact::SettledByOperator { operation, .. } if !self.is_pending(*operation) => {
                self.difference_settled(*operation);
            }
            Fact::SettledByOperator { operation, amount, resolution, .. } => {
                self.settled_by_operator(*operation, *amount, *resolution);
            }
        }
    }

    /// Money was taken.
    fn captured(&mut self, operation: Operation, amount: Money, provider_reference: &str) {
        self.ends(Status::Captured, operation, TransactionStatus::Done, "");
        self.captured += amount.minor;
        // What is charged was not set aside before.
        if operation.kind == OperationKind::Charge {
            provider_reference.clone_into(&mut self.provider_reference);
            self.authorized += amount.minor;
        }
    }

    /// One difference to the provider's list is settled, if there is any of the operation.
    fn difference_settled(&mut self, operation: Operation) {
        let settled = self.differences.iter().position(|it| it.operation == operation);
        if let Some(index) = settled {
            self.differences.remove(index);
        }
    }

    /// The customer has to act before the operation goes on.
    fn requires(&mut self, action: Action) {
        self.status = Status::ActionRequired;
        self.action = Some(action);
        if let Some(pending) = &mut self.pending {
            pending.round += 1;
        }
    }

    fn turned_up(&mut self, operation: Operation, amount: Money, reference: &str, time: Timestamp) {
        reference.clone_into(&mut self.provider_reference);
        // What the order has paid before is its own: no more than this is given back.
        let is_surplus = self.kept() > 0 && !self.is_cancelled();
        match operation.kind {
            OperationKind::Charge => {
                self.status = Status::Captured;
                self.captured += amount.minor;
                self.authorized += amount.minor;
            }
            OperationKind::Capture => {
                self.status = Status::Captured;
                self.captured += amount.minor;
                // What was taken after all was neither given up nor let go before.
                let taken = (-self.held()).max(0);
                let given_up = taken.min(self.given_up_hold);
                self.given_up_hold -= given_up;
                self.authorized += taken - given_up;
            }
            OperationKind::Authorize | OperationKind::Void | OperationKind::Refund => {
                self.status = Status::Authorized;
                self.authorized += amount.minor;
            }
        }
        if self.transaction(operation).is_none() {
            self.transactions.push(Transaction {
                operation,
                amount: amount.minor,
                status: TransactionStatus::Done,
                detail: String::new(),
                at_ms: time.millis(),
                ended_at_ms: None,
                refund: Refund::default(),
            });
        }
        self.mark(operation, TransactionStatus::Done, "turned_up");
        if is_surplus {
            self.surplus += amount.minor;
        } else {
            self.cancelled_at_ms.get_or_insert(time.millis());
            self.wanted.clear();
        }
    }

    fn in_trouble(&mut self, trouble: Trouble) {
        if let Some(pending) = &mut self.pending {
            pending.trouble = Some(trouble);
            pending.round += 1;
        }
    }

    /// What follows at once says what becomes of an operation that was done elsewhere, and of a capture,
    /// a charge or an authorisation that is given up.
    fn settled_by_operator(&mut self, operation: Operation, amount: Money, how: Resolution) {
        let is_unasked = self.pending_transaction().is_some_and(|it| it.refund.is_unasked());
        match (how, operation.kind, self.trouble()) {
            (
                Resolution::Retry,
                OperationKind::Void | OperationKind::Refund,
                Some(Trouble::Stuck(StuckReason::Refused | StuckReason::Conflict)),
            ) => {
                // The provider gives the same answer to the same key: another operation follows.
                self.mark(operation, TransactionStatus::Refused, "");
                self.pending = None;
                if operation.kind == OperationKind::Refund && is_unasked {
                    self.surplus += amount.minor;
                }
            }
            (Resolution::Retry, ..) => self.in_trouble(Trouble::Uncertain),
            (Resolution::GiveUp, OperationKind::Void, _) => {
                self.given_up_hold += amount.minor;
                self.ends(Status::GivenUp, operation, TransactionStatus::GivenUp, "");
            }
            (Resolution::GiveUp, OperationKind::Refund, _) => {
                if self.is_cancelled() || is_unasked {
                    self.given_up_refund += amount.minor;
                }
                self.ends(Status::GivenUp, operation, TransactionStatus::GivenUp, "");
            }
            (Resolution::DoneElsewhere, ..) => {
                self.mark(operation, TransactionStatus::Stuck, DONE_ELSEWHERE);
            }
            (
                Resolution::GiveUp,
                OperationKind::Authorize | OperationKind::Capture | OperationKind::Charge,
                _,
            ) => {}
        }
    }

    /// The provider has done after all what an operator may have given up.
    fn clear_given_up(&mut self, operation: Operation, amount: Money) {
        let Some(known) = self.transaction(operation) else { return };
        let Some(given_up_ms) =
            known.ended_at_ms.filter(|_| known.status == TransactionStatus::GivenUp)
        else {
            return;
        };
        // What somebody had asked for was not counted while the order stood.
        let was_cancelled = self.cancelled_at_ms.is_some_and(|at_ms| at_ms <= given_up_ms);
        let was_counted = was_cancelled || known.refund.is_unasked();
        match operation.kind {
            OperationKind::Void => self.given_up_hold -= amount.minor,
            OperationKind::Refund if was_counted => self.given_up_refund -= amount.minor,
            OperationKind::Refund
            | OperationKind::Authorize
            | OperationKind::Capture
            | OperationKind::Charge => {}
        }
    }

    fn begins(
        &mut self,
        status: Status,
        operation: Operation,
        amount: Money,
        time: Timestamp,
        context: &Context,
    ) {
        self.status = status;
        self.transactions.push(Transaction {
            operation,
            amount: amount.minor,
            status: TransactionStatus::Pending,
            detail: String::new(),
            at_ms: time.millis(),
            ended_at_ms: None,
            refund: Refund::default(),
        });
        let context = context.clone();
        self.pending = Some(Pending { operation, context, round: 0, trouble: None });
    }

    fn ends(
        &mut self,
        status: Status,
        operation: Operation,
        outcome: TransactionStatus,
        detail: &str,
    ) {
        self.mark(operation, outcome, detail);
        // What had been given up may turn out to be done while another operation is pending.
        if self.pending.is_none() || self.is_pending(operation) {
            self.status = status;
            self.pending = None;
            self.action = None;
        }
    }

    fn mark(&mut self, operation: Operation, status: TransactionStatus, detail: &str) {
        if let Some(known) = self.transactions.iter_mut().rfind(|it| it.operation == operation) {
            known.status = status;
            known.ended_at_ms = status.is_final().then_some(self.changed_at_ms);
            if !detail.is_empty() {
                detail.clone_into(&mut known.detail);
            }
        }
    }
}
