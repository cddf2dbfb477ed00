//! Questions, and what they find.

use engine::WireError;
use events::{
    id::{CustomerId, OrderId, PaymentId, Reference, Sku},
    proto::{
        TaxBasis,
        order::{self, order_question::Question as Asked},
    },
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use super::{
    facts, fulfilment_status, fulfilment_status_to_wire, given,
    lines::{self, Terms},
    parsed, payment_status, payment_status_to_wire, reason_to_wire, status, status_to_wire,
};
use crate::{
    domain::{
        Cancellation, Statuses, Summary,
        rows::{Order, OrderContent, OrderPayment},
    },
    query::{Found, FoundOrder, Group, LineUnits, Question},
    store::{ListedOrder, OrderFilter, OrderList, OrderPage, OrderPlace, PageStart},
};

/// The most orders of one answer.
const MAX_ORDERS: u32 = 1_000;

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = order::OrderQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetOrder(get) => Question::Order(OrderId::parse(&get.order_id)?),
        Asked::GetTotals(order::GetTotals {}) => Question::Totals,
        Asked::ListOrders(list) => Question::Orders(page(&list)?),
    })
}

fn page(list: &order::ListOrders) -> Result<OrderPage, ParseError> {
    let text = parsed(&list.text, Reference::parse)?;
    let placed_at = list.after.as_ref().and_then(|place| place.placed_at.as_ref());
    let number = list.after.map_or(0, |place| place.number);
    let place = |placed_at| OrderPlace { placed_at, number };
    let from = PageStart {
        after: Timestamp::parse_optional(placed_at)?.map(place),
        by_part: text.is_some() && list.after.is_some_and(|place| place.by_part),
    };
    Ok(OrderPage {
        filter: OrderFilter {
            status: wanted(list.status, status)?,
            payment_status: wanted(list.payment_status, payment_status)?,
            fulfilment_status: wanted(list.fulfilment_status, fulfilment_status)?,
            customer_id: parsed(&list.customer_id, CustomerId::parse)?,
            sku: parsed(&list.sku, Sku::parse)?,
            reference: parsed(&list.reference, Reference::parse)?,
            text,
            on_hold: list.on_hold,
            placed_from: Timestamp::parse_optional(list.placed_from.as_ref())?,
            placed_until: Timestamp::parse_optional(list.placed_until.as_ref())?,
        },
        oldest_first: list.oldest_first,
        from,
        limit: list.limit.clamp(1, MAX_ORDERS),
    })
}

/// A value that is 0 when it is not given.
fn wanted<T>(value: i32, read: fn(i32) -> Result<T, ParseError>) -> Result<Option<T>, ParseError> {
    if value == 0 { Ok(None) } else { read(value).map(Some) }
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Order(found) => encode_order(*found).encode_to_vec(),
        Found::Totals(groups) => {
            order::Totals { groups: groups.iter().map(encode_group).collect() }.encode_to_vec()
        }
        Found::Orders(OrderList { orders, next }) => {
            let orders = orders.into_iter().map(encode_listed).collect();
            order::ListedOrders { orders, next: next.map(encode_start) }.encode_to_vec()
        }
    }
}

fn encode_start(start: PageStart) -> order::OrderPlace {
    let PageStart { after, by_part } = start;
    order::OrderPlace {
        placed_at: after.map(|place| place.placed_at.into()),
        number: after.map_or(0, |place| place.number),
        by_part,
    }
}

fn encode_listed(listed: ListedOrder) -> order::ListedOrder {
    let ListedOrder { id, order, reference, customer_id } = listed;
    let Order { statuses, number, total, revision, hold, placed_at, updated_at, .. } = order;
    let summary = Summary { number, reference, customer_id, total, statuses };
    order::ListedOrder {
        order_id: id.to_string(),
        summary: Some(facts::summary_to_wire(&summary)),
        on_hold: hold.is_some(),
        placed_at: Some(placed_at.into()),
        updated_at: Some(updated_at.into()),
        version: revision.version,
        position: revision.position,
    }
}

fn encode_order(found: FoundOrder) -> order::Order {
    let units = found.units().into_iter().map(encode_units).collect();
    let FoundOrder { id, order, content, shipped: _, cancellation, personal } = found;
    let Order { statuses, revision, total, payments, hold, placed_at, updated_at, .. } = order;
    let OrderContent { number, reference, customer_id, tax_basis, lines, charges, .. } = content;
    let terms = Terms { currency: total.currency, basis: tax_basis };
    let payment_id = |number| PaymentId { order_id: id, number }.to_string();
    let payments = (1..).zip(&payments);
    let summary = Summary { number, reference, customer_id, total, statuses };
    order::Order {
        order_id: id.to_string(),
        summary: Some(facts::summary_to_wire(&summary)),
        country: given(&content.country),
        billing_country: given(&content.billing_country),
        tax_basis: TaxBasis::from(tax_basis).into(),
        lines: lines::lines_to_wire(&lines, terms),
        units,
        charges: lines::charges_to_wire(&charges, terms),
        payments: payments.map(|(number, it)| encode_payment(payment_id(number), it)).collect(),
        hold: hold.as_ref().map(facts::hold_to_wire),
        cancellation: cancellation.as_ref().map(encode_cancellation),
        placed_at: Some(placed_at.into()),
        updated_at: Some(updated_at.into()),
        version: revision.version,
        personal: personal.map(Into::into),
    }
}

fn encode_units(units: LineUnits) -> order::LineUnits {
    let LineUnits { held, shipped, cancelled } = units;
    order::LineUnits { held, shipped, cancelled }
}

fn encode_payment(payment_id: String, payment: &OrderPayment) -> order::OrderPayment {
    let OrderPayment { status, captured, refunded, failure, action } = payment;
    let failure = failure.as_ref().map(|it| facts::payment_failed(payment_id.clone(), it, None));
    let action = action.as_ref().map(|it| facts::action_required(payment_id.clone(), it));
    order::OrderPayment {
        payment_id,
        status: payment_status_to_wire(*status).into(),
        captured: *captured,
        refunded: *refunded,
        failure,
        action,
    }
}

fn encode_cancellation(cancellation: &Cancellation) -> order::Cancellation {
    order::Cancellation {
        reason: reason_to_wire(cancellation.reason).into(),
        detail: given(&cancellation.detail),
        shortages: cancellation.shortages.iter().map(facts::shortage_to_wire).collect(),
        note: cancellation.note.clone().map(Into::into),
    }
}

fn encode_group(group: &Group) -> order::TotalsGroup {
    let Statuses(status, payment_status, fulfilment_status) = group.statuses;
    order::TotalsGroup {
        status: status_to_wire(status).into(),
        payment_status: payment_status_to_wire(payment_status).into(),
        fulfilment_status: fulfilment_status_to_wire(fulfilment_status).into(),
        reason: group.reason.map_or(order::CancelReason::Unspecified, reason_to_wire).into(),
        orders: group.orders,
        total: Some(group.total.into()),
    }
}
