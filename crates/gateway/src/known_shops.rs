//! The shops that the gateway knows: every request below a shop is looked up here first.
//!
//! A shop that was looked up or put through this gateway a moment ago costs a look into a map
//! ([`Rechecked`]); one that is not known is asked for, so one that was just created elsewhere is found. A
//! shop is never deleted, so only whether it is suspended, and its settings, can be out of date.

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
pub(crate) struct KnownShops(Rechecked<Shop, ShopFacts>);

impl Default for KnownShops {
    fn default() -> Self {
        Self(Rechecked::new(TIMING))
    }
}

impl KnownShops {
    /// Remembers a shop as the shop service has said that it is.
    pub(crate) fn remember(&self, shop: &Shop, version: u64, facts: ShopFacts, now: Instant) {
        self.0.remember(shop, version, facts, now);
    }

    /// Refuses a shop that there is not, or that is suspended; otherwise yields what is known of it.
    pub(crate) async fn require(
        &self,
        services: &Services,
        shop: &Shop,
    ) -> Result<ShopFacts, Problem> {
        let facts = match self.0.find(shop, Instant::now()) {
            Found::Known(facts) => facts,
            Found::Old(facts) => {
                if let Ok(Ok(found)) = timeout(RECHECK_TIMEOUT, self.ask(services, shop)).await {
                    found.ok_or_else(|| unknown(shop))?
                } else {
                    self.0.note_silence(shop);
                    tracing::warn!(
                        shop.name = %shop,
                        "the shop service does not answer; what was known of the shop holds"
                    );
                    facts
                }
            }
            Found::Unknown => self.ask(services, shop).await?.ok_or_else(|| unknown(shop))?,
        };
        if facts.suspended {
            let detail = format!(
                "the shop {shop} is suspended: an administrator resumes it with POST \
                 /v1/shops/{shop}/resume or `tradewind shops resume {shop}`"
            );
            return Err(Problem::new(Code::ShopSuspended, detail));
        }
        Ok(facts)
    }

    /// Asks the shop service for a shop; `None` when there is none of that name.
    async fn ask(&self, services: &Services, shop: &Shop) -> Result<Option<ShopFacts>, Problem> {
        let asked = Instant::now();
        let found = services.ask(shop, shop::GetShop {}, 0).await?;
        Ok(found.map(|found| {
            let settings = found.settings.as_ref().map(Settings::read);
            let Settings { tax_basis, capture, .. } =
                settings.and_then(Result::ok).unwrap_or_default();
            let facts = ShopFacts { suspended: found.suspended, tax_basis, capture };
            self.remember(shop, found.version, facts, asked);
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
