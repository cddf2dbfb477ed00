//! Questions, and what they find.

use engine::WireError;
use events::{
    id::{OrderId, Reference},
    proto::order::{self, order_question::Question as Asked},
};
use prost::Message;
use protocol::proto::Cause;

use super::{cancellation_to_wire, charge_to_wire, line_to_wire, reason_to_wire, status_to_wire};
use crate::{
    query::{Found, FoundOrder, Group, Question},
    store::{Order, OrderContent, Step},
};

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = order::OrderQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetOrder(get) => Question::Order(OrderId::parse(&get.order_id)?),
        Asked::GetOrderByReference(get) => Question::ByReference(Reference::parse(&get.reference)?),
        Asked::GetHistory(get) => Question::History(OrderId::parse(&get.order_id)?),
        Asked::GetTotals(order::GetTotals {}) => Question::Totals,
    })
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Order(found) => encode_order(*found).encode_to_vec(),
        Found::History(steps) => {
            let steps =
                (1..).zip(steps).map(|(version, step)| encode_step(version, step)).collect();
            order::History { steps }.encode_to_vec()
        }
        Found::Totals(groups) => {
            order::Totals { groups: groups.iter().map(encode_group).collect() }.encode_to_vec()
        }
    }
}

fn encode_order(found: FoundOrder) -> order::Order {
    let FoundOrder { id, order, content, cancellation } = found;
    let Order { status, version, total, placed_at, updated_at, .. } = order;
    let OrderContent { reference, customer_id, country, lines, charges } = content;
    order::Order {
        order_id: id.to_string(),
        reference: reference.map(String::from),
        status: status_to_wire(status).into(),
        customer_id: customer_id.map(String::from),
        country,
        lines: lines.iter().map(line_to_wire).collect(),
        charges: charges.iter().map(charge_to_wire).collect(),
        total: Some(total.into()),
        cancellation: cancellation.as_ref().map(cancellation_to_wire),
        placed_at: Some(placed_at.into()),
        updated_at: Some(updated_at.into()),
        version,
    }
}

fn encode_step(version: u64, step: Step) -> order::Step {
    let Step(event, millis, kind, id) = step;
    order::Step {
        version,
        event: event.as_str().to_owned(),
        time: Some(protocol::time::Timestamp::from_millis(millis).into()),
        cause: Some(Cause { id, kind, ..Default::default() }),
    }
}

fn encode_group(group: &Group) -> order::TotalsGroup {
    order::TotalsGroup {
        status: status_to_wire(group.status).into(),
        reason: group.reason.map_or(order::CancelReason::Unspecified, reason_to_wire).into(),
        orders: group.orders,
        total: group.total,
    }
}
