//! What the catalogue decides. No I/O, no clock, no async.

use std::collections::HashMap;

use engine::{Decision, Recorded, Rows};
use events::{
    answer::{ProductResult, PutProductsAnswer},
    id::Sku,
    money::Money,
};

/// A product, as it is or as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The title, for people.
    pub title: String,
    /// The price of one unit.
    pub price: Money,
    /// Whether it is sold.
    pub active: bool,
}

/// A product and its history's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The product as it is.
    pub product: Product,
    /// Counts its events, from 1.
    pub version: u64,
}

/// What the catalogue is asked to do.
#[derive(Debug, Clone)]
pub enum Input {
    /// Bring products into the given state, each for itself. A SKU may stand there twice: the
    /// later entry is decided on what the earlier one leaves.
    Put {
        /// How they shall be.
        products: Vec<(Sku, Product)>,
    },
}

/// What happened to a product. The product in it is as it is from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It came into being.
    Created(Sku, Product),
    /// Its title or price changed, or it is sold again. It is active.
    Updated(Sku, Product),
    /// It is no longer sold, or what is no longer sold got another title or price. It is inactive.
    Discontinued(Sku, Product),
}

impl Event {
    /// The product that it happened to.
    pub fn sku(&self) -> &Sku {
        match self {
            Self::Created(sku, _) | Self::Updated(sku, _) | Self::Discontinued(sku, _) => sku,
        }
    }

    /// The product as it is from then on.
    pub fn product(&self) -> &Product {
        match self {
            Self::Created(_, product)
            | Self::Updated(_, product)
            | Self::Discontinued(_, product) => product,
        }
    }
}

/// Decides which facts follow from `input`, and what its sender is told.
pub(crate) fn decide(products: &Rows<Sku, Row>, input: &Input) -> Decision<Event> {
    match input {
        Input::Put { products: wanted } => put(products, wanted),
    }
}

fn put(products: &Rows<Sku, Row>, wanted: &[(Sku, Product)]) -> Decision<Event> {
    let mut put_before: HashMap<&Sku, &Product> = HashMap::new();
    let mut events = Vec::new();
    let mut results = Vec::with_capacity(wanted.len());
    for (sku, product) in wanted {
        let known = put_before.insert(sku, product);
        let known = known.or_else(|| products.get(sku).map(|row| &row.product));
        let (event, result) = bring(sku, known, product);
        events.extend(event);
        results.push(result);
    }
    Decision::answered(events, &PutProductsAnswer { results })
}

/// Brings one product into the state `wanted`.
fn bring(sku: &Sku, known: Option<&Product>, wanted: &Product) -> (Option<Event>, ProductResult) {
    let changed = |event: fn(Sku, Product) -> Event| Some(event(sku.clone(), wanted.clone()));
    match known {
        None => (changed(Event::Created), ProductResult::Created),
        Some(known) if known == wanted => (None, ProductResult::Unchanged),
        Some(_) if wanted.active => (changed(Event::Updated), ProductResult::Updated),
        Some(known) if known.active => (changed(Event::Discontinued), ProductResult::Discontinued),
        // It was not sold and is not sold, so only its title or price changed. `updated` would
        // say that it is sold again; so the fact is `discontinued`, with its new values.
        Some(_) => (changed(Event::Discontinued), ProductResult::Updated),
    }
}

/// Folds a fact into the products.
pub(crate) fn apply(products: &mut Rows<Sku, Row>, recorded: &Recorded<Event>) {
    let product = recorded.event.product().clone();
    products.put(recorded.event.sku().clone(), Row { product, version: recorded.version });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::{Cause, Context};
    use events::{
        id::{EventId, Shop},
        money::Currency,
        time::Timestamp,
    };

    use super::*;

    fn sku(sku: &str) -> Sku {
        Sku::parse(sku).expect("valid")
    }

    fn mug(price: i64, active: bool) -> Product {
        let currency = Currency::parse("GBP").expect("valid");
        Product { title: "Mug".into(), price: Money { minor: price, currency }, active }
    }

    fn created(name: &str, product: Product) -> Event {
        Event::Created(sku(name), product)
    }

    fn updated(name: &str, product: Product) -> Event {
        Event::Updated(sku(name), product)
    }

    fn discontinued(name: &str, product: Product) -> Event {
        Event::Discontinued(sku(name), product)
    }

    fn fold(products: &mut Rows<Sku, Row>, event: Event) {
        let version = products.get(event.sku()).map_or(0, |row| row.version) + 1;
        let recorded = Recorded {
            id: EventId::parse("018f0000-0000-7000-8000-000000000000").expect("valid"),
            shop: Shop::parse("acme").expect("valid"),
            version,
            time: Timestamp::from_millis(0),
            cause: Cause::default(),
            context: Context::default(),
            event,
        };
        apply(products, &recorded);
    }

    /// Given what happened, when products are put, then these facts follow and their sender is
    /// told these results; and when they are put again, nothing follows.
    #[track_caller]
    fn check(
        given: &[Event],
        when: &[(&str, Product)],
        then: &[Event],
        and_told: &[ProductResult],
    ) {
        let mut products = Rows::default();
        for event in given {
            fold(&mut products, event.clone());
        }
        let input = Input::Put {
            products: when.iter().map(|(name, product)| (sku(name), product.clone())).collect(),
        };

        let decision = decide(&products, &input);
        let answer = PutProductsAnswer { results: and_told.to_vec() };
        assert_eq!(decision, Decision::answered(then.to_vec(), &answer));

        for event in decision.events {
            fold(&mut products, event);
        }
        let last: BTreeMap<_, _> =
            when.iter().map(|(name, product)| (sku(name), product.clone())).collect();
        for (sku, product) in &last {
            assert_eq!(products.get(sku).map(|row| &row.product), Some(product), "{sku}");
        }
        let again = Input::Put { products: last.into_iter().collect() };
        assert_eq!(decide(&products, &again).events, [], "put again");
    }

    #[test]
    fn a_new_sku_is_created() {
        check(
            &[],
            &[("A", mug(300, true)), ("a", mug(400, false))],
            &[created("A", mug(300, true)), created("a", mug(400, false))],
            &[ProductResult::Created, ProductResult::Created],
        );
    }

    #[test]
    fn another_price_or_title_updates() {
        let renamed = Product { title: "Large mug".into(), ..mug(300, true) };
        check(
            &[created("A", mug(300, true)), created("B", mug(300, true))],
            &[("A", mug(350, true)), ("B", renamed.clone())],
            &[updated("A", mug(350, true)), updated("B", renamed)],
            &[ProductResult::Updated, ProductResult::Updated],
        );
    }

    #[test]
    fn what_is_so_already_stays_silent() {
        check(
            &[created("A", mug(300, true))],
            &[("A", mug(300, true))],
            &[],
            &[ProductResult::Unchanged],
        );
    }

    #[test]
    fn what_shall_no_longer_be_sold_is_discontinued_with_its_last_values() {
        check(
            &[created("A", mug(300, true))],
            &[("A", mug(250, false))],
            &[discontinued("A", mug(250, false))],
            &[ProductResult::Discontinued],
        );
    }

    #[test]
    fn what_is_sold_again_is_updated() {
        check(
            &[created("A", mug(300, true)), discontinued("A", mug(300, false))],
            &[("A", mug(300, true))],
            &[updated("A", mug(300, true))],
            &[ProductResult::Updated],
        );
    }

    #[test]
    fn another_price_of_what_is_not_sold_does_not_sell_it_again() {
        check(
            &[created("A", mug(300, false))],
            &[("A", mug(200, false))],
            &[discontinued("A", mug(200, false))],
            &[ProductResult::Updated],
        );
    }

    #[test]
    fn a_sku_twice_in_one_command_sees_what_came_before() {
        check(
            &[],
            &[("A", mug(300, true)), ("A", mug(300, true)), ("A", mug(300, false))],
            &[created("A", mug(300, true)), discontinued("A", mug(300, false))],
            &[ProductResult::Created, ProductResult::Unchanged, ProductResult::Discontinued],
        );
    }

    #[test]
    fn versions_count_the_events_of_a_sku() {
        let mut products = Rows::default();
        for price in [100, 200, 300] {
            let input = Input::Put { products: vec![(sku("A"), mug(price, true))] };
            let decision = decide(&products, &input);
            for event in decision.events {
                fold(&mut products, event);
            }
        }
        let row = products.get(&sku("A")).expect("exists");
        assert_eq!(row, &Row { product: mug(300, true), version: 3 });
    }
}
