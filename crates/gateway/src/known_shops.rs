//! The shops that the gateway knows: every request below a shop is looked up here first.
//!
//! | a shop | a request |
//! |---|---|
//! | that was looked up or put through this gateway in the last [`RECHECK_AFTER`] | costs a look into a map |
//! | that was longer ago | one request of them asks the shop service; none relies on what is older than [`MAX_AGE`] |
//! | that is not known | asks the shop service, so one that was just created elsewhere is found |
//!
//! A shop is never deleted, so only whether it is suspended, and its settings, can be out of date. While the shop service
//! does not answer, what is known holds: orders do not depend on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use events::{
    money::TaxBasis,
    proto::shop,
    shop::{Capture, Settings},
};
use protocol::id::Shop;
use tokio::time::{Instant, timeout};

use crate::{
    extract::shop_parameter,
    problem::{Code, Problem},
    services::Services,
    shops::unknown,
    state::AppState,
};

/// After how long a shop is looked up again, by one request.
const RECHECK_AFTER: Duration = Duration::from_secs(10);
/// How old what is known may be, unless the shop service does not answer.
const MAX_AGE: Duration = Duration::from_secs(15);
/// How long a request waits for the shop service when the shop is known.
const RECHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// The most shops that are remembered; above it, the one that was looked up longest ago is forgotten.
const MAX_SHOPS: usize = 10_000;

/// Refuses a request to a shop that there is not, or that is suspended.
pub(crate) async fn require_shop(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let shop = shop_parameter(&mut parts, &state).await?;
    let facts = state.shops.require(&state.services, &shop).await?;
    // The handlers need not read them again.
    parts.extensions.insert(shop);
    parts.extensions.insert(facts);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The shops that are known, and since when.
#[derive(Debug, Default)]
pub(crate) struct KnownShops(Mutex<HashMap<Shop, Known>>);

/// What is known of a shop.
#[derive(Debug, Clone, Copy)]
struct Known {
    facts: ShopFacts,
    version: u64,
    /// When the shop service said so.
    since: Instant,
    /// When it was last asked.
    asked: Instant,
    /// Whether it did not answer then.
    is_silent: bool,
}

/// What to do about a shop.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It is known well enough.
    Known(ShopFacts),
    /// It is to be looked up again.
    Old(ShopFacts),
    /// It is not known.
    Unknown,
}

/// What the shop service says of a shop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShopFacts {
    /// Whether it is suspended.
    pub(crate) suspended: bool,
    /// Whether tax is in its prices, where they do not say so themselves.
    pub(crate) tax_basis: TaxBasis,
    /// When the money of its orders is captured.
    pub(crate) capture: Capture,
}

impl KnownShops {
    /// Remembers a shop as the shop service has said that it is.
    pub(crate) fn remember(&self, shop: &Shop, version: u64, facts: ShopFacts, now: Instant) {
        let mut shops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An answer that was slower than a later one does not undo it.
        if shops.get(shop).is_some_and(|known| known.version > version) {
            return;
        }
        if shops.len() >= MAX_SHOPS && !shops.contains_key(shop) {
            let oldest = shops.iter().min_by_key(|(_, known)| known.since);
            let oldest = oldest.map(|(shop, _)| shop.clone());
            oldest.map(|shop| shops.remove(&shop));
        }
        let known = Known { facts, version, since: now, asked: now, is_silent: false };
        shops.insert(shop.clone(), known);
    }

    /// Looks a shop up. Who finds it old is expected to ask the shop service: the next ones rely on
    /// that.
    fn find(&self, shop: &Shop, now: Instant) -> Found {
        let mut shops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = shops.get_mut(shop) else { return Found::Unknown };
        let facts = known.facts;
        let (age, asked) = (now.duration_since(known.since), now.duration_since(known.asked));
        let relies_on_another = asked < RECHECK_AFTER && (age < MAX_AGE || known.is_silent);
        if age < RECHECK_AFTER || relies_on_another {
            return Found::Known(facts);
        }
        known.asked = now;
        Found::Old(facts)
    }

    /// Notes that the shop service did not answer.
    fn note_silence(&self, shop: &Shop) {
        let mut shops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shops.get_mut(shop) {
            known.is_silent = true;
        }
    }

    /// Refuses a shop that there is not, or that is suspended; otherwise yields what is known of it.
    pub(crate) async fn require(
        &self,
        services: &Services,
        shop: &Shop,
    ) -> Result<ShopFacts, Problem> {
        let facts = match self.find(shop, Instant::now()) {
            Found::Known(facts) => facts,
            Found::Old(facts) => {
                if let Ok(Ok(found)) = timeout(RECHECK_TIMEOUT, self.ask(services, shop)).await {
                    found.ok_or_else(|| unknown(shop))?
                } else {
                    self.note_silence(shop);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("valid")
    }

    const OPEN: ShopFacts = ShopFacts {
        suspended: false,
        tax_basis: TaxBasis::Included,
        capture: Capture::OnConfirmation,
    };
    const SHUT: ShopFacts =
        ShopFacts { suspended: true, tax_basis: TaxBasis::Excluded, capture: Capture::OnShipment };
    const ACTIVE: Found = Found::Known(OPEN);
    const SUSPENDED: Found = Found::Known(SHUT);

    #[test]
    fn a_shop_is_known_until_it_is_to_be_looked_up_again_by_one_request() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        assert_eq!(shops.find(&acme, start), Found::Unknown);
        shops.remember(&acme, 1, OPEN, start);
        assert_eq!(shops.find(&acme, start + RECHECK_AFTER / 2), ACTIVE);
        assert_eq!(shops.find(&shop("other"), start), Found::Unknown);

        let later = start + RECHECK_AFTER;
        assert_eq!(shops.find(&acme, later), Found::Old(OPEN));
        assert_eq!(shops.find(&acme, later), ACTIVE, "another asks");
        shops.remember(&acme, 2, SHUT, later);
        assert_eq!(shops.find(&acme, later), SUSPENDED);
    }

    #[test]
    fn nobody_relies_on_what_is_too_old() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 1, OPEN, start);
        for _ in 0..2 {
            assert_eq!(shops.find(&acme, start + MAX_AGE), Found::Old(OPEN));
        }
    }

    #[test]
    fn what_is_known_holds_while_the_service_does_not_answer() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 1, SHUT, start);
        let later = start + 10 * MAX_AGE;
        assert_eq!(shops.find(&acme, later), Found::Old(SHUT));
        shops.note_silence(&acme);
        assert_eq!(shops.find(&acme, later), SUSPENDED);
        assert_eq!(shops.find(&acme, later + RECHECK_AFTER), Found::Old(SHUT));
    }

    #[test]
    fn a_slow_answer_does_not_undo_a_later_one() {
        let (shops, acme, now) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 3, SHUT, now);
        shops.remember(&acme, 2, OPEN, now);
        assert_eq!(shops.find(&acme, now), SUSPENDED);
    }

    #[test]
    fn the_shop_that_was_looked_up_longest_ago_is_forgotten() {
        let (shops, start) = (KnownShops::default(), Instant::now());
        for number in 0..=MAX_SHOPS {
            let at = start + Duration::from_millis(number as u64);
            shops.remember(&shop(&format!("shop-{number}")), 1, OPEN, at);
        }
        assert_eq!(shops.find(&shop("shop-0"), start), Found::Unknown);
        assert_eq!(shops.find(&shop("shop-1"), start), ACTIVE);
        assert_eq!(shops.0.lock().expect("nobody panicked").len(), MAX_SHOPS);
    }
}
