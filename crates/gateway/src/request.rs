//! What a request below a shop has in common with all others, and the commands that follow from it.

use std::time::Duration;

use events::{money::TaxBasis, proto, shop::Capture};
use prost::Message;
use protocol::{
    id::{CommandId, Shop, fingerprint},
    time::Timestamp,
};
use tokio::time::Instant;

use crate::{
    api_key::{Caller, Scope},
    position::SeenPositions,
    problem::Problem,
    trace::{TraceContext, new_id},
};

/// What a request below a shop has in common with all others.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// The shop that it is about.
    pub(crate) shop: Shop,
    /// What is known of the shop.
    pub(crate) shop_facts: ShopFacts,
    /// How much of the services' logs its client has seen.
    pub(crate) seen: SeenPositions,
    /// How long the client waits for the order that it places to be paid or cancelled.
    pub(crate) wait: Option<Duration>,
    /// When its head had been read.
    pub(crate) received: Instant,
    /// The same by the clock, for the commands.
    pub(crate) time: Timestamp,
    pub(crate) trace: TraceContext,
    pub(crate) idempotency_key: Option<String>,
    /// Who sends it.
    pub(crate) caller: Caller,
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

impl RequestContext {
    /// The command of a request. `part` numbers the commands of one that leads to several, and is
    /// `None` for the only one.
    ///
    /// The fingerprint is that of the command, not of the bytes that were sent: the same JSON written
    /// in another way, or with defaults written out, is the same request. What the shop's settings say is filled
    /// in afterwards: the same request stays the same when they change.
    pub(crate) fn command(
        &self,
        part: Option<usize>,
        body: proto::command::Body,
    ) -> proto::Command {
        let id = match (&self.idempotency_key, part) {
            (None, _) => CommandId(new_id()),
            // No shop holds them apart: each caller's idempotency keys are its own.
            (Some(key), _) if self.shop == Shop::installation() => {
                CommandId::from_key(&self.shop, &format!("{} {key}", self.caller.name()))
            }
            (Some(key), None) => CommandId::from_key(&self.shop, key),
            // No key of a caller has a space, so none is that of a part of another.
            (Some(key), Some(part)) => CommandId::from_key(&self.shop, &format!("{key} {part}")),
        };
        let actor = self.caller.actor(&body);
        let mut content = proto::Command { body: Some(body), ..Default::default() };
        let fingerprint = fingerprint(&content.encode_to_vec());
        if let Some(body) = &mut content.body {
            name_tax_basis(body, self.shop_facts.tax_basis);
        }
        proto::Command {
            id: id.to_string(),
            shop: self.shop.to_string(),
            time: Some(self.time.into()),
            fingerprint,
            traceparent: self.trace.traceparent.clone(),
            tracestate: self.trace.tracestate.clone(),
            actor,
            after: self.seen.by_service(),
            ..content
        }
    }

    /// Whether the caller's key allows that.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.caller.may(scope)
    }

    /// Refuses a request whose key does not allow that. `what` is what the caller wants.
    pub(crate) fn require(&self, scope: Scope, what: &str) -> Result<(), Problem> {
        if self.caller.may(scope) {
            return Ok(());
        }
        Err(Problem::missing_scope(&[scope.as_str()], what))
    }

    /// Whether the request has an idempotency key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.idempotency_key.is_some()
    }
}

/// Says whether tax is in the prices of products, or of an order, that do not say it.
fn name_tax_basis(body: &mut proto::command::Body, basis: TaxBasis) {
    use proto::command::Body;
    let name = |price: &mut proto::Price| {
        if price.tax_basis() == proto::TaxBasis::Unspecified {
            price.set_tax_basis(basis.into());
        }
    };
    match body {
        Body::PutProducts(put) => {
            let products = put.products.iter_mut().filter_map(|it| it.product.as_mut());
            products.filter_map(|product| product.price.as_mut()).for_each(name);
        }
        Body::PlaceOrder(order) if order.tax_basis() == proto::TaxBasis::Unspecified => {
            order.set_tax_basis(basis.into());
            let of_lines = order.lines.iter_mut().filter_map(|line| line.unit_price.as_mut());
            let of_charges = order.charges.iter_mut().filter_map(|it| it.price.as_mut());
            of_lines.chain(of_charges).for_each(name);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with that idempotency key.
    fn context(key: Option<&str>) -> RequestContext {
        RequestContext {
            shop: Shop::parse("acme").unwrap(),
            shop_facts: ShopFacts::default(),
            seen: SeenPositions::default(),
            wait: None,
            received: Instant::now(),
            time: Timestamp::from_millis(7),
            trace: TraceContext::default(),
            idempotency_key: key.map(str::to_owned),
            caller: Caller::default(),
        }
    }

    #[test]
    fn the_same_key_with_another_request_has_another_fingerprint() {
        let cancel = |order: &str, note: &str| {
            let sealed = proto::Sealed { key_id: note.to_owned(), ..Default::default() };
            let (order_id, note) = (order.to_owned(), (!note.is_empty()).then_some(sealed));
            proto::command::Body::CancelOrder(proto::order::CancelOrder { order_id, note })
        };
        let command = |key, part, body| context(key).command(part, body);

        let first = command(Some("k"), None, cancel("1", ""));
        assert_eq!(first.time, Some(Timestamp::from_millis(7).into()));
        assert_eq!(first.fingerprint.len(), 64);
        let again = command(Some("k"), None, cancel("1", ""));
        assert_eq!((&again.id, &again.fingerprint), (&first.id, &first.fingerprint));
        for other in [cancel("2", ""), cancel("1", "a note")] {
            let other = command(Some("k"), None, other);
            assert_eq!(other.id, first.id);
            assert_ne!(other.fingerprint, first.fingerprint);
        }
        // An empty message of another kind is another request.
        let none = |body| command(Some("k"), None, body).fingerprint;
        let products = proto::command::Body::PutProducts(proto::catalog::PutProducts::default());
        assert_ne!(none(products), none(cancel("", "")));
        assert_ne!(
            command(None, None, cancel("1", "")).id,
            command(None, None, cancel("1", "")).id
        );
    }

    #[test]
    fn what_a_setting_of_the_shop_fills_in_is_not_in_the_fingerprint() {
        let command = |basis, said: proto::TaxBasis| {
            let currency = events::money::Currency::parse("GBP").unwrap();
            let mut price = TaxBasis::Included.price(199, currency);
            price.set_tax_basis(said);
            let product = proto::catalog::Product { price: Some(price), ..Default::default() };
            let wanted =
                proto::catalog::WantedProduct { product: Some(product), ..Default::default() };
            let put = proto::catalog::PutProducts { products: vec![wanted], ..Default::default() };
            let shop_facts = ShopFacts { tax_basis: basis, ..ShopFacts::default() };
            let context = RequestContext { shop_facts, ..context(Some("k")) };
            let command = context.command(None, proto::command::Body::PutProducts(put));
            let Some(proto::command::Body::PutProducts(put)) = command.body else {
                panic!("puts a product");
            };
            let product = put.products[0].product.clone().unwrap();
            (product.price.unwrap().tax_basis(), command.fingerprint)
        };
        let (included, before) = command(TaxBasis::Included, proto::TaxBasis::Unspecified);
        let (excluded, after) = command(TaxBasis::Excluded, proto::TaxBasis::Unspecified);
        assert_eq!(included, proto::TaxBasis::Included);
        assert_eq!(excluded, proto::TaxBasis::Excluded);
        assert_eq!(before, after);
        // What is said stays, and is another request.
        let (said, other) = command(TaxBasis::Excluded, proto::TaxBasis::Included);
        assert_eq!(said, proto::TaxBasis::Included);
        assert_ne!(other, after);
    }

    #[test]
    fn a_part_of_a_request_has_an_id_that_no_key_has() {
        let id = |key, part| {
            let body = proto::command::Body::CancelOrder(proto::order::CancelOrder::default());
            context(Some(key)).command(part, body).id
        };
        assert_eq!(id("k", Some(1)), id("k", Some(1)));
        let others = [id("k", None), id("k", Some(2)), id("k/1", None), id("k-1", None)];
        assert!(!others.contains(&id("k", Some(1))));
        assert_ne!(id("k/1", Some(1)), id("k", Some(11)));
    }
}
