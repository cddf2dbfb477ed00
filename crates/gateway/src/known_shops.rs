//! The shops that the gateway knows: every request below a shop is looked up here first.
//!
//! | a shop | a request |
//! |---|---|
//! | that was looked up or put through this gateway in the last [`RECHECK_AFTER`] | costs a look into a map |
//! | that was longer ago | one request of them asks the shop service; none relies on what is older than [`MAX_AGE`] |
//! | that is not known | asks the shop service, so one that was just created elsewhere is found |
//!
//! A shop is never deleted, so only whether it is suspended can be out of date. While the shop service
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
use events::proto::shop;
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
    state.shops.require(&state.services, &shop).await?;
    // The handlers need not read it again.
    parts.extensions.insert(shop);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The shops that are known, and since when.
#[derive(Debug, Default)]
pub(crate) struct KnownShops(Mutex<HashMap<Shop, Known>>);

/// What is known of a shop.
#[derive(Debug, Clone, Copy)]
struct Known {
    suspended: bool,
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
    Known { suspended: bool },
    /// It is to be looked up again.
    Old { suspended: bool },
    /// It is not known.
    Unknown,
}

impl KnownShops {
    /// Remembers a shop as the shop service has said that it is.
    pub(crate) fn remember(&self, shop: &Shop, version: u64, suspended: bool, now: Instant) {
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
        let known = Known { suspended, version, since: now, asked: now, is_silent: false };
        shops.insert(shop.clone(), known);
    }

    /// Looks a shop up. Who finds it old is expected to ask the shop service: the next ones rely on
    /// that.
    fn find(&self, shop: &Shop, now: Instant) -> Found {
        let mut shops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = shops.get_mut(shop) else { return Found::Unknown };
        let suspended = known.suspended;
        let (age, asked) = (now.duration_since(known.since), now.duration_since(known.asked));
        let relies_on_another = asked < RECHECK_AFTER && (age < MAX_AGE || known.is_silent);
        if age < RECHECK_AFTER || relies_on_another {
            return Found::Known { suspended };
        }
        known.asked = now;
        Found::Old { suspended }
    }

    /// Notes that the shop service did not answer.
    fn note_silence(&self, shop: &Shop) {
        let mut shops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shops.get_mut(shop) {
            known.is_silent = true;
        }
    }

    /// Refuses a shop that there is not, or that is suspended.
    async fn require(&self, services: &Services, shop: &Shop) -> Result<(), Problem> {
        let suspended = match self.find(shop, Instant::now()) {
            Found::Known { suspended } => suspended,
            Found::Old { suspended } => {
                if let Ok(Ok(found)) = timeout(RECHECK_TIMEOUT, self.ask(services, shop)).await {
                    found.ok_or_else(|| unknown(shop))?
                } else {
                    self.note_silence(shop);
                    tracing::warn!(
                        shop.name = %shop,
                        "the shop service does not answer; what was known of the shop holds"
                    );
                    suspended
                }
            }
            Found::Unknown => self.ask(services, shop).await?.ok_or_else(|| unknown(shop))?,
        };
        if suspended {
            let detail = format!(
                "the shop {shop} is suspended: an operator resumes it with `tradewind shops resume \
                 {shop}`"
            );
            return Err(Problem::new(Code::ShopSuspended, detail));
        }
        Ok(())
    }

    /// Asks the shop service whether a shop is suspended; `None` when there is none of that name.
    async fn ask(&self, services: &Services, shop: &Shop) -> Result<Option<bool>, Problem> {
        let asked = Instant::now();
        let found = services.ask(shop, shop::GetShop {}, 0).await?;
        Ok(found.map(|found| {
            self.remember(shop, found.version, found.suspended, asked);
            found.suspended
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("valid")
    }

    const ACTIVE: Found = Found::Known { suspended: false };
    const SUSPENDED: Found = Found::Known { suspended: true };

    #[test]
    fn a_shop_is_known_until_it_is_to_be_looked_up_again_by_one_request() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        assert_eq!(shops.find(&acme, start), Found::Unknown);
        shops.remember(&acme, 1, false, start);
        assert_eq!(shops.find(&acme, start + RECHECK_AFTER / 2), ACTIVE);
        assert_eq!(shops.find(&shop("other"), start), Found::Unknown);

        let later = start + RECHECK_AFTER;
        assert_eq!(shops.find(&acme, later), Found::Old { suspended: false });
        assert_eq!(shops.find(&acme, later), ACTIVE, "another asks");
        shops.remember(&acme, 2, true, later);
        assert_eq!(shops.find(&acme, later), SUSPENDED);
    }

    #[test]
    fn nobody_relies_on_what_is_too_old() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 1, false, start);
        for _ in 0..2 {
            assert_eq!(shops.find(&acme, start + MAX_AGE), Found::Old { suspended: false });
        }
    }

    #[test]
    fn what_is_known_holds_while_the_service_does_not_answer() {
        let (shops, acme, start) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 1, true, start);
        let later = start + 10 * MAX_AGE;
        assert_eq!(shops.find(&acme, later), Found::Old { suspended: true });
        shops.note_silence(&acme);
        assert_eq!(shops.find(&acme, later), SUSPENDED);
        assert_eq!(shops.find(&acme, later + RECHECK_AFTER), Found::Old { suspended: true });
    }

    #[test]
    fn a_slow_answer_does_not_undo_a_later_one() {
        let (shops, acme, now) = (KnownShops::default(), shop("acme"), Instant::now());
        shops.remember(&acme, 3, true, now);
        shops.remember(&acme, 2, false, now);
        assert_eq!(shops.find(&acme, now), SUSPENDED);
    }

    #[test]
    fn the_shop_that_was_looked_up_longest_ago_is_forgotten() {
        let (shops, start) = (KnownShops::default(), Instant::now());
        for number in 0..=MAX_SHOPS {
            let at = start + Duration::from_millis(number as u64);
            shops.remember(&shop(&format!("shop-{number}")), 1, false, at);
        }
        assert_eq!(shops.find(&shop("shop-0"), start), Found::Unknown);
        assert_eq!(shops.find(&shop("shop-1"), start), ACTIVE);
        assert_eq!(shops.0.lock().expect("nobody panicked").len(), MAX_SHOPS);
    }
}
