//! What the log says of an order since it was placed, and what each event makes of it.

use events::proto::order::{CancelReason, FulfilmentStatus, OrderStatus, PaymentStatus};

use super::{
    super::step::{ReportedStatus, Step},
    Status,
};

/// What the log says of an order since it was placed; amounts in minor units.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen in the log by itself")]
pub(super) struct Placed {
    pub(super) status: Status,
    pub(super) total: i64,
    /// The units of each SKU, as their fingerprint.
    pub(super) units: u64,
    /// The units of all lines, and those that have shipped.
    pub(super) wanted: i64,
    shipped: i64,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    /// What payment was asked to capture.
    requested: i64,
    is_on_hold: bool,
    /// Whether the last payment is one in one step, or the next one is.
    one_step: bool,
    /// Whether its stock is allocated for a payment in one step.
    is_allocated: bool,
    /// How many payments were begun: none of an order on account.
    payments: u32,
    /// Those that others took the place of while they waited for their customer, by number.
    pub(super) abandoned: Vec<u32>,
    /// Whether the customer has left the last one.
    is_left: bool,
    pub(super) reported: ReportedStatus,
}

impl Placed {
    pub(super) fn new(total: i64, units: u64) -> Self {
        let reported = ReportedStatus {
            status: OrderStatus::Placed,
            payment: PaymentStatus::Pending,
            // Of nothing, all has shipped.
            fulfilment: FulfilmentStatus::Fulfilled,
        };
        Self {
            status: Status::Placed,
            total,
            units,
            wanted: 0,
            shipped: 0,
            captured: 0,
            refunded: 0,
            requested: 0,
            is_on_hold: false,
            one_step: false,
            is_allocated: false,
            payments: 0,
            abandoned: Vec::new(),
            is_left: false,
            reported,
        }
    }

    /// Folds an event into the order; what is wrong with it, if something is.
    pub(super) fn fold(&mut self, step: Step) -> Option<&'static str> {
        match step {
            Step::PaymentDue { amount, one_step } => self.pay(amount, one_step),
            Step::CapturedAtOnce { amount } => self.ask_for(amount),
            Step::Abandoned { payment } => {
                self.abandoned.push(payment);
                None
            }
            Step::PaymentFailed => {
                self.reported.payment = PaymentStatus::Failed;
                self.fail()
            }
            Step::ActionRequired => {
                self.reported.payment = PaymentStatus::ActionRequired;
                let is_open = self.status == Status::PaymentDue || self.status.stands();
                (!is_open).then_some("no payment is open")
            }
            Step::Authorized { by_payment, one_step } => self.authorize(by_payment, one_step),
            Step::Confirmed { capture } => self.confirm(capture),
            Step::Captured { amount, payment } => {
                self.captured += amount;
                // A payment that takes the place of a failed one is known to be authorised by that.
                if payment == self.payments && is_open(self.reported.payment) {
                    self.reported.payment = PaymentStatus::Authorized;
                }
                (self.captured >= self.total).then_some("all is captured")
            }
            Step::Paid { amount } => {
                self.captured = amount.unwrap_or(0);
                let wrong = (amount != Some(self.total)).then_some("another amount");
                let wrong = self.go(Status::Paid).or(wrong);
                self.report_payment();
                wrong
            }
            Step::OrderShipped { units, capture } => self.ship(units, capture),
            Step::Completed => self.complete(),
            Step::Refunded { amount } => {
                self.refunded += amount;
                let is_cancelled = matches!(self.status, Status::Cancelled(_));
                // Until all is paid, a refund leaves the status as it is: more is to be captured.
                if self.status == Status::Paid || is_cancelled {
                    self.report_payment();
                }
                (!is_cancelled && self.refunded > self.captured).then_some("more than captured")
            }
            Step::Hold { is_on } => {
                let wrong = (self.is_on_hold == is_on).then_some("as it was");
                self.is_on_hold = is_on;
                wrong
            }
            Step::Cancelled { reason } => {
                self.reported.status = OrderStatus::Cancelled;
                self.is_on_hold = false;
                // What has left is not called back; but what never came to be confirmed ends all the same.
                let is_shipped = self.wanted > 0 && self.shipped > 0 && ends_confirmed(reason);
                self.go(Status::Cancelled(reason)).or(is_shipped.then_some("a part has shipped"))
            }
            Step::Placed { .. }
            | Step::Line { .. }
            | Step::Reported(_)
            | Step::Reserved { .. }
            | Step::ReservedLine { .. }
            | Step::Shipped { .. }
            | Step::Freed { .. }
            | Step::Taken { .. }
            | Step::Refused
            | Step::Allocated { .. }
            | Step::Lost
            | Step::Released { .. }
            | Step::Payment(_) => None,
        }
    }

    /// A payment is due: in one step once the stock is allocated.
    fn pay(&mut self, amount: Option<i64>, one_step: bool) -> Option<&'static str> {
        let before = self.reported.payment;
        let was_authorized = self.status == Status::Authorized;
        let is_next = self.one_step && was_authorized;
        self.leave();
        let is_named = self.payments > 0 && self.abandoned.last() == Some(&self.payments);
        let is_left = std::mem::take(&mut self.is_left);
        let misnamed = (is_left != is_named).then_some("another payment is abandoned");
        self.reported.payment = PaymentStatus::Pending;
        self.payments += 1;
        self.one_step = one_step;
        if self.status.stands() {
            return self.pay_anew(before, amount).or(misnamed);
        }
        self.is_allocated |= is_next;
        let is_total = amount == Some(self.total);
        let is_too_soon = one_step && !self.is_allocated;
        let wrong = misnamed.or(is_too_soon.then_some("no stock is allocated to it"));
        let wrong = wrong.or((is_next && !one_step).then_some("not in one step"));
        let wrong = wrong.or((was_authorized && !is_next).then_some("not the step before it"));
        self.go(Status::PaymentDue).or(wrong).or((!is_total).then_some("another amount"))
    }

    /// The customer may have left the payment before: as far as the order goes, it has failed.
    fn leave(&mut self) {
        let is_left = self.reported.payment == PaymentStatus::ActionRequired;
        self.is_left |= is_left;
        if is_left && self.status == Status::PaymentDue {
            self.status = Status::PaymentFailed;
        }
    }

    fn authorize(&mut self, by_payment: bool, one_step: bool) -> Option<&'static str> {
        if one_step {
            self.leave();
        }
        let is_from = match (by_payment, one_step) {
            (true, _) => self.status == Status::PaymentDue && !self.one_step,
            (false, true) => matches!(self.status, Status::Placed | Status::PaymentFailed),
            (false, false) => self.status == Status::Placed,
        };
        if by_payment {
            self.reported.payment = PaymentStatus::Authorized;
        } else if one_step {
            self.reported.payment = PaymentStatus::Pending;
        }
        self.one_step = one_step;
        self.status = Status::Authorized;
        (!is_from).then_some("not the step before it")
    }

    /// A payment failed. What is not captured after a shipment leaves the order confirmed.
    fn fail(&mut self) -> Option<&'static str> {
        if self.status == Status::Confirmed && self.shipped > 0 {
            self.status = Status::AwaitsShipment;
        }
        if self.status.stands() { None } else { self.go(Status::PaymentFailed) }
    }

    /// Another payment of an order that stands, for what could not be captured: what is due is captured at once; in one
    /// step, all of it is taken.
    fn pay_anew(&mut self, before: PaymentStatus, amount: Option<i64>) -> Option<&'static str> {
        self.requested = if self.one_step { self.total } else { self.captured };
        let is_rest = amount == Some(self.total - self.captured);
        let is_replaceable =
            [PaymentStatus::Failed, PaymentStatus::ActionRequired].contains(&before);
        let wrong = (!is_replaceable).then_some("no payment of it has failed");
        wrong.or((!is_rest).then_some("another amount"))
    }

    fn ask_for(&mut self, amount: i64) -> Option<&'static str> {
        self.requested += amount;
        (self.requested > self.total).then_some("asks to capture more than it costs")
    }

    fn go(&mut self, to: Status) -> Option<&'static str> {
        let follows = follows(self.status, to);
        self.status = to;
        (!follows).then_some("not the step before it")
    }

    fn confirm(&mut self, capture: Option<i64>) -> Option<&'static str> {
        self.reported.status = OrderStatus::Confirmed;
        if self.one_step {
            // The total is taken: nothing is captured any more.
            self.requested = self.total;
            let is_taken = self.status == Status::PaymentDue && capture.is_none();
            self.status = Status::Confirmed;
            return (!is_taken).then_some("not the step before it");
        }
        self.requested = capture.unwrap_or(0);
        // What has left by then is captured with it, where money is captured by shipment.
        let is_part_shipped = (1..self.wanted).contains(&self.shipped);
        let is_of_part = |amount| is_part_shipped && (1..self.total).contains(&amount);
        let to = match capture {
            None if self.total > 0 => Status::AwaitsShipment,
            Some(amount) if is_of_part(amount) => Status::AwaitsShipment,
            _ => Status::Confirmed,
        };
        let is_right = |amount| amount == self.total || is_of_part(amount);
        let wrong = capture.is_some_and(|amount| !is_right(amount)).then_some("another amount");
        self.go(to).or(wrong)
    }

    fn ship(&mut self, units: i64, capture: i64) -> Option<&'static str> {
        self.shipped += units;
        let asked = self.ask_for(capture);
        let is_all = self.shipped == self.wanted;
        self.reported.fulfilment =
            if is_all { FulfilmentStatus::Fulfilled } else { FulfilmentStatus::Partial };
        self.is_on_hold &= !is_all;
        let wrong = (units <= 0 || self.shipped > self.wanted).then_some("more than it wants");
        wrong.or(asked)
    }

    /// The payment status of an order that is paid or cancelled follows from what is refunded.
    fn report_payment(&mut self) {
        self.reported.payment = match self.refunded {
            0 => PaymentStatus::Paid,
            refunded if refunded < self.captured => PaymentStatus::PartiallyRefunded,
            _ => PaymentStatus::Refunded,
        };
    }

    fn complete(&mut self) -> Option<&'static str> {
        let was_confirmed = self.reported.status == OrderStatus::Confirmed;
        self.reported.status = OrderStatus::Completed;
        let is_all = self.shipped == self.wanted;
        if !was_confirmed || !is_all || !self.status.stands() {
            return Some("it is not complete");
        }
        // On account nothing is captured; of any other order, all is by then.
        let is_owed = self.payments > 0 && self.status != Status::Paid;
        is_owed.then_some("money is still due")
    }
}

/// Whether a payment is neither authorised nor failed.
fn is_open(payment: PaymentStatus) -> bool {
    matches!(payment, PaymentStatus::Pending | PaymentStatus::ActionRequired)
}

/// Whether the saga has such a step.
fn follows(from: Status, to: Status) -> bool {
    match (from, to) {
        (Status::Placed | Status::PaymentFailed | Status::Authorized, Status::PaymentDue)
        | (Status::PaymentDue, Status::PaymentFailed)
        | (Status::Authorized, Status::Confirmed | Status::AwaitsShipment)
        | (Status::Confirmed | Status::AwaitsShipment, Status::Paid)
        | (
            Status::Placed | Status::PaymentDue | Status::PaymentFailed | Status::Authorized,
            Status::Cancelled(_),
        ) => true,
        // Once it is confirmed, nothing runs out of time any more.
        (Status::Confirmed | Status::AwaitsShipment | Status::Paid, Status::Cancelled(reason)) => {
            ends_confirmed(reason)
        }
        _ => false,
    }
}

/// Whether an order may be cancelled for it when it is confirmed.
fn ends_confirmed(reason: CancelReason) -> bool {
    matches!(
        reason,
        CancelReason::Requested | CancelReason::CaptureFailed | CancelReason::StockShort
    )
}
