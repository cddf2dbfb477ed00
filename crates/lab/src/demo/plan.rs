//! The day's orders: who wants what, and how the payment will go. The same in every run.

use serde_json::{Value, json};

use super::products::{DISCONTINUED_SKU, PRODUCTS, Product, RACE_SKU};
use crate::random::Random;

/// The seed of the day.
const SEED: u64 = 1805;
/// One of so many orders is of the race.
const RACER_IN: usize = 10;
/// One of so many racers gets what all of them want.
const WINNER_IN: usize = 10;
/// The most lines of an order.
const MAX_ORDER_LINES: usize = 4;
/// What delivery costs, in pence.
const DELIVERY: i64 = 395;

/// How the payment methods begin that are taken in one step.
pub const ONE_STEP_METHODS: [&str; 2] = ["ideal", "sim:charge"];

/// What is special about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing: the card is charged when the order is confirmed.
    Card,
    /// The money is taken in one step.
    OneStep,
    /// The charge is declined, and the customer pays by another method in one step.
    OneStepDeclined,
    /// The provider takes the money in one step and never says so.
    OneStepSilent,
    /// The customer cancels while the charge is under way.
    OneStepCancels,
    /// The provider takes its time, within the order's payment timeout.
    Slow,
    /// The provider fails twice before it answers.
    Flaky,
    /// The provider sets the money aside and never says so.
    Silent,
    /// The provider captures and never says so.
    SilentCapture,
    /// The provider cannot be reached until the order has given up.
    Late,
    /// The card is declined, and the customer leaves it at that.
    Declined,
    /// The card is declined, and the customer pays by another while the stock is held.
    OtherCard,
    /// The card is declined, and the other one as well.
    DeclinedTwice,
    /// The provider refuses to capture what it has authorised.
    CaptureRefused,
    /// The customer cancels while the payment is under way.
    Cancels,
    /// The customer cancels at once; the order may be quicker.
    CancelsAtOnce,
    /// The customer's connection breaks, and the request comes twice.
    Twice,
    /// The customer wants what is no longer sold.
    Discontinued,
    /// The customer wants one of the last units, as many others do at the same moment.
    Racer,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 19] = [
        Self::Card,
        Self::OneStep,
        Self::OneStepDeclined,
        Self::OneStepSilent,
        Self::OneStepCancels,
        Self::Slow,
        Self::Flaky,
        Self::Silent,
        Self::SilentCapture,
        Self::Late,
        Self::Declined,
        Self::OtherCard,
        Self::DeclinedTwice,
        Self::CaptureRefused,
        Self::Cancels,
        Self::CancelsAtOnce,
        Self::Twice,
        Self::Discontinued,
        Self::Racer,
    ];

    /// What it is, for the report.
    pub fn label(self) -> &'static str {
        match self {
            Self::Card => "pay by card",
            Self::OneStep => "pay in one step",
            Self::OneStepDeclined => "the charge is declined, another is not",
            Self::OneStepSilent => "charged, and the answer is lost",
            Self::OneStepCancels => "cancel while the charge is under way",
            Self::Slow => "the provider takes 0.6 s",
            Self::Flaky => "the provider fails twice first",
            Self::Silent => "authorised, and the answer is lost",
            Self::SilentCapture => "captured, and the answer is lost",
            Self::Late => "the provider answers too late",
            Self::Declined => "the card is declined",
            Self::OtherCard => "the card is declined, another is not",
            Self::DeclinedTwice => "the card is declined, and another as well",
            Self::CaptureRefused => "the capture is refused",
            Self::Cancels => "cancel while the payment is under way",
            Self::CancelsAtOnce => "cancel at once, and may be too late",
            Self::Twice => "the same request twice at the same time",
            Self::Discontinued => "want what is no longer sold",
            Self::Racer => "race for the last units",
        }
    }

    /// How the simulated provider will behave.
    fn payment_method(self) -> &'static str {
        match self {
            Self::Card | Self::CancelsAtOnce | Self::Twice | Self::Discontinued | Self::Racer => {
                "card"
            }
            Self::OneStep => "ideal",
            Self::OneStepDeclined => "sim:charge_decline:insufficient_funds",
            Self::OneStepSilent => "sim:charge_lost",
            Self::OneStepCancels => "sim:charge_slow:800",
            Self::Slow => "sim:slow:600",
            Self::Flaky => "sim:error:2",
            Self::Silent => "sim:lost",
            Self::SilentCapture => "sim:capture_lost",
            // Seven calls that do not get through, with pauses that double from 50 ms: 6.4 s.
            Self::Late => "sim:outage:7",
            Self::Declined | Self::OtherCard | Self::DeclinedTwice => {
                "sim:decline:insufficient_funds"
            }
            Self::CaptureRefused => "sim:capture_decline:suspected_fraud",
            Self::Cancels => "sim:slow:800",
        }
    }

    /// By what the customer pays when the first payment is declined.
    pub(super) fn second_payment_method(self) -> Option<&'static str> {
        match self {
            Self::OtherCard => Some("card"),
            Self::OneStepDeclined => Some("ideal"),
            Self::DeclinedTwice => Some("sim:decline:expired_card"),
            _ => None,
        }
    }

    /// So many of a thousand orders outside the race; the rest pay by card.
    fn per_mille(self) -> usize {
        match self {
            Self::Card | Self::Racer => 0,
            Self::OneStep => 60,
            Self::Slow | Self::Cancels | Self::CancelsAtOnce | Self::OtherCard => 30,
            Self::Flaky | Self::Twice | Self::Declined | Self::OneStepDeclined => 20,
            Self::Silent | Self::Late => 15,
            Self::SilentCapture
            | Self::OneStepSilent
            | Self::OneStepCancels
            | Self::CaptureRefused
            | Self::Discontinued
            | Self::DeclinedTwice => 10,
        }
    }
}

/// An order that a customer is going to place.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What is special about it.
    pub kind: Kind,
    /// The idempotency key.
    pub key: String,
    /// The body of the request.
    pub body: Value,
}

/// The orders of the day.
#[derive(Debug)]
pub struct Plan {
    /// Those that come one after another.
    pub orders: Vec<Planned>,
    /// Those that come at once.
    pub race: Vec<Planned>,
    /// The units that the racers race for.
    pub race_units: usize,
}

impl Plan {
    /// A day of so many orders.
    pub fn new(orders: usize) -> Self {
        let mut random = Random::new(SEED);
        let racers = orders / RACER_IN;
        let mut kinds = Vec::with_capacity(orders - racers);
        for kind in Kind::ALL {
            // At least one of each: a short day shows everything as well.
            let count = ((orders - racers) * kind.per_mille()).div_ceil(1000);
            kinds.extend(std::iter::repeat_n(kind, count));
        }
        kinds.resize(orders - racers, Kind::Card);
        random.shuffle(&mut kinds);
        let mut number = 0;
        let mut plan = |kind, random: &mut Random| {
            number += 1;
            planned(kind, number, random)
        };
        let orders = kinds.into_iter().map(|kind| plan(kind, &mut random)).collect();
        let race = (0..racers).map(|_| plan(Kind::Racer, &mut random)).collect();
        Self { orders, race, race_units: racers.div_ceil(WINNER_IN) }
    }
}

fn planned(kind: Kind, number: usize, random: &mut Random) -> Planned {
    let reference = format!("WEB-{number:06}");
    let lines: Vec<_> = match kind {
        Kind::Racer => vec![json!({"sku": RACE_SKU, "quantity": 1})],
        Kind::Discontinued => vec![json!({"sku": DISCONTINUED_SKU, "quantity": 1})],
        _ => basket(random),
    };
    let mut body = json!({
        "reference": reference,
        "currency": "GBP",
        "country": random.pick(&["GB", "GB", "GB", "IE", "FR", "DE", "NL"]),
        "lines": lines,
        "charges": [{"code": "DELIVERY", "amount": DELIVERY}],
        "payment_method": kind.payment_method(),
    });
    // Every fourth is a guest.
    if random.below(4) > 0 {
        body["customer_id"] = json!(format!("C-{:05}", random.below(1500) + 1));
    }
    Planned { kind, key: format!("demo-{reference}"), body }
}

/// One to four products, the best-selling ones most often, one to three units of each.
fn basket(random: &mut Random) -> Vec<Value> {
    let sold: Vec<&Product> = PRODUCTS.iter().filter(|product| product.opening > 0).collect();
    let mut chosen: Vec<&str> = Vec::new();
    for _ in 0..=random.below(MAX_ORDER_LINES) {
        let at = random.below(sold.len()).min(random.below(sold.len()));
        if !chosen.contains(&sold[at].sku) {
            chosen.push(sold[at].sku);
        }
    }
    let mut units = || [1, 1, 1, 2, 2, 3].get(random.below(6)).copied().unwrap_or(1);
    chosen.into_iter().map(|sku| json!({"sku": sku, "quantity": units()})).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_day_has_so_many_orders_and_every_kind() {
        for orders in [100, 200, 2_000, 5_001] {
            let plan = Plan::new(orders);
            assert_eq!(plan.orders.len() + plan.race.len(), orders);
            assert!(plan.race_units > 0 && plan.race_units < plan.race.len());
            let all = || plan.orders.iter().chain(&plan.race);
            let kinds: BTreeSet<_> = all().map(|order| order.kind).collect();
            assert_eq!(kinds, BTreeSet::from(Kind::ALL));
            let keys: BTreeSet<_> = all().map(|order| &order.key).collect();
            assert_eq!(keys.len(), orders, "each has a key of its own");
        }
    }

    #[test]
    fn a_day_is_the_same_again() {
        let bodies =
            || -> Vec<_> { Plan::new(500).orders.iter().map(|o| o.body.clone()).collect() };
        assert_eq!(bodies(), bodies());
    }

    #[test]
    fn only_racers_want_what_the_race_is_for() {
        for order in Plan::new(2_000).orders {
            assert!(!order.body["lines"].to_string().contains(RACE_SKU));
        }
    }
}
