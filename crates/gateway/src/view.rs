//! What the services answer, as the JSON of the API.

mod categories;
mod erp;
mod listings;
mod payments;

use events::{
    http::{
        CancelReason, Cancellation, Charge, CustomsView, Discount, FulfilmentStatus,
        FulfilmentView, HoldView, LevelView, LocationView, MovementView, Open, OrderGroup,
        OrderLine, OrderPaymentView, OrderStatus, OrderSummary, OrderTotals, OrderView,
        PaymentAction, PaymentFailure, PaymentStatus, PriceView, ProductView, ShopView, Shortage,
        StockTotals, StockView,
    },
    id::{
        Country, CustomerId, HsCode, LineId, ListingKey, Location, OrderId, PaymentId, Quantity,
        Reference, Sku, TaxClass,
    },
    money::{Money, Tax, TaxBasis},
    proto::{self, catalog, inventory, order, shop},
    shop::Settings,
};
use protocol::{
    id::{ParseError, Shop},
    time::Timestamp,
};

pub(crate) use self::{
    categories::category,
    erp::{connector, rejection, stock_line},
    listings::listing,
    payments::{DifferenceView, difference, payment, payment_summary, payment_totals},
};
use crate::problem::Problem;

/// An answer that this version of the gateway cannot show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer of a service cannot be shown")]
pub(crate) struct ViewError(#[from] pub(crate) ParseError);

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        Self::internal(&error)
    }
}

/// A product.
pub(crate) fn product(stored: catalog::StoredProduct) -> Result<ProductView, ViewError> {
    let catalog::Product { sku, title, price, active, listing_key, tax_class, weight_g, customs } =
        stored.product.unwrap_or_default();
    let price = price.unwrap_or_default();
    let (sku, money) = (Sku::parse(&sku)?, Money::parse(price.money.as_ref())?);
    let price = PriceView { money, tax_basis: tax_basis(price.tax_basis) };
    Ok(ProductView {
        sku,
        title,
        price,
        active,
        listing_key: listing_key.map(|key| ListingKey::parse(&key)).transpose()?,
        tax_class: tax_class.map(|class| TaxClass::parse(&class)).transpose()?,
        weight_g,
        customs: customs.map(self::customs).transpose()?,
        version: stored.version,
    })
}

fn customs(customs: catalog::Customs) -> Result<CustomsView, ParseError> {
    let catalog::Customs { country_of_origin, hs_code } = customs;
    Ok(CustomsView {
        country_of_origin: country_of_origin.map(|code| Country::parse(&code)).transpose()?,
        hs_code: hs_code.map(|code| HsCode::parse(&code)).transpose()?,
    })
}

/// The stock of a SKU at a location.
pub(crate) fn level(level: &inventory::Level) -> Result<LevelView, ViewError> {
    let limits = level.limits.unwrap_or_default();
    let inventory::StockLimits { safety_stock, backorder_limit } = limits;
    Ok(LevelView {
        sku: Sku::parse(&level.sku)?,
        location: Location::parse(&level.location)?,
        on_hand: level.on_hand,
        held: level.held,
        allocated: level.allocated,
        available: level.available,
        version: level.version,
        incoming: level.incoming,
        safety_stock,
        backorder_limit,
    })
}

/// The stock of a SKU at all its locations.
pub(crate) fn stock(sku: Sku, levels: &[inventory::Level]) -> Result<StockView, ViewError> {
    let sum = |units: fn(&inventory::Level) -> i64| levels.iter().map(units).sum();
    Ok(StockView {
        sku,
        on_hand: sum(|level| level.on_hand),
        held: sum(|level| level.held),
        allocated: sum(|level| level.allocated),
        incoming: sum(|level| level.incoming),
        available: sum(|level| if level.fulfils_online { level.available } else { 0 }),
        locations: levels.iter().map(level).collect::<Result<_, _>>()?,
    })
}

/// What changed the units on hand.
pub(crate) fn movement(movement: inventory::Movement) -> Result<MovementView, ViewError> {
    use inventory::movement::Change;
    let inventory::Movement {
        version, document, change, moved, on_hand, location, position, ..
    } = movement;
    let document = document.unwrap_or_default();
    let (kind, order_id, transfer) = match change {
        Some(Change::Count(_)) => ("count", None, None),
        Some(Change::Adjustment(_)) => ("adjustment", None, None),
        Some(Change::GoodsIssue(issue)) => {
            ("goods_issue", Some(OrderId::parse(&issue.order_id)?), None)
        }
        Some(Change::TransferOut(out)) => ("transfer_out", None, Some(out.transfer)),
        Some(Change::TransferIn(into)) => ("transfer_in", None, Some(into.transfer)),
        None => ("other", None, None),
    };
    Ok(MovementView {
        location: Location::parse(&location)?,
        version,
        position,
        kind: kind.to_owned(),
        moved,
        on_hand,
        order_id,
        transfer,
        connector: document.connector,
        document: document.id,
        document_line: Some(document.line).filter(|line| !line.is_empty()),
        time: Timestamp::parse(document.occurred_at.as_ref())?,
    })
}

/// A goods issue.
pub(crate) fn fulfilment(movement: inventory::Movement) -> Result<FulfilmentView, ViewError> {
    use inventory::movement::Change;
    let document = movement.document.unwrap_or_default();
    let Some(Change::GoodsIssue(issue)) = movement.change else {
        return Err(ParseError::new("goods_issue", "must be present", "").into());
    };
    Ok(FulfilmentView {
        order_id: OrderId::parse(&issue.order_id)?,
        sku: Sku::parse(&movement.sku)?,
        quantity: issue.quantity,
        location: Location::parse(&movement.location)?,
        position: movement.position,
        connector: document.connector,
        document: document.id,
        document_line: Some(document.line).filter(|line| !line.is_empty()),
        time: Timestamp::parse(document.occurred_at.as_ref())?,
    })
}

/// A location.
pub(crate) fn location(stored: inventory::StoredLocation) -> Result<LocationView, ViewError> {
    let location = stored.location.unwrap_or_default();
    Ok(LocationView {
        code: Location::parse(&stored.code)?,
        kind: location_kind(location.kind()).to_owned(),
        priority: location.priority,
        fulfils_online: location.fulfils_online,
        country: location.country,
        active: location.active,
        version: stored.version,
    })
}

/// What a location is, in JSON.
pub(crate) fn location_kind(kind: inventory::LocationKind) -> &'static str {
    match kind {
        inventory::LocationKind::Warehouse => "warehouse",
        inventory::LocationKind::Store => "store",
        inventory::LocationKind::Other | inventory::LocationKind::Unspecified => "other",
    }
}

/// A shop.
pub(crate) fn shop(shop: shop::Shop) -> Result<ShopView, ViewError> {
    let shop::Shop { name, settings, suspended, version, created_at, updated_at } = shop;
    Ok(ShopView {
        name: Shop::parse(&name)?,
        suspended,
        settings: Settings::read(&settings.unwrap_or_default())?,
        created_at: Timestamp::parse(created_at.as_ref())?,
        updated_at: Timestamp::parse(updated_at.as_ref())?,
        version,
    })
}

/// An order.
pub(crate) fn order(order: order::Order) -> Result<OrderView, ViewError> {
    let summary = order.summary.unwrap_or_default();
    let Money { minor, currency } = Money::parse(summary.total.as_ref())?;
    let units = order.units.iter().copied().chain(std::iter::repeat(order::LineUnits::default()));
    let lines = order.lines.into_iter().zip(units);
    Ok(OrderView {
        id: OrderId::parse(&order.order_id)?,
        number: summary.number,
        reference: given(summary.reference.as_deref(), Reference::parse)?,
        status: status(summary.status),
        payment_status: payment_status(summary.payment_status),
        fulfilment_status: fulfilment_status(summary.fulfilment_status),
        customer_id: given(summary.customer_id.as_deref(), CustomerId::parse)?,
        country: order.country.unwrap_or_default(),
        billing_country: order.billing_country.unwrap_or_default(),
        tax_basis: tax_basis(order.tax_basis),
        lines: lines.map(|(it, units)| line(it, units)).collect::<Result<_, _>>()?,
        charges: order.charges.into_iter().map(charge).collect::<Result<_, _>>()?,
        total: minor,
        currency,
        payments: order.payments.into_iter().map(order_payment).collect::<Result<_, _>>()?,
        hold: order.hold.as_ref().map(hold).transpose()?,
        cancellation: order.cancellation.map(cancellation).transpose()?,
        // Opened by those who show one order.
        personal: None,
        placed_at: Timestamp::parse(order.placed_at.as_ref())?,
        updated_at: Timestamp::parse(order.updated_at.as_ref())?,
        version: order.version,
    })
}

/// An order in a list.
pub(crate) fn order_summary(order: order::ListedOrder) -> Result<OrderSummary, ViewError> {
    let summary = order.summary.unwrap_or_default();
    let Money { minor, currency } = Money::parse(summary.total.as_ref())?;
    Ok(OrderSummary {
        id: OrderId::parse(&order.order_id)?,
        number: summary.number,
        reference: given(summary.reference.as_deref(), Reference::parse)?,
        status: status(summary.status),
        payment_status: payment_status(summary.payment_status),
        fulfilment_status: fulfilment_status(summary.fulfilment_status),
        on_hold: order.on_hold,
        customer_id: given(summary.customer_id.as_deref(), CustomerId::parse)?,
        total: minor,
        currency,
        placed_at: Timestamp::parse(order.placed_at.as_ref())?,
        updated_at: Timestamp::parse(order.updated_at.as_ref())?,
        version: order.version,
        position: order.position,
    })
}

/// A text, where it is given.
fn given<T>(
    value: Option<&str>,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    value.filter(|value| !value.is_empty()).map(parse).transpose()
}

fn line(line: order::Line, units: order::LineUnits) -> Result<OrderLine, ViewError> {
    let discount = |it: order::Discount| {
        let amount = Money::parse(it.amount.as_ref())?.minor;
        Ok::<_, ViewError>(Discount { code: it.code, amount })
    };
    Ok(OrderLine {
        line_id: LineId::parse(&line.line_id)?,
        sku: Sku::parse(&line.sku)?,
        title: line.title,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: price(line.unit_price.as_ref())?,
        discounts: line.discounts.into_iter().map(discount).collect::<Result<_, _>>()?,
        tax: line.tax.as_ref().map(tax).transpose()?,
        held: units.held,
        shipped: units.shipped,
        cancelled: units.cancelled,
    })
}

fn price(price: Option<&proto::Price>) -> Result<i64, ViewError> {
    Ok(Money::parse(price.and_then(|price| price.money.as_ref()))?.minor)
}

fn tax(tax: &order::Tax) -> Result<Tax, ViewError> {
    Ok(Tax { rate_ppm: tax.rate_ppm, amount: Money::parse(tax.amount.as_ref())?.minor })
}

fn charge(charge: order::Charge) -> Result<Charge, ViewError> {
    let (amount, tax) = (price(charge.price.as_ref())?, charge.tax.as_ref().map(tax));
    Ok(Charge { code: charge.code, amount, tax: tax.transpose()? })
}

fn order_payment(payment: order::OrderPayment) -> Result<OrderPaymentView, ViewError> {
    let failure = |it: order::PaymentFailed| PaymentFailure {
        code: it.code.unwrap_or_default(),
        detail: it.detail.unwrap_or_default(),
    };
    let action = |it: order::ActionRequired| {
        let expires_at = it.expires_at.as_ref().map(|time| Timestamp::parse(Some(time)));
        let expires_at = expires_at.transpose()?;
        let (url, data) = (it.url.unwrap_or_default(), it.data.unwrap_or_default());
        Ok::<_, ViewError>(PaymentAction { url, data, expires_at })
    };
    Ok(OrderPaymentView {
        id: PaymentId::parse(&payment.payment_id)?,
        status: payment_status(payment.status),
        captured: payment.captured,
        refunded: payment.refunded,
        failure: payment.failure.map(failure),
        action: payment.action.map(action).transpose()?,
    })
}

fn hold(hold: &order::PutOnHold) -> Result<HoldView, ViewError> {
    let reason = match order::HoldReason::try_from(hold.reason) {
        Ok(order::HoldReason::StockShort) => "stock_short".to_owned(),
        // One of a later version.
        Ok(order::HoldReason::Unspecified) | Err(_) => hold.reason.to_string(),
    };
    let (sku, location) = (Sku::parse(&hold.sku)?, Location::parse(&hold.location)?);
    Ok(HoldView { reason, sku, location })
}

fn cancellation(cancelled: order::Cancellation) -> Result<Cancellation, ViewError> {
    let shortage = |it: order::Shortage| {
        let sku = Sku::parse(&it.sku)?;
        Ok::<_, ViewError>(Shortage { sku, requested: it.requested, available: it.available })
    };
    Ok(Cancellation {
        reason: reason(cancelled.reason).unwrap_or_else(|| Open::read(cancelled.reason, None)),
        detail: cancelled.detail.unwrap_or_default(),
        shortages: cancelled.shortages.into_iter().map(shortage).collect::<Result<_, _>>()?,
        // Opened by those who show one order.
        note: None,
    })
}

/// Whether tax is in a price.
fn tax_basis(basis: i32) -> Open<TaxBasis> {
    Open::read(basis, TaxBasis::known(basis))
}

/// The status of an order.
pub(crate) fn status(status: i32) -> Open<OrderStatus> {
    use order::OrderStatus as Wire;
    let known = Wire::try_from(status).ok().and_then(|known| match known {
        Wire::Unspecified => None,
        Wire::Placed => Some(OrderStatus::Placed),
        Wire::Confirmed => Some(OrderStatus::Confirmed),
        Wire::Completed => Some(OrderStatus::Completed),
        Wire::Cancelled => Some(OrderStatus::Cancelled),
    });
    Open::read(status, known)
}

/// What is paid of an order.
pub(crate) fn payment_status(status: i32) -> Open<PaymentStatus> {
    use order::PaymentStatus as Wire;
    let known = Wire::try_from(status).ok().and_then(|known| match known {
        Wire::Unspecified => None,
        Wire::Pending => Some(PaymentStatus::Pending),
        Wire::ActionRequired => Some(PaymentStatus::ActionRequired),
        Wire::Authorized => Some(PaymentStatus::Authorized),
        Wire::Paid => Some(PaymentStatus::Paid),
        Wire::PartiallyRefunded => Some(PaymentStatus::PartiallyRefunded),
        Wire::Refunded => Some(PaymentStatus::Refunded),
        Wire::Failed => Some(PaymentStatus::Failed),
    });
    Open::read(status, known)
}

/// What of an order has shipped.
pub(crate) fn fulfilment_status(status: i32) -> Open<FulfilmentStatus> {
    use order::FulfilmentStatus as Wire;
    let known = Wire::try_from(status).ok().and_then(|known| match known {
        Wire::Unspecified => None,
        Wire::Unfulfilled => Some(FulfilmentStatus::Unfulfilled),
        Wire::Partial => Some(FulfilmentStatus::Partial),
        Wire::Fulfilled => Some(FulfilmentStatus::Fulfilled),
        Wire::PartiallyReturned => Some(FulfilmentStatus::PartiallyReturned),
        Wire::Returned => Some(FulfilmentStatus::Returned),
    });
    Open::read(status, known)
}

/// Why an order is cancelled; `None` when no reason is given.
fn reason(reason: i32) -> Option<Open<CancelReason>> {
    use order::CancelReason as Wire;
    let known = match Wire::try_from(reason) {
        Ok(Wire::Unspecified) => return None,
        Ok(Wire::Requested) => Some(CancelReason::Requested),
        Ok(Wire::OutOfStock) => Some(CancelReason::OutOfStock),
        Ok(Wire::StockTimeout) => Some(CancelReason::StockTimeout),
        Ok(Wire::PaymentDeclined) => Some(CancelReason::PaymentDeclined),
        Ok(Wire::PaymentFailed) => Some(CancelReason::PaymentFailed),
        Ok(Wire::PaymentTimeout) => Some(CancelReason::PaymentTimeout),
        Ok(Wire::StockLost) => Some(CancelReason::StockLost),
        Ok(Wire::CaptureFailed) => Some(CancelReason::CaptureFailed),
        Ok(Wire::StockShort) => Some(CancelReason::StockShort),
        Err(_) => None,
    };
    Some(Open::read(reason, known))
}

/// The orders in sums.
pub(crate) fn order_totals(totals: order::Totals) -> Result<OrderTotals, ViewError> {
    let group = |group: order::TotalsGroup| {
        Ok::<_, ViewError>(OrderGroup {
            status: status(group.status),
            payment_status: payment_status(group.payment_status),
            fulfilment_status: fulfilment_status(group.fulfilment_status),
            reason: reason(group.reason),
            orders: group.orders,
            total: Money::parse(group.total.as_ref())?,
        })
    };
    Ok(OrderTotals { groups: totals.groups.into_iter().map(group).collect::<Result<_, _>>()? })
}

/// The stock in sums.
pub(crate) fn stock_totals(totals: inventory::Totals) -> StockTotals {
    let inventory::Totals { on_hand, held, allocated, skus, oversold_skus } = totals;
    StockTotals { on_hand, held, allocated, skus, oversold_skus }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_status_and_reason_is_shown_under_its_name() {
        for number in 1..=4 {
            let wire = order::OrderStatus::try_from(number).expect("is one").as_str_name();
            let shown = status(number).to_string().to_uppercase();
            assert_eq!(wire, format!("ORDER_STATUS_{shown}"));
        }
        for number in 1..=7 {
            let wire = order::PaymentStatus::try_from(number).expect("is one").as_str_name();
            let shown = payment_status(number).to_string().to_uppercase();
            assert_eq!(wire, format!("PAYMENT_STATUS_{shown}"));
        }
        for number in 1..=5 {
            let wire = order::FulfilmentStatus::try_from(number).expect("is one").as_str_name();
            let shown = fulfilment_status(number).to_string().to_uppercase();
            assert_eq!(wire, format!("FULFILMENT_STATUS_{shown}"));
        }
        for number in 1..=9 {
            let wire = order::CancelReason::try_from(number).expect("is one").as_str_name();
            let shown = reason(number).expect("is given").to_string().to_uppercase();
            assert_eq!(wire, format!("CANCEL_REASON_{shown}"));
        }
        assert_eq!(reason(0), None);
    }

    #[test]
    fn a_value_of_a_later_version_is_shown_by_its_number() {
        let mut order = cancelled_order();
        let summary = order.summary.as_mut().expect("is there");
        (summary.status, summary.payment_status, summary.fulfilment_status) = (97, 98, 99);
        order.tax_basis = 96;
        order.cancellation.as_mut().expect("is there").reason = 95;
        let shown = serde_json::to_value(super::order(order).expect("is shown")).expect("is JSON");
        assert_eq!(shown["status"], "97");
        assert_eq!(shown["payment_status"], "98");
        assert_eq!(shown["fulfilment_status"], "99");
        assert_eq!(shown["tax_basis"], "96");
        assert_eq!(shown["cancellation"]["reason"], "95");
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is in the fields of messages")]
    fn gbp(minor: i64) -> Option<proto::Money> {
        Some(proto::Money { minor, currency: "GBP".into() })
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is in the fields of messages")]
    fn excluding_tax(minor: i64) -> Option<proto::Price> {
        let tax_basis = proto::TaxBasis::Excluded.into();
        Some(proto::Price { money: gbp(minor), tax_basis })
    }

    fn cancelled_order() -> order::Order {
        let id = "018f0000-0000-7000-8000-000000000001";
        let failure = order::PaymentFailed { code: Some("declined".into()), ..Default::default() };
        let action =
            order::ActionRequired { url: Some("https://3ds".into()), ..Default::default() };
        let shortage = order::Shortage { sku: "A".into(), requested: 2, available: 1 };
        order::Order {
            order_id: id.into(),
            summary: Some(order::Summary {
                number: 7,
                reference: Some("PO 1".into()),
                customer_id: None,
                total: gbp(690),
                status: order::OrderStatus::Cancelled.into(),
                payment_status: order::PaymentStatus::ActionRequired.into(),
                fulfilment_status: order::FulfilmentStatus::Unfulfilled.into(),
            }),
            tax_basis: proto::TaxBasis::Excluded.into(),
            lines: vec![order::Line {
                line_id: "a".into(),
                sku: "A".into(),
                title: "Mug".into(),
                quantity: 2,
                unit_price: excluding_tax(250),
                discounts: vec![order::Discount { code: "SUMMER".into(), amount: gbp(50) }],
                tax: Some(order::Tax { rate_ppm: 200_000, amount: gbp(90) }),
            }],
            charges: vec![order::Charge {
                code: "POST".into(),
                price: excluding_tax(150),
                tax: None,
            }],
            payments: vec![
                order::OrderPayment {
                    payment_id: format!("{id}-1"),
                    status: order::PaymentStatus::Failed.into(),
                    failure: Some(failure),
                    ..Default::default()
                },
                order::OrderPayment {
                    payment_id: format!("{id}-2"),
                    status: order::PaymentStatus::ActionRequired.into(),
                    action: Some(action),
                    ..Default::default()
                },
            ],
            hold: Some(order::PutOnHold {
                reason: order::HoldReason::StockShort.into(),
                sku: "A".into(),
                location: "main".into(),
            }),
            cancellation: Some(order::Cancellation {
                reason: order::CancelReason::OutOfStock.into(),
                detail: None,
                shortages: vec![shortage],
                note: None,
            }),
            placed_at: Some(Timestamp::from_millis(1).into()),
            updated_at: Some(Timestamp::from_millis(2).into()),
            version: 2,
            ..Default::default()
        }
    }

    #[test]
    fn an_order_is_shown_with_all_that_is_known_of_it() {
        let wire = cancelled_order();
        let shown = serde_json::to_value(order(wire.clone()).expect("is shown"));
        assert_eq!(
            shown.expect("is JSON"),
            json!({
                "id": "018f0000-0000-7000-8000-000000000001",
                "number": 7,
                "reference": "PO 1",
                "status": "cancelled",
                "payment_status": "action_required",
                "fulfilment_status": "unfulfilled",
                "tax_basis": "excluded",
                "lines": [{
                    "line_id": "a", "sku": "A", "title": "Mug", "quantity": 2, "unit_price": 250,
                    "discounts": [{"code": "SUMMER", "amount": 50}],
                    "tax": {"rate_ppm": 200_000, "amount": 90},
                    "held": 0, "shipped": 0, "cancelled": 0,
                }],
                "charges": [{"code": "POST", "amount": 150}],
                "total": 690,
                "currency": "GBP",
                "payments": [
                    {"id": "018f0000-0000-7000-8000-000000000001-1", "status": "failed",
                     "captured": 0, "refunded": 0, "failure": {"code": "declined"}},
                    {"id": "018f0000-0000-7000-8000-000000000001-2", "status": "action_required",
                     "captured": 0, "refunded": 0, "action": {"url": "https://3ds"}},
                ],
                "hold": {"reason": "stock_short", "sku": "A", "location": "main"},
                "cancellation": {
                    "reason": "out_of_stock",
                    "shortages": [{"sku": "A", "requested": 2, "available": 1}],
                },
                "placed_at": "1970-01-01T00:00:00.001Z",
                "updated_at": "1970-01-01T00:00:00.002Z",
                "version": 2,
            })
        );
        let units = vec![order::LineUnits { held: 1, shipped: 2, cancelled: 3 }];
        let shown = order(order::Order { units, ..wire.clone() }).expect("is shown");
        let line = &shown.lines[0];
        assert_eq!((line.held, line.shipped, line.cancelled), (1, 2, 3));
        let mut unknown = wire;
        unknown.summary.as_mut().expect("is there").status = 99;
        let shown = order(unknown).expect("is shown by its number");
        assert_eq!(shown.status.to_string(), "99");
    }
}
