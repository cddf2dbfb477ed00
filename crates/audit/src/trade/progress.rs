//! The course of an order by its own log: from `placed` to one end, and what follows that. The three
//! statuses that its events tell are derived here once more, by rules of the auditor's own.

mod placed;

use events::proto::order::{CancelReason, FulfilmentStatus, OrderStatus};

use self::placed::Placed;
use super::{
    TradeFindings,
    step::{OrderKey, Step},
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

    /// The payments, by number, that are none of the order's though nobody knew what would become of them when others
    /// took their place.
    pub(super) fn abandoned(&self) -> &[u32] {
        self.placed.as_ref().map_or(&[], |placed| &placed.abandoned)
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

/// Whether it is that a payment in one step is due.
fn is_in_one_step(step: Step) -> bool {
    matches!(step, Step::PaymentDue { one_step: true, .. })
}

#[cfg(test)]
mod tests {
    use events::proto::order::PaymentStatus;

    use super::{super::step::ReportedStatus, *};

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
    fn a_payment_that_waits_for_its_customer_is_replaced_and_named() {
        let due = Step::PaymentDue { amount: Some(700), one_step: false };
        let in_one_step = Step::PaymentDue { amount: Some(700), one_step: true };
        let next = Step::Authorized { by_payment: false, one_step: true };
        let named = Step::Abandoned { payment: 1 };
        let of = |steps: &[Step]| findings(&steps.iter().map(|it| (*it, None)).collect::<Vec<_>>());
        assert_eq!(of(&[due, Step::ActionRequired, named, due]), findings(&[]));
        assert_eq!(of(&[due, Step::ActionRequired, next, named, in_one_step]), findings(&[]));
        let asks = [next, in_one_step, Step::ActionRequired];
        assert_eq!(of(&[&asks[..], &[named, in_one_step]].concat()), findings(&[]));
        assert!(of(&[due, due]).contains("not the step before it"));
        let another = Step::Abandoned { payment: 2 };
        for wrong in [
            vec![due, Step::ActionRequired, due],
            vec![due, Step::ActionRequired, another, due],
            vec![due, Step::ActionRequired, next, in_one_step],
            vec![due, Step::PaymentFailed, named, due],
        ] {
            assert!(of(&wrong).contains("another payment is abandoned"), "{wrong:?}");
        }
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
