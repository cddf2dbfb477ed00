//! The course of an order by its own log: from `placed` to one end, and what follows that. The three
//! statuses that its events tell are derived here once more, by rules of the auditor's own.

use events::proto::order::{CancelReason, FulfilmentStatus, OrderStatus, PaymentStatus};

use super::{
    TradeFindings,
    step::{OrderKey, ReportedStatus, Step},
};
use crate::LogPosition;

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for its stock.
    Placed,
    /// It waits for its payment.
    PaymentDue,
    /// Its payment failed, and another one may be made.
    PaymentFailed,
    /// It waits for its stock to be allocated.
    Authorized,
    /// It waits for the money to be captured.
    Confirmed,
    /// It is confirmed, and is paid when it ships, or on account, or anew after a shipment.
    AwaitsShipment,
    /// It is paid.
    Paid,
    /// It is cancelled.
    Cancelled(CancelReason),
}

impl Status {
    pub(super) fn is_end(self) -> bool {
        match self {
            Self::Paid | Self::AwaitsShipment | Self::Cancelled(_) => true,
            Self::Placed
            | Self::PaymentDue
            | Self::PaymentFailed
            | Self::Authorized
            | Self::Confirmed => false,
        }
    }

    /// Whether the order stands: its units are its own.
    pub(super) fn stands(self) -> bool {
        matches!(self, Self::Paid | Self::AwaitsShipment)
    }
}

/// What the log says of an order so far; nothing before it is placed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    placed: Option<Placed>,
    /// Whether its stock was allocated to it when it was confirmed.
    pub(super) was_confirmed: bool,
    /// How many payments were due in one step.
    pub(super) one_step_payments: usize,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen in the log by itself")]
struct Placed {
    status: Status,
    total: i64,
    /// The units of each SKU, as their fingerprint.
    units: u64,
    /// The units of all lines, and those that have shipped.
    wanted: i64,
    shipped: i64,
    captured: i64,
    refunded: i64,
    /// What payment was asked to capture.
    requested: i64,
    is_on_hold: bool,
    /// Whether a payment was begun: there is none of an order on account.
    has_payment: bool,
    /// Whether the last payment is one in one step, or the next one is.
    one_step: bool,
    /// Whether its stock is allocated for a payment in one step.
    is_allocated: bool,
    /// How many were.
    payments: u32,
    reported: ReportedStatus,
}

impl Progress {
    /// How far it has come, and what it costs in minor units.
    pub(super) fn outcome(&self) -> Option<(Status, i64)> {
        self.placed.as_ref().map(|placed| (placed.status, placed.total))
    }

    /// What is kept of its money in the end, in minor units.
    pub(super) fn kept(&self) -> i64 {
        match &self.placed {
            Some(placed) if !matches!(placed.status, Status::Cancelled(_)) => {
                placed.captured - placed.refunded
            }
            _ => 0,
        }
    }

    /// Whether money is still to be captured when it ships.
    pub(super) fn is_captured_later(&self) -> bool {
        self.placed.as_ref().is_some_and(|placed| {
            let is_completed = placed.reported.status == OrderStatus::Completed;
            placed.status == Status::AwaitsShipment && !is_completed
        })
    }

    /// The fingerprint of the units that it wants of each SKU.
    pub(super) fn units(&self) -> Option<u64> {
        self.placed.as_ref().map(|placed| placed.units)
    }

    /// A line of the order, after `Placed`.
    pub(super) fn add_line(&mut self, quantity: i64) {
        if let Some(placed) = &mut self.placed {
            placed.wanted += quantity;
            placed.reported.fulfilment = FulfilmentStatus::Unfulfilled;
        }
    }

    pub(super) fn apply(
        &mut self,
        order: OrderKey,
        position: LogPosition,
        step: Step,
        findings: &mut TradeFindings,
    ) {
        if let Step::Placed { total, units } = step {
            findings.doubles.expect(self.placed.is_none(), || {
                format!("{position}: order {order} is placed again")
            });
            self.placed = Some(Placed::new(total, units));
            self.was_confirmed = false;
            return;
        }
        let findings = &mut findings.progress;
        let Some(placed) = &mut self.placed else {
            return findings.add(format!("{position}: order {order} was never placed"));
        };
        if let Step::Reported(reported) = step {
            return findings.expect(reported == placed.reported, || {
                format!(
                    "{position}: order {order} is {:?}, and is reported to be {reported:?}",
                    placed.reported
                )
            });
        }
        let before = placed.status;
        self.one_step_payments += usize::from(is_in_one_step(step));
        let wrong = placed.fold(step);
        let status = placed.status;
        findings.expect(wrong.is_none(), || {
            let wrong = wrong.unwrap_or_default();
            format!("{position}: {step:?} of order {order}, which is {before:?}: {wrong}")
        });
        self.was_confirmed |= matches!(status, Status::Confirmed | Status::AwaitsShipment);
    }
}

impl Placed {
    fn new(total: i64, units: u64) -> Self {
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
            has_payment: false,
            one_step: false,
            is_allocated: false,
            payments: 0,
            reported,
        }
    }

    /// Folds an event into the order; what is wrong with it, if something is.
    fn fold(&mut self, step: Step) -> Option<&'static str> {
        match step {
            Step::PaymentDue { amount, one_step } => self.pay(amount, one_step),
            Step::CapturedAtOnce { amount } => self.ask_for(amount),
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
        self.reported.payment = PaymentStatus::Pending;
        self.has_payment = true;
        self.payments += 1;
        self.one_step = one_step;
        if self.status.stands() {
            return self.pay_anew(before, amount);
        }
        self.is_allocated |= is_next;
        let is_total = amount == Some(self.total);
        let is_too_soon = one_step && !self.is_allocated;
        let wrong = is_too_soon.then_some("no stock is allocated to it");
        let wrong = wrong.or((is_next && !one_step).then_some("not in one step"));
        let wrong = wrong.or((was_authorized && !is_next).then_some("not the step before it"));
        self.go(Status::PaymentDue).or(wrong).or((!is_total).then_some("another amount"))
    }

    /// The customer may have left the payment before: as far as the order goes, it has failed.
    fn leave(&mut self) {
        let is_left = self.reported.payment == PaymentStatus::ActionRequired;
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
        let is_owed = self.has_payment && self.status != Status::Paid;
        is_owed.then_some("money is still due")
    }
}

/// Whether it is that a payment in one step is due.
fn is_in_one_step(step: Step) -> bool {
    matches!(step, Step::PaymentDue { one_step: true, .. })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found about an order of two units for 700 in all with these steps, each with the payment
    /// status that is reported of it; without one, it is not looked at.
    fn findings(steps: &[(Step, Option<PaymentStatus>)]) -> String {
        let (mut progress, mut findings) = (Progress::default(), TradeFindings::default());
        let order = OrderKey::of("00000000-0000-0000-0000-00000000000a");
        let position = LogPosition { service: "order", partition: 0, sequence: 1 };
        let mut apply = |progress: &mut Progress, step| {
            progress.apply(order, position, step, &mut findings);
        };
        apply(&mut progress, Step::Placed { total: 700, units: 1 });
        progress.add_line(2);
        for (step, status) in steps {
            apply(&mut progress, *step);
            if let (Some(payment), Some(placed)) = (*status, &progress.placed) {
                let reported = ReportedStatus { payment, ..placed.reported };
                apply(&mut progress, Step::Reported(reported));
            }
        }
        format!("{:?}", findings.progress)
    }

    /// It is confirmed, and captured when it ships; one of two units has shipped, and is captured.
    fn captured_in_part() -> Vec<(Step, Option<PaymentStatus>)> {
        [
            Step::PaymentDue { amount: Some(700), one_step: false },
            Step::Authorized { by_payment: true, one_step: false },
            Step::Confirmed { capture: None },
            Step::OrderShipped { units: 1, capture: 250 },
            Step::Captured { amount: 250, payment: 1 },
        ]
        .map(|step| (step, None))
        .to_vec()
    }

    #[test]
    fn a_refund_moves_the_payment_status_when_all_is_paid() {
        let refund = Step::Refunded { amount: 100 };
        let shipped = (Step::OrderShipped { units: 1, capture: 450 }, None);
        let paid = Step::Paid { amount: Some(700) };
        let steps = [
            (refund, Some(PaymentStatus::Authorized)),
            shipped,
            (paid, Some(PaymentStatus::PartiallyRefunded)),
            (Step::Completed, None),
            (refund, Some(PaymentStatus::PartiallyRefunded)),
            (Step::Refunded { amount: 500 }, Some(PaymentStatus::Refunded)),
        ];
        assert_eq!(findings(&[captured_in_part(), steps.to_vec()].concat()), findings(&[]));
        let wrong = [(refund, Some(PaymentStatus::PartiallyRefunded))];
        let found = findings(&[captured_in_part(), wrong.to_vec()].concat());
        assert!(found.contains("is reported to be"), "{found}");
    }

    #[test]
    fn a_confirmation_captures_all_or_what_has_left_before_it() {
        let begun = [
            Step::PaymentDue { amount: Some(700), one_step: false },
            Step::Authorized { by_payment: true, one_step: false },
        ];
        let confirmed =
            [Step::Confirmed { capture: Some(250) }, Step::Captured { amount: 250, payment: 1 }];
        let rest = [
            Step::OrderShipped { units: 1, capture: 450 },
            Step::Paid { amount: Some(700) },
            Step::Completed,
        ];
        let of = |steps: &[Step]| findings(&steps.iter().map(|it| (*it, None)).collect::<Vec<_>>());
        let left = [Step::OrderShipped { units: 1, capture: 0 }];
        assert_eq!(of(&[&begun[..], &left, &confirmed, &rest].concat()), findings(&[]));
        let found = of(&[&begun[..], &confirmed].concat());
        assert!(found.contains("another amount"), "{found}");
    }

    #[test]
    fn what_has_shipped_in_part_is_cancelled_only_when_it_was_not_to_be_confirmed() {
        let ends = |reason| {
            let due = Step::PaymentDue { amount: Some(700), one_step: false };
            let left = Step::OrderShipped { units: 1, capture: 0 };
            let steps = [due, left, Step::Cancelled { reason }];
            findings(&steps.map(|step| (step, None)))
        };
        for reason in [CancelReason::PaymentTimeout, CancelReason::StockLost] {
            assert_eq!(ends(reason), findings(&[]), "{reason:?}");
        }
        for reason in [CancelReason::Requested, CancelReason::StockShort] {
            assert!(ends(reason).contains("a part has shipped"), "{reason:?}");
        }
    }

    #[test]
    fn what_could_not_be_captured_after_a_shipment_is_paid_anew() {
        let due = Step::PaymentDue { amount: Some(700), one_step: false };
        let of = |steps: &[Step]| findings(&steps.iter().map(|it| (*it, None)).collect::<Vec<_>>());
        let confirmed = [
            due,
            Step::Authorized { by_payment: true, one_step: false },
            Step::Confirmed { capture: Some(700) },
        ];
        let failed = [Step::OrderShipped { units: 1, capture: 0 }, Step::PaymentFailed];
        let paid = [due, Step::Paid { amount: Some(700) }];
        assert_eq!(of(&[&confirmed[..], &failed, &paid].concat()), findings(&[]));
        // One of which nothing has shipped is cancelled instead.
        let found = of(&[&confirmed[..], &failed[1..]].concat());
        assert!(found.contains("not the step before it"), "{found}");
    }

    #[test]
    fn a_payment_in_one_step_comes_after_the_allocation_and_before_the_confirmation() {
        let of = |steps: &[Step]| findings(&steps.iter().map(|it| (*it, None)).collect::<Vec<_>>());
        let next = Step::Authorized { by_payment: false, one_step: true };
        let due = Step::PaymentDue { amount: Some(700), one_step: true };
        let taken = [Step::Confirmed { capture: None }, Step::Paid { amount: Some(700) }];
        let failed = Step::PaymentFailed;
        assert_eq!(of(&[&[next, due], &taken[..]].concat()), findings(&[]));
        assert_eq!(of(&[&[next, due, failed, due], &taken[..]].concat()), findings(&[]));
        // In two steps after one, which needs no allocation of its own; and the other way round.
        let two = Step::PaymentDue { amount: Some(700), one_step: false };
        let granted = Step::Authorized { by_payment: true, one_step: false };
        let captured = [Step::Confirmed { capture: Some(700) }, taken[1]];
        let all = [&[next, due, failed, two, granted], &captured[..]].concat();
        assert_eq!(of(&all), findings(&[]));
        assert_eq!(of(&[&[two, failed, next, due], &taken[..]].concat()), findings(&[]));
        let ended = Step::Cancelled { reason: CancelReason::PaymentTimeout };
        assert_eq!(of(&[next, due, ended]), findings(&[]));
        for (wrong, finding) in [
            (vec![due], "no stock is allocated"),
            (vec![next, two], "not in one step"),
            (vec![two, granted, two], "not the step before it"),
            (vec![next, taken[0]], "not the step before it"),
            (vec![next, due, granted], "not the step before it"),
            (vec![next, due, captured[0]], "not the step before it"),
            (vec![two, taken[0], next], "not the step before it"),
        ] {
            let found = of(&wrong);
            assert!(found.contains(finding), "{wrong:?}: {found}");
        }
    }

    #[test]
    fn another_payment_captures_at_once_what_has_shipped_and_later_the_rest() {
        let of = |steps: &[(Step, Option<PaymentStatus>)]| {
            findings(&[&captured_in_part()[..], steps].concat())
        };
        let steps = |at_once, reported| {
            [
                (Step::PaymentFailed, Some(PaymentStatus::Failed)),
                (Step::PaymentDue { amount: Some(450), one_step: false }, None),
                (Step::CapturedAtOnce { amount: at_once }, Some(PaymentStatus::Pending)),
                (Step::Captured { amount: 100, payment: 2 }, Some(reported)),
                (Step::OrderShipped { units: 1, capture: 350 }, None),
                (Step::Paid { amount: Some(700) }, Some(PaymentStatus::Paid)),
                (Step::Completed, None),
            ]
        };
        assert_eq!(of(&steps(100, PaymentStatus::Authorized)), findings(&[]));
        let found = of(&steps(450, PaymentStatus::Authorized));
        assert!(found.contains("asks to capture more than it costs"), "{found}");
        let found = of(&steps(100, PaymentStatus::Pending));
        assert!(found.contains("is reported to be"), "{found}");
    }

    #[test]
    fn a_payment_that_waits_for_its_customer_is_replaced() {
        let due = Step::PaymentDue { amount: Some(700), one_step: false };
        let of = |steps: &[Step]| findings(&steps.iter().map(|it| (*it, None)).collect::<Vec<_>>());
        assert_eq!(of(&[due, Step::ActionRequired, due]), findings(&[]));
        assert!(of(&[due, due]).contains("not the step before it"));
    }

    #[test]
    fn an_order_is_not_completed_while_money_is_due() {
        let rest = Step::OrderShipped { units: 1, capture: 0 };
        let completed = [(rest, None), (Step::Completed, None)];
        let found = findings(&[captured_in_part(), completed.to_vec()].concat());
        assert!(found.contains("money is still due"), "{found}");
        // On account none is captured.
        let on_account = [
            Step::Authorized { by_payment: false, one_step: false },
            Step::Confirmed { capture: None },
            Step::OrderShipped { units: 2, capture: 0 },
            Step::Completed,
        ];
        assert_eq!(findings(&on_account.map(|step| (step, None))), findings(&[]));
    }
}
