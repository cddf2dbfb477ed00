//! A step of an order, and how it waits in a temporary file.

use std::fmt;

use events::{
    id::OrderId,
    proto::order::{CancelReason, FulfilmentStatus, OrderStatus, PaymentStatus, Summary},
};
use uuid::Uuid;

use crate::{
    record::{PackedPosition, Reader, Writer},
    scratch::fingerprint,
};

/// The id of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderKey(u128);

impl OrderKey {
    /// The key of an aggregate's id. One that is no UUID, which no order has, gets a key of its own.
    pub(crate) fn of(id: &str) -> Self {
        let other = || u128::from(fingerprint(id)) << 64 | u128::from(fingerprint((id, id)));
        Self(Uuid::parse_str(id).map_or_else(|_| other(), |uuid| uuid.as_u128()))
    }

    pub(crate) fn of_order(id: OrderId) -> Self {
        Self::of(&id.to_string())
    }

    pub(crate) fn fingerprint(self) -> u64 {
        fingerprint(self.0)
    }

    pub(crate) fn to_bits(self) -> u128 {
        self.0
    }

    pub(crate) fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).fmt(f)
    }
}

/// What an event says of an order. Lists of lines and names are there as fingerprints, which is enough
/// to compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was placed: what it costs in minor units, and the units of each SKU.
    Placed {
        total: i64,
        units: u64,
    },
    /// The units of a SKU, by its number; after `Placed`.
    Line {
        sku: u32,
        quantity: i64,
    },
    PaymentDue {
        amount: Option<i64>,
        one_step: bool,
    },
    /// The next payment takes the place of this one, by its number, which its customer has left; before `PaymentDue`.
    Abandoned {
        payment: u32,
    },
    /// What is captured as soon as the payment is authorised, where anything is; after `PaymentDue`.
    CapturedAtOnce {
        amount: i64,
    },
    PaymentFailed,
    ActionRequired,
    Authorized {
        by_payment: bool,
        /// Whether a payment in one step follows the allocation.
        one_step: bool,
    },
    Confirmed {
        capture: Option<i64>,
    },
    /// A part of its money is captured.
    Captured {
        amount: i64,
        /// The number of the payment.
        payment: u32,
    },
    /// So many units have shipped, and so much is to be captured for them.
    OrderShipped {
        units: i64,
        capture: i64,
    },
    Completed,
    Refunded {
        amount: i64,
    },
    /// It is put on hold, or taken off.
    Hold {
        is_on: bool,
    },
    /// The statuses that the event before tells.
    Reported(ReportedStatus),
    Paid {
        amount: Option<i64>,
    },
    Cancelled {
        reason: CancelReason,
    },
    /// Stock is held for it: the units of each SKU.
    Reserved {
        units: u64,
    },
    /// The units that are held of a stock; after `Reserved`.
    ReservedLine {
        stock: u64,
        quantity: i64,
    },
    Refused,
    Allocated {
        lines: u64,
    },
    Lost,
    Released {
        lines: u64,
        is_expired: bool,
    },
    /// Units of a stock have left for it.
    Shipped {
        stock: u64,
        quantity: i64,
    },
    /// Units that it had of another stock are free again, since those have left instead; after `Shipped`.
    Freed {
        stock: u64,
        quantity: i64,
    },
    /// So many of them were its own, of a SKU by its number; after `Shipped`.
    Taken {
        sku: u32,
        quantity: i64,
    },
    Payment(PaymentStep),
}

/// The statuses of an order that an event of it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReportedStatus {
    pub(super) status: OrderStatus,
    pub(super) payment: PaymentStatus,
    pub(super) fulfilment: FulfilmentStatus,
}

impl ReportedStatus {
    pub(super) fn by(summary: &Summary) -> Self {
        Self {
            status: summary.status(),
            payment: summary.payment_status(),
            fulfilment: summary.fulfilment_status(),
        }
    }

    fn to_bits(self) -> i64 {
        let Self { status, payment, fulfilment } = self;
        i64::from(status as i32) << 16
            | i64::from(payment as i32) << 8
            | i64::from(fulfilment as i32)
    }

    fn from_bits(bits: i64) -> Self {
        let byte = |shift: u32| (bits >> shift) as i32 & 0xff;
        Self {
            status: OrderStatus::try_from(byte(16)).unwrap_or_default(),
            payment: PaymentStatus::try_from(byte(8)).unwrap_or_default(),
            fulfilment: FulfilmentStatus::try_from(byte(0)).unwrap_or_default(),
        }
    }
}

/// What an event says of the payment of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PaymentStep {
    pub(super) kind: PaymentStepKind,
    /// Which payment of the order it is.
    pub(super) number: u32,
    /// The operation that begins or ends; 0 for none.
    pub(super) operation: u64,
    /// In minor units.
    pub(super) amount: i64,
}

/// The kinds of a [`PaymentStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaymentStepKind {
    AuthorizationPending,
    Authorized,
    Declined,
    Failed,
    CapturePending,
    Captured,
    CaptureFailed,
    VoidPending,
    Voided,
    RefundPending,
    Refunded,
    CancelRequested,
    Uncertain,
    /// An operation waits for an operator.
    Stuck,
    /// An operator says that it was done elsewhere, or that a capture or authorisation is given up: the
    /// outcome follows.
    SettledByOperator,
    /// An operator lets it be tried again, perhaps as another operation.
    Retried,
    VoidGivenUp,
    RefundGivenUp,
    /// Something is noted that changes no sum: an action of the customer, what is to be done later.
    Noted,
    /// As `RefundPending`, of what somebody asked for, beside what a cancelled order gets back.
    RefundPendingOnRequest,
    /// The provider has set aside what the log did not know of.
    TurnedUpAuthorized,
    /// The provider has taken what the log did not know of.
    TurnedUpCaptured,
    ChargePending,
    /// The provider has taken in one step what the log did not know of.
    TurnedUpCharged,
}

impl PaymentStepKind {
    /// All of them, by their number in a record.
    const ALL: [Self; 24] = [
        Self::AuthorizationPending,
        Self::Authorized,
        Self::Declined,
        Self::Failed,
        Self::CapturePending,
        Self::Captured,
        Self::CaptureFailed,
        Self::VoidPending,
        Self::Voided,
        Self::RefundPending,
        Self::Refunded,
        Self::CancelRequested,
        Self::Uncertain,
        Self::Stuck,
        Self::SettledByOperator,
        Self::Retried,
        Self::VoidGivenUp,
        Self::RefundGivenUp,
        Self::Noted,
        Self::RefundPendingOnRequest,
        Self::TurnedUpAuthorized,
        Self::TurnedUpCaptured,
        Self::ChargePending,
        Self::TurnedUpCharged,
    ];
}

/// The number of the first kind of [`Step::Payment`] in a record; those of the other steps are below.
const FIRST_PAYMENT: u8 = 32;

impl Step {
    /// The number of its kind, which payment it is about if any, and two fields.
    fn fields(self) -> (u8, u32, i64, u64) {
        let amount_of = |amount: Option<i64>| (amount.unwrap_or(0), u64::from(amount.is_some()));
        let (kind, first, second) = match self {
            Self::Placed { total, units } => (0, total, units),
            Self::Line { sku, quantity } => (1, quantity, sku.into()),
            Self::PaymentDue { amount, one_step } => {
                (2, amount_of(amount).0, amount_of(amount).1 | u64::from(one_step) << 1)
            }
            Self::CapturedAtOnce { amount } => (15, amount, 0),
            Self::Abandoned { payment } => (25, payment.into(), 0),
            Self::Authorized { by_payment, one_step } => (3, by_payment.into(), one_step.into()),
            Self::Confirmed { capture } => (4, amount_of(capture).0, amount_of(capture).1),
            Self::PaymentFailed => (16, 0, 0),
            Self::ActionRequired => (17, 0, 0),
            Self::Captured { amount, payment } => (18, amount, payment.into()),
            Self::OrderShipped { units, capture } => (19, units, capture as u64),
            Self::Completed => (20, 0, 0),
            Self::Refunded { amount } => (21, amount, 0),
            Self::Hold { is_on } => (22, is_on.into(), 0),
            Self::Reported(reported) => (23, reported.to_bits(), 0),
            Self::Paid { amount } => (5, amount_of(amount).0, amount_of(amount).1),
            Self::Cancelled { reason } => (6, i64::from(i32::from(reason)), 0),
            Self::Reserved { units } => (7, 0, units),
            Self::Refused => (8, 0, 0),
            Self::Allocated { lines } => (9, 0, lines),
            Self::Lost => (10, 0, 0),
            Self::Released { lines, is_expired } => (11, is_expired.into(), lines),
            Self::ReservedLine { stock, quantity } => (12, quantity, stock),
            Self::Shipped { stock, quantity } => (13, quantity, stock),
            Self::Freed { stock, quantity } => (24, quantity, stock),
            Self::Taken { sku, quantity } => (14, quantity, sku.into()),
            Self::Payment(PaymentStep { kind, number, operation, amount }) => {
                return (FIRST_PAYMENT + kind as u8, number, amount, operation);
            }
        };
        (kind, 0, first, second)
    }

    /// The step with these fields; a number that no step has is `Lost`, which no code writes.
    fn of_fields(kind: u8, number: u32, first: i64, second: u64) -> Self {
        let amount = (second != 0).then_some(first);
        match kind {
            0 => Self::Placed { total: first, units: second },
            1 => Self::Line { sku: second as u32, quantity: first },
            2 => Self::PaymentDue {
                amount: (second & 1 != 0).then_some(first),
                one_step: second & 2 != 0,
            },
            3 => Self::Authorized { by_payment: first != 0, one_step: second != 0 },
            4 => Self::Confirmed { capture: amount },
            5 => Self::Paid { amount },
            6 => {
                Self::Cancelled { reason: CancelReason::try_from(first as i32).unwrap_or_default() }
            }
            7 => Self::Reserved { units: second },
            8 => Self::Refused,
            9 => Self::Allocated { lines: second },
            15 => Self::CapturedAtOnce { amount: first },
            16 => Self::PaymentFailed,
            17 => Self::ActionRequired,
            18 => Self::Captured { amount: first, payment: second as u32 },
            19 => Self::OrderShipped { units: first, capture: second as i64 },
            20 => Self::Completed,
            21 => Self::Refunded { amount: first },
            22 => Self::Hold { is_on: first != 0 },
            23 => Self::Reported(ReportedStatus::from_bits(first)),
            25 => Self::Abandoned { payment: first as u32 },
            24 => Self::Freed { stock: second, quantity: first },
            FIRST_PAYMENT.. => Self::Payment(PaymentStep {
                kind: PaymentStepKind::ALL[usize::from(kind - FIRST_PAYMENT)],
                number,
                operation: second,
                amount: first,
            }),
            11 => Self::Released { lines: second, is_expired: first != 0 },
            12 => Self::ReservedLine { stock: second, quantity: first },
            13 => Self::Shipped { stock: second, quantity: first },
            14 => Self::Taken { sku: second as u32, quantity: first },
            _ => Self::Lost,
        }
    }
}

/// A step of an order, and the event that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepRecord {
    pub(super) order: OrderKey,
    pub(super) at: PackedPosition,
    pub(super) step: Step,
}

impl StepRecord {
    pub(super) const SIZE: usize = 37 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let (kind, number, first, second) = self.step.fields();
        let record = Writer::new().u128(self.order.to_bits()).position(self.at);
        record.u8(kind).u32(number).i64(first).u64(second).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        let (order, at) = (OrderKey::from_bits(from.u128()), from.position());
        let step = Step::of_fields(from.u8(), from.u32(), from.i64(), from.u64());
        Self { order, at, step }
    }
}

/// An order takes a reference, or gives it back when it is cancelled.
#[derive(Debug)]
pub(super) struct ReferenceRecord {
    pub(super) reference: u64,
    pub(super) order: OrderKey,
    pub(super) is_taken: bool,
    pub(super) at: PackedPosition,
}

impl ReferenceRecord {
    pub(super) const SIZE: usize = 25 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { reference, order, is_taken, at } = self;
        let record = Writer::new().u64(*reference).u128(order.to_bits());
        record.u8((*is_taken).into()).position(*at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        let (reference, order) = (from.u64(), OrderKey::from_bits(from.u128()));
        Self { reference, order, is_taken: from.u8() != 0, at: from.position() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogPosition, record::LogNumbers};

    #[test]
    fn a_step_comes_back_as_it_was_written() {
        let at =
            LogNumbers::default().pack(LogPosition { service: "order", partition: 1, sequence: 2 });
        let payment =
            |kind| Step::Payment(PaymentStep { kind, number: 2, operation: 5, amount: -6 });
        let steps = [
            Step::Placed { total: 1, units: u64::MAX },
            Step::Line { sku: u32::MAX, quantity: 2 },
            Step::PaymentDue { amount: None, one_step: false },
            Step::PaymentDue { amount: None, one_step: true },
            Step::PaymentDue { amount: Some(7), one_step: false },
            Step::PaymentDue { amount: Some(7), one_step: true },
            Step::CapturedAtOnce { amount: 7 },
            Step::Abandoned { payment: 2 },
            Step::Captured { amount: 7, payment: 2 },
            Step::Authorized { by_payment: true, one_step: false },
            Step::Authorized { by_payment: false, one_step: false },
            Step::Authorized { by_payment: false, one_step: true },
            Step::Confirmed { capture: Some(0) },
            Step::Confirmed { capture: None },
            Step::PaymentFailed,
            Step::ActionRequired,
            Step::OrderShipped { units: 2, capture: 9 },
            Step::Completed,
            Step::Refunded { amount: 7 },
            Step::Hold { is_on: true },
            Step::Hold { is_on: false },
            Step::Reported(ReportedStatus {
                status: OrderStatus::Cancelled,
                payment: PaymentStatus::PartiallyRefunded,
                fulfilment: FulfilmentStatus::Returned,
            }),
            Step::Paid { amount: Some(-3) },
            Step::Cancelled { reason: CancelReason::PaymentTimeout },
            Step::Reserved { units: 4 },
            Step::ReservedLine { stock: u64::MAX, quantity: 5 },
            Step::Shipped { stock: u64::MAX, quantity: 5 },
            Step::Taken { sku: u32::MAX, quantity: 5 },
            Step::Freed { stock: u64::MAX, quantity: 5 },
            Step::Refused,
            Step::Allocated { lines: u64::MAX },
            Step::Lost,
            Step::Released { lines: 7, is_expired: true },
            Step::Released { lines: 7, is_expired: false },
        ];
        let order = OrderKey::of("00000000-0000-0000-0000-00000000000a");
        for step in steps.into_iter().chain(PaymentStepKind::ALL.map(payment)) {
            let record = StepRecord { order, at, step };
            assert_eq!(StepRecord::read(&record.write()), record);
        }
        assert_eq!(order.to_string(), "00000000-0000-0000-0000-00000000000a");
    }
}
