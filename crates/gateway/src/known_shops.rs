//! The shops that the gateway knows: every request below a shop is looked up here first.
//!
//! A shop that was looked up or put through this gateway a moment ago costs a look into a map
//! ([`Rechecked`]); one that is not known is asked for, so one that was just created elsewhere is found. A
//! shop is never deleted, so only whether it is suspended, and its settings, can be out of date: for a client
//! that has seen more of the shop service's log than an entry reflects, the shop is asked for as well.

use std::time::Duration;

use events::{proto::shop, shop::Settings};
use protocol::id::Shop;
use tokio::time::{Instant, timeout};

use crate::{
    problem::{Code, Problem},
    recheck::{Found, Rechecked, Timing},
    request::ShopFacts,
    services::Services,
};

/// What is known of a shop holds while the shop service does not answer: orders do not depend on it.
const TIMING: Timing = Timing {
    recheck_after: Duration::from_secs(10),
    max_age: Duration::from_secs(15),
    max_silence: Duration::MAX,
    max_entries: 10_000,
};
/// How long a request waits for the shop service when the shop is known.
const RECHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// The shops that are known.
#[derive(Debug)]
pub(crate) struct KnownShops(Rechecked<Shop, KnownShop>);

/// A shop that is known.
#[derive(Debug, Clone, Copy)]
struct KnownShop {
    facts: ShopFacts,
    /// It is so in the shop service's log at least up to this position.
    position: u64,
}

impl Default for KnownShops {
    fn default() -> Self {
        Self(Rechecked::new(TIMING))
    }
}

impl KnownShops {
    /// Remembers a shop as the shop service has said that it is: its version, and the position of the log up to
    /// which that is so.
    pub(crate) fn remember(
        &self,
        shop: &Shop,
        (version, position): (u64, u64),
        facts: ShopFacts,
        now: Instant,
    ) {
        self.0.remember(shop, version, KnownShop { facts, position }, now);
    }

    /// Refuses a shop that there is not, or that is suspended; otherwise yields what is known of it, by the shop
    /// service's log at least up to the position `at_least`.
    pub(crate) async fn require(
        &self,
        services: &Services,
        shop: &Shop,
        at_least: u64,
    ) -> Result<ShopFacts, Problem> {
        let facts = self.find(services, shop, at_least).await?;
        if facts.suspended {
            let detail = format!(
                "the shop {shop} is suspended: an administrator resumes it with POST \
                 /v1/shops/{shop}/resume or `tradewind shops resume {shop}`"
            );
            return Err(Problem::new(Code::ShopSuspended, detail));
        }
        Ok(facts)
    }

    /// Refuses a shop that there is not; otherwise like [`Self::require`], whether it is suspended or not.
    pub(crate) async fn find(
        &self,
        services: &Services,
        shop: &Shop,
        at_least: u64,
    ) -> Result<ShopFacts, Problem> {
        let found = match self.0.find(shop, Instant::now()) {
            Found::Known(known) if known.position >= at_least => return Ok(known.facts),
            Found::Old(known) if known.position >= at_least => {
                let asking = self.ask(services, shop, known.position);
                let Ok(Ok(found)) = timeout(RECHECK_TIMEOUT, asking).await else {
                    self.0.note_silence(shop);
                    tracing::warn!(
                        shop.name = %shop,
                        "the shop service does not answer; what was known of the shop holds"
                    );
                    return Ok(known.facts);
                };
                found
            }
            // The client has seen more than what is known reflects.
            Found::Known(_) | Found::Old(_) | Found::Unknown => {
                self.ask(services, shop, at_least).await?
            }
        };
        found.ok_or_else(|| unknown(shop))
    }

    /// Asks the shop service for a shop, by its log at least up to the position `at_least`; `None` when there is none
    /// of that name.
    async fn ask(
        &self,
        services: &Services,
        shop: &Shop,
        at_least: u64,
    ) -> Result<Option<ShopFacts>, Problem> {
        let asked = Instant::now();
        let found = services.ask(shop, shop::GetShop {}, at_least).await?;
        Ok(found.map(|found| {
            let settings = found.settings.as_ref().map(Settings::read);
            let Settings { tax_basis, capture, .. } =
                settings.and_then(Result::ok).unwrap_or_default();
            let facts = ShopFacts { suspended: found.suspended, tax_basis, capture };
            self.remember(shop, (found.version, at_least), facts, asked);
            facts
        }))
    }
}

/// There is no such shop.
pub(crate) fn unknown(shop: &Shop) -> Problem {
    let detail = format!(
        "there is no shop {shop}: create it with PUT /v1/shops/{shop} or `tradewind shops create \
         {shop}`, or correct its name"
    );
    Problem::new(Code::UnknownShop, detail)
}
