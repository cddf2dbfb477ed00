//! Commands.

use engine::WireError;
use events::{
    id::{CustomerId, LineId, OrderId, Quantity, Reference, Sku},
    money::{Currency, MAX_UNIT_PRICE, Money, TaxBasis},
    names,
    proto::{self, command::Body as Command, order},
    sealed::Sealed,
};
use prost::Message;
use protocol::id::ParseError;

use super::{lines, parsed, text};
use crate::domain::{Charge, Discount, Input, Request, RequestedLine};

pub(super) fn decode(payload: &[u8]) -> Result<Input, WireError> {
    match proto::Command::decode(payload)?.body.ok_or(WireError::Missing("body"))? {
        Command::PlaceOrder(order) => Ok(Input::Place(request(order)?)),
        Command::CancelOrder(order) => {
            let (order_id, note) = (OrderId::parse(&order.order_id)?, Sealed::parse(order.note)?);
            Ok(Input::Cancel { order_id, note })
        }
        Command::StartPayment(payment) => Ok(Input::StartPayment {
            order_id: OrderId::parse(&payment.order_id)?,
            payment_method: text(&payment.payment_method),
        }),
        Command::ReleaseOrder(order) => {
            let (order_id, note) = (OrderId::parse(&order.order_id)?, Sealed::parse(order.note)?);
            Ok(Input::Release { order_id, note })
        }
        other => Err(WireError::Unexpected(names::command_name(&other).1)),
    }
}

fn request(order: order::PlaceOrder) -> Result<Request, WireError> {
    let charge = |it| lines::charge(it).map(|it| Charge { code: text(&it.code), ..it });
    let reference = parsed(order.reference(), Reference::parse)?;
    let customer_id = parsed(order.customer_id(), CustomerId::parse)?;
    let (country, billing_country) = (text(order.country()), text(order.billing_country()));
    let currency = Currency::parse(&order.currency)?;
    let expected_total = order.expected_total.as_ref().map(|it| amount_in(currency, Some(it)));
    let lines = order.lines.into_iter().enumerate();
    let line = |(index, line)| requested_line(index, line, currency);
    Ok(Request {
        order_id: OrderId::parse(&order.order_id)?,
        reference,
        customer_id,
        country,
        billing_country,
        currency,
        tax_basis: TaxBasis::parse(order.tax_basis)?,
        lines: lines.map(line).collect::<Result<_, _>>()?,
        charges: order.charges.into_iter().map(charge).collect::<Result<_, _>>()?,
        payment_method: text(&order.payment_method),
        expected_total: expected_total.transpose()?,
        personal: Sealed::parse(order.personal)?,
    })
}

/// An amount of an order, which has one currency.
fn amount_in(currency: Currency, amount: Option<&proto::Money>) -> Result<i64, ParseError> {
    let amount = Money::parse(amount)?;
    if amount.currency != currency {
        let rule = "must be that of the order";
        return Err(ParseError::new("currency", rule, amount.currency.as_str()));
    }
    Ok(amount.minor)
}

fn requested_line(
    index: usize,
    line: order::RequestedLine,
    currency: Currency,
) -> Result<RequestedLine, ParseError> {
    let unit_price =
        line.unit_price.map(|price| match amount_in(currency, price.money.as_ref())? {
            minor @ 0..=MAX_UNIT_PRICE => Ok(minor),
            other => {
                Err(ParseError::new("unit_price", "must be 0 to 1000000000000", &other.to_string()))
            }
        });
    let discount = |it| lines::discount(it).map(|it| Discount { code: text(&it.code), ..it });
    Ok(RequestedLine {
        line_id: parsed(&line.line_id, LineId::parse)?.unwrap_or_else(|| LineId::numbered(index)),
        sku: Sku::parse(&line.sku)?,
        quantity: Quantity::parse(line.quantity)?,
        unit_price: unit_price.transpose()?,
        discounts: line.discounts.into_iter().map(discount).collect::<Result<_, _>>()?,
        tax: line.tax.as_ref().map(lines::tax).transpose()?,
    })
}
