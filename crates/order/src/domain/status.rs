//! The statuses of an order, and what it waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::OrderLine;

/// The three statuses of an order: each moves on its own. As text, the names with a blank between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses(pub OrderStatus, pub PaymentStatus, pub FulfilmentStatus);

impl Statuses {
    /// The statuses of an order that was just placed.
    pub(crate) fn placed(lines: &[OrderLine]) -> Self {
        // An order of nothing but charges has nothing to ship.
        let fulfilment = match lines {
            [] => FulfilmentStatus::Fulfilled,
            _ => FulfilmentStatus::Unfulfilled,
        };
        Self(OrderStatus::Placed, PaymentStatus::Pending, fulfilment)
    }

    /// Reads the text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut names = text.split(' ');
        let mut next = || names.next();
        let statuses = Self(
            named(&OrderStatus::ALL, OrderStatus::as_str, next()?)?,
            named(&PaymentStatus::ALL, PaymentStatus::as_str, next()?)?,
            named(&FulfilmentStatus::ALL, FulfilmentStatus::as_str, next()?)?,
        );
        next().is_none().then_some(statuses)
    }

    pub(crate) fn with_order(self, status: OrderStatus) -> Self {
        Self(status, self.1, self.2)
    }

    pub(crate) fn with_payment(self, status: PaymentStatus) -> Self {
        Self(self.0, status, self.2)
    }

    pub(crate) fn with_fulfilment(self, status: FulfilmentStatus) -> Self {
        Self(self.0, self.1, status)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.0.as_str(), self.1.as_str(), self.2.as_str())
    }
}

fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|it| name(*it) == text)
}

/// Declares an enum whose values have names.
macro_rules! names {
    (
        $(#[$about:meta])*
        $visible:vis enum $name:ident { $($(#[$doc:meta])* $value:ident => $text:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        $visible enum $name {
            $($(#[$doc])* $value,)+
        }

        impl $name {
            /// The value as it is in subjects, in the database and in metrics.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

names!(
    /// The status of an order.
    pub enum OrderStatus {
        /// Its stock and its payment are not yet certain.
        Placed => "placed",
        /// Its stock is allocated and its payment is certain: it is to be shipped.
        Confirmed => "confirmed",
        /// All of it has shipped, and all that was to be paid is paid.
        Completed => "completed",
        /// Nothing more ships, and what was paid is refunded.
        Cancelled => "cancelled",
    }
);

names!(
    /// What is paid of an order, or by one of its payments.
    pub enum PaymentStatus {
        /// Nothing is paid or authorised yet; or the order is on account.
        Pending => "pending",
        /// The customer must do something before the payment goes on.
        ActionRequired => "action_required",
        /// The total is authorised, and not yet captured in full.
        Authorized => "authorized",
        /// All is paid; or nothing was to be paid.
        Paid => "paid",
        /// A part of what was paid is refunded.
        PartiallyRefunded => "partially_refunded",
        /// All that was paid is refunded.
        Refunded => "refunded",
        /// The last payment failed.
        Failed => "failed",
    }
);

names!(
    /// What of an order has shipped.
    pub enum FulfilmentStatus {
        /// Nothing has shipped.
        Unfulfilled => "unfulfilled",
        /// A part has shipped.
        Partial => "partial",
        /// All has shipped.
        Fulfilled => "fulfilled",
        /// A part of what has shipped has come back.
        PartiallyReturned => "partially_returned",
        /// All that has shipped has come back.
        Returned => "returned",
    }
);

names!(
    /// Whose answer an order waits for.
    pub(crate) enum Awaits {
        /// Inventory, to hold the stock.
        Hold => "hold",
        /// Payment, to authorise the total or to take it in one step; or the customer, to pay anew.
        Payment => "payment",
        /// Inventory, to allocate what it held.
        Allocation => "allocation",
        /// Payment, to capture what is authorised.
        Capture => "capture",
        /// Nobody's.
        Nothing => "nothing",
    }
);

impl OrderStatus {
    /// Every value.
    pub(crate) const ALL: [Self; 4] =
        [Self::Placed, Self::Confirmed, Self::Completed, Self::Cancelled];
}

impl PaymentStatus {
    /// Every value.
    pub(crate) const ALL: [Self; 7] = [
        Self::Pending,
        Self::ActionRequired,
        Self::Authorized,
        Self::Paid,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Failed,
    ];

    /// The status when all is paid that was to be paid, and so much of it is refunded; amounts in minor units.
    pub(crate) fn of_paid(captured: i64, refunded: i64) -> Self {
        match refunded {
            0 => Self::Paid,
            _ if refunded < captured => Self::PartiallyRefunded,
            _ => Self::Refunded,
        }
    }

    /// Whether all is paid that was to be paid, whatever of it is refunded since.
    pub(crate) fn is_paid(self) -> bool {
        match self {
            Self::Paid | Self::PartiallyRefunded | Self::Refunded => true,
            Self::Pending | Self::ActionRequired | Self::Authorized | Self::Failed => false,
        }
    }
}

impl FulfilmentStatus {
    /// Every value.
    pub(crate) const ALL: [Self; 5] = [
        Self::Unfulfilled,
        Self::Partial,
        Self::Fulfilled,
        Self::PartiallyReturned,
        Self::Returned,
    ];
}

impl Awaits {
    /// Every value with which somebody's answer is awaited.
    pub(crate) const ANSWERS: [Self; 4] =
        [Self::Hold, Self::Payment, Self::Allocation, Self::Capture];
}
