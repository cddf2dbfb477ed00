//! What the services answer, as the JSON of the API.

use events::{
    http::{
        CancelReason, Cancellation, Charge, LevelView, LocationView, MovementView, OrderGroup,
        OrderLine, OrderStatus, OrderTotals, OrderView, PaymentTotals, PaymentView, PriceView,
        ProductView, Shortage, StepView, StockTotals, StockView, TransactionView,
    },
    id::{CustomerId, Location, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Money, TaxBasis},
    proto::{self, catalog, inventory, order, payment},
};
use protocol::{id::ParseError, time::Timestamp};

use crate::problem::Problem;

/// An answer that this version of the gateway cannot show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer of a service cannot be shown")]
pub(crate) struct ViewError(#[from] ParseError);

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        Self::internal(&error)
    }
}

fn unknown(what: &'static str, value: i32) -> ViewError {
    ViewError(ParseError::new(what, "must be one that this version knows", &value.to_string()))
}

/// A product.
pub(crate) fn product(stored: catalog::StoredProduct) -> Result<ProductView, ViewError> {
    let catalog::Product { sku, title, price, active } = stored.product.unwrap_or_default();
    let price = price.unwrap_or_default();
    let (sku, money) = (Sku::parse(&sku)?, Money::parse(price.money.as_ref())?);
    let price = PriceView { money, tax_basis: TaxBasis::parse(price.tax_basis)? };
    Ok(ProductView { sku, title, price, active, version: stored.version })
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
        available: sum(|level| if level.fulfils_online { level.available } else { 0 }),
        locations: levels.iter().map(level).collect::<Result<_, _>>()?,
    })
}

/// What changed the units on hand.
pub(crate) fn movement(movement: inventory::Movement) -> Result<MovementView, ViewError> {
    use inventory::movement::Change;
    let inventory::Movement { version, document, change, moved, on_hand } = movement;
    let document = document.unwrap_or_default();
    let (kind, order_id) = match change {
        Some(Change::Count(_)) => ("count", None),
        Some(Change::Adjustment(_)) => ("adjustment", None),
        Some(Change::GoodsIssue(issue)) => ("goods_issue", Some(OrderId::parse(&issue.order_id)?)),
        None => ("other", None),
    };
    Ok(MovementView {
        version,
        kind: kind.to_owned(),
        moved,
        on_hand,
        order_id,
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

/// An order.
pub(crate) fn order(order: order::Order) -> Result<OrderView, ViewError> {
    let Money { minor, currency } = Money::parse(order.total.as_ref())?;
    Ok(OrderView {
        id: OrderId::parse(&order.order_id)?,
        reference: order.reference.as_deref().map(Reference::parse).transpose()?,
        status: status(order.status)?,
        customer_id: order.customer_id.as_deref().map(CustomerId::parse).transpose()?,
        country: order.country,
        lines: order.lines.iter().map(line).collect::<Result<_, _>>()?,
        charges: order.charges.into_iter().map(charge).collect(),
        total: minor,
        currency,
        cancellation: order.cancellation.map(cancellation).transpose()?,
        placed_at: Timestamp::parse(order.placed_at.as_ref())?,
        updated_at: Timestamp::parse(order.updated_at.as_ref())?,
        version: order.version,
    })
}

fn line(line: &order::Line) -> Result<OrderLine, ViewError> {
    let (sku, quantity) = (Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?);
    Ok(OrderLine { sku, quantity, unit_price: line.unit_price })
}

/// A charge.
pub(crate) fn charge(charge: order::Charge) -> Charge {
    Charge { code: charge.code, amount: charge.amount }
}

fn cancellation(cancelled: order::Cancelled) -> Result<Cancellation, ViewError> {
    let shortage = |it: order::Shortage| {
        let sku = Sku::parse(&it.sku)?;
        Ok::<_, ViewError>(Shortage { sku, requested: it.requested, available: it.available })
    };
    Ok(Cancellation {
        reason: reason(cancelled.reason)?.ok_or_else(|| unknown("reason", cancelled.reason))?,
        detail: cancelled.detail,
        shortages: cancelled.shortages.into_iter().map(shortage).collect::<Result<_, _>>()?,
    })
}

/// The events of an order.
pub(crate) fn history(history: order::History) -> Result<Vec<StepView>, ViewError> {
    let step = |step: order::Step| {
        let cause = step.cause.unwrap_or_default();
        Ok(StepView {
            version: step.version,
            event: step.event,
            time: Timestamp::parse(step.time.as_ref())?,
            cause: cause.kind,
            cause_id: cause.id,
        })
    };
    history.steps.into_iter().map(step).collect()
}

/// The status of an order.
pub(crate) fn status(status: i32) -> Result<OrderStatus, ViewError> {
    use order::OrderStatus as Wire;
    match Wire::try_from(status) {
        Ok(Wire::Placed) => Ok(OrderStatus::Placed),
        Ok(Wire::PaymentDue) => Ok(OrderStatus::PaymentDue),
        Ok(Wire::Authorized) => Ok(OrderStatus::Authorized),
        Ok(Wire::Confirmed) => Ok(OrderStatus::Confirmed),
        Ok(Wire::Paid) => Ok(OrderStatus::Paid),
        Ok(Wire::Cancelled) => Ok(OrderStatus::Cancelled),
        Ok(Wire::Unspecified) | Err(_) => Err(unknown("status", status)),
    }
}

/// Why an order is cancelled; `None` when no reason is given.
fn reason(reason: i32) -> Result<Option<CancelReason>, ViewError> {
    use order::CancelReason as Wire;
    match Wire::try_from(reason) {
        Ok(Wire::Unspecified) => Ok(None),
        Ok(Wire::Requested) => Ok(Some(CancelReason::Requested)),
        Ok(Wire::OutOfStock) => Ok(Some(CancelReason::OutOfStock)),
        Ok(Wire::StockTimeout) => Ok(Some(CancelReason::StockTimeout)),
        Ok(Wire::PaymentDeclined) => Ok(Some(CancelReason::PaymentDeclined)),
        Ok(Wire::PaymentFailed) => Ok(Some(CancelReason::PaymentFailed)),
        Ok(Wire::PaymentTimeout) => Ok(Some(CancelReason::PaymentTimeout)),
        Ok(Wire::StockLost) => Ok(Some(CancelReason::StockLost)),
        Ok(Wire::CaptureFailed) => Ok(Some(CancelReason::CaptureFailed)),
        Err(_) => Err(unknown("reason", reason)),
    }
}

/// The orders in sums.
pub(crate) fn order_totals(totals: order::Totals) -> Result<OrderTotals, ViewError> {
    let group = |group: order::TotalsGroup| {
        let (status, reason) = (status(group.status)?, reason(group.reason)?);
        Ok::<_, ViewError>(OrderGroup { status, reason, orders: group.orders, total: group.total })
    };
    Ok(OrderTotals { groups: totals.groups.into_iter().map(group).collect::<Result<_, _>>()? })
}

/// A payment.
pub(crate) fn payment(payment: payment::Payment) -> Result<PaymentView, ViewError> {
    let amount = Money::parse(payment.amount.as_ref())?;
    let minor = |money: Option<&proto::Money>| money.map_or(0, |money| money.minor);
    let stuck = payment.stuck_reason();
    Ok(PaymentView {
        id: PaymentId::parse(&payment.payment_id)?,
        order_id: OrderId::parse(&payment.order_id)?,
        status: name(payment.status().as_str_name(), "PAYMENT_STATUS_", payment.status),
        amount: amount.minor,
        currency: amount.currency,
        authorized: minor(payment.authorized.as_ref()),
        captured: minor(payment.captured.as_ref()),
        refunded: minor(payment.refunded.as_ref()),
        stuck: (stuck != payment::StuckReason::Unspecified)
            .then(|| name(stuck.as_str_name(), "STUCK_REASON_", payment.stuck_reason)),
        provider: payment.provider,
        provider_reference: payment.provider_reference,
        transactions: payment
            .transactions
            .into_iter()
            .map(transaction)
            .collect::<Result<_, _>>()?,
        version: payment.version,
    })
}

fn transaction(transaction: payment::Transaction) -> Result<TransactionView, ViewError> {
    let (kind, status) = (transaction.kind(), transaction.status());
    Ok(TransactionView {
        kind: name(kind.as_str_name(), "TRANSACTION_KIND_", transaction.kind),
        amount: transaction.amount.as_ref().map_or(0, |amount| amount.minor),
        status: name(status.as_str_name(), "TRANSACTION_STATUS_", transaction.status),
        operation_id: transaction.operation_id,
        detail: transaction.detail,
        time: Timestamp::parse(transaction.time.as_ref())?,
    })
}

/// A value of an enumeration by its name; one that a newer version has added by its number.
fn name(name: &str, prefix: &str, number: i32) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => number.to_string(),
        Some(name) => name.to_lowercase(),
    }
}

/// The money in sums.
pub(crate) fn payment_totals(totals: payment::Totals) -> PaymentTotals {
    PaymentTotals {
        captured: totals.captured,
        refunded: totals.refunded,
        authorized: totals.authorized,
        pending: totals.pending,
        stuck: totals.stuck,
        provider_net: totals.provider_net,
        provider_held: totals.provider_held,
    }
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
        for number in 1..=6 {
            let wire = order::OrderStatus::try_from(number).expect("is one").as_str_name();
            let shown = status(number).expect("is known").as_str().to_uppercase();
            assert_eq!(wire, format!("ORDER_STATUS_{shown}"));
        }
        for number in 1..=8 {
            let wire = order::CancelReason::try_from(number).expect("is one").as_str_name();
            let shown = reason(number).expect("is known").expect("is given");
            assert_eq!(wire, format!("CANCEL_REASON_{}", shown.as_str().to_uppercase()));
        }
        assert_eq!(reason(0), Ok(None));
        assert!(status(0).is_err() && status(99).is_err() && reason(99).is_err());
    }

    #[test]
    fn an_order_is_shown_with_why_it_is_cancelled() {
        let shortage = order::Shortage { sku: "A".into(), requested: 2, available: 1 };
        let wire = order::Order {
            order_id: "018f0000-0000-7000-8000-000000000001".into(),
            reference: Some("PO 1".into()),
            status: order::OrderStatus::Cancelled.into(),
            lines: vec![order::Line { sku: "A".into(), quantity: 2, unit_price: 250 }],
            charges: vec![order::Charge { code: "POST".into(), amount: 100 }],
            total: Some(events::proto::Money { minor: 600, currency: "GBP".into() }),
            cancellation: Some(order::Cancelled {
                reason: order::CancelReason::OutOfStock.into(),
                detail: String::new(),
                shortages: vec![shortage],
            }),
            placed_at: Some(Timestamp::from_millis(1).into()),
            updated_at: Some(Timestamp::from_millis(2).into()),
            version: 2,
            ..Default::default()
        };
        let shown = serde_json::to_value(order(wire.clone()).expect("is shown"));
        assert_eq!(
            shown.expect("is JSON"),
            json!({
                "id": "018f0000-0000-7000-8000-000000000001",
                "reference": "PO 1",
                "status": "cancelled",
                "lines": [{"sku": "A", "quantity": 2, "unit_price": 250}],
                "charges": [{"code": "POST", "amount": 100}],
                "total": 600,
                "currency": "GBP",
                "cancellation": {
                    "reason": "out_of_stock",
                    "shortages": [{"sku": "A", "requested": 2, "available": 1}],
                },
                "placed_at": "1970-01-01T00:00:00.001Z",
                "updated_at": "1970-01-01T00:00:00.002Z",
                "version": 2,
            })
        );
        assert!(order(order::Order { status: 99, ..wire }).is_err());
    }
}
