//! Money that the simulated provider has set aside, or taken in one step.

use events::money::Money;
use protocol::id::Shop;

/// Money that was set aside, or taken in one step: then all of it is captured from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) shop: Shop,
    pub(super) payment_method: String,
    pub(super) amount: Money,
    pub(super) status: Status,
    /// What was taken, in minor units.
    pub(super) captured: i64,
    /// What was paid back, in minor units.
    pub(super) refunded: i64,
}

impl Authorization {
    /// What is set aside and neither taken nor let go, in minor units.
    pub(super) fn held(&self) -> i64 {
        match self.status {
            Status::Held => self.amount.minor - self.captured,
            Status::Voided | Status::Forgotten => 0,
        }
    }
}

/// The status of money that was authorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It is set aside, as far as it was not taken.
    Held,
    /// What was not taken was let go.
    Voided,
    /// The provider knows nothing of it any more.
    Forgotten,
}

impl Status {
    /// The status as it is in the ledger.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Voided => "voided",
            Self::Forgotten => "forgotten",
        }
    }

    /// Reads the status as it is in the ledger.
    pub(super) fn parse(status: &str) -> Option<Self> {
        let all = [Self::Held, Self::Voided, Self::Forgotten];
        all.into_iter().find(|known| known.as_str() == status)
    }
}
