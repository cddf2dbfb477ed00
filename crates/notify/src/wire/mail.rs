//! What a mail says of an event, its order and its customer.

use engine::WireError;
use events::{
    id::OrderId,
    money::Money,
    names::event_name,
    proto::{
        self,
        event::Body,
        order::{self, Address, PersonalData, order_event::Kind},
    },
    questions::Question as _,
    sealed::personal_context,
};
use mail::{Cancellation, Context, Customer, Line, Order, Refund};
use person_keys::Sealed;
use prost::Message;
use protocol::time::Timestamp;

/// How the reasons of a cancellation begin in the contract.
const REASON_PREFIX: &str = "CANCEL_REASON_";

/// An event of an order of which a mail is sent.
#[derive(Debug)]
pub(crate) struct MailEvent {
    /// Its id.
    pub(crate) id: String,
    /// Its type.
    pub(crate) event_type: String,
    /// Its sequence in the log of orders.
    pub(crate) position: u64,
    /// When it was decided.
    pub(crate) time: Timestamp,
    /// The trace that it belongs to.
    pub(crate) traceparent: String,
    order_id: OrderId,
    kind: Kind,
}

/// An order as it is.
pub(crate) struct MailOrder(order::Order);

/// Whom a mail is sent to.
pub(crate) struct Recipient {
    /// The address; empty when the customer gave none.
    pub(crate) address: String,
    name: String,
}

impl MailEvent {
    /// Reads an event of the log of orders.
    pub(crate) fn read(event: &[u8]) -> Result<Self, WireError> {
        let event = proto::Event::decode(event)?;
        let body = event.body.ok_or(WireError::Missing("body"))?;
        let name = event_name(&body).ok_or(WireError::Missing("kind"))?;
        let Body::Order(order::OrderEvent { kind: Some(kind), .. }) = body else {
            return Err(WireError::Unexpected(name));
        };
        Ok(Self {
            id: event.id,
            event_type: format!("{}.{name}", order::GetOrder::SERVICE),
            position: event.position,
            time: Timestamp::parse(event.time.as_ref())?,
            traceparent: event.traceparent,
            order_id: OrderId::parse(&event.aggregate_id)?,
            kind,
        })
    }

    /// The question for its order, and the service that answers it.
    pub(crate) fn question(&self) -> (&'static str, Vec<u8>) {
        let question = order::GetOrder { order_id: self.order_id.to_string() };
        (order::GetOrder::SERVICE, question.encode())
    }

    /// What the personal data of its order is bound to.
    pub(crate) fn sealing_context(&self) -> String {
        personal_context(self.order_id)
    }

    /// What a template can show.
    pub(crate) fn context(&self, order: &MailOrder, recipient: &Recipient) -> Context {
        let MailOrder(order) = order;
        let summary = order.summary.clone().unwrap_or_default();
        let mut context = Context {
            order: Order {
                id: self.order_id.to_string(),
                number: summary.number,
                reference: summary.reference.unwrap_or_default(),
                total: amount(summary.total.as_ref()),
                lines: order.lines.iter().map(|it| line(it, it.quantity)).collect(),
            },
            customer: Customer { name: recipient.name.clone() },
            ..Context::default()
        };
        match &self.kind {
            Kind::Shipped(shipped) => {
                let lines = shipped.lines.iter().map(|it| {
                    let of = order.lines.iter().find(|line| line.line_id == it.line_id);
                    let of = of.map(|of| line(of, it.quantity));
                    of.unwrap_or_else(|| Line {
                        sku: it.sku.clone(),
                        title: it.sku.clone(),
                        quantity: it.quantity,
                        ..Line::default()
                    })
                });
                context.shipped = lines.collect();
            }
            Kind::Refunded(refunded) => {
                context.refund = Refund { amount: amount(refunded.amount.as_ref()) };
            }
            Kind::Cancelled(cancelled) => {
                let reason = cancelled.reason().as_str_name();
                let reason = reason.strip_prefix(REASON_PREFIX).unwrap_or(reason);
                context.cancellation = Cancellation { reason: reason.to_lowercase() };
            }
            // They show the order alone.
            Kind::Placed(_)
            | Kind::PaymentDue(_)
            | Kind::PaymentFailed(_)
            | Kind::ActionRequired(_)
            | Kind::Authorized(_)
            | Kind::Confirmed(_)
            | Kind::PartCaptured(_)
            | Kind::Paid(_)
            | Kind::Completed(_)
            | Kind::PutOnHold(_)
            | Kind::TakenOffHold(_) => {}
        }
        context
    }
}

impl MailOrder {
    /// Reads the answer to [`MailEvent::question`].
    pub(crate) fn read(found: &[u8]) -> Result<Self, WireError> {
        Ok(Self(order::Order::decode(found)?))
    }

    /// Its personal data, sealed; `None` when there is none.
    pub(crate) fn personal(&self) -> Option<Sealed> {
        let proto::Sealed { key_id, ciphertext } = self.0.personal.clone()?;
        Some(Sealed { key_id, ciphertext })
    }
}

impl Recipient {
    /// Reads the personal data of an order, opened.
    pub(crate) fn read(personal: &[u8]) -> Result<Self, WireError> {
        let PersonalData { email, shipping_address, billing_address, .. } =
            PersonalData::decode(personal)?;
        let name = |address: Option<Address>| {
            address.map(|address| address.name).filter(|name| !name.is_empty())
        };
        let name = name(shipping_address).or_else(|| name(billing_address));
        Ok(Self { address: email, name: name.unwrap_or_default() })
    }
}

fn line(of: &order::Line, quantity: i64) -> Line {
    let title = if of.title.is_empty() { &of.sku } else { &of.title };
    Line {
        sku: of.sku.clone(),
        title: title.clone(),
        quantity,
        unit_price: amount(of.unit_price.as_ref().and_then(|price| price.money.as_ref())),
    }
}

/// An amount as people write it, such as `9.50 GBP`; empty without one.
fn amount(money: Option<&proto::Money>) -> String {
    Money::parse(money).map(|money| money.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind) -> MailEvent {
        let body = order::OrderEvent { kind: Some(kind), summary: None };
        let event = proto::Event {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            aggregate_id: "01890a5d-ac96-774b-bcce-b302099a8001".to_owned(),
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            position: 81,
            body: Some(Body::Order(body)),
            ..Default::default()
        };
        MailEvent::read(&event.encode_to_vec()).expect("it reads")
    }

    fn order() -> MailOrder {
        let line = |id: &str, title: &str| order::Line {
            line_id: id.to_owned(),
            sku: format!("SKU-{id}"),
            title: title.to_owned(),
            quantity: 3,
            ..Default::default()
        };
        let lines = vec![line("1", "A mug"), line("2", "")];
        MailOrder(order::Order { lines, ..Default::default() })
    }

    #[test]
    fn what_has_shipped_is_named_as_it_was_sold() {
        let line = |id: &str, quantity| order::ShippedLine {
            line_id: id.to_owned(),
            sku: format!("SKU-{id}"),
            quantity,
        };
        let lines = vec![line("1", 2), line("2", 1), line("9", 4)];
        let shipped = event(Kind::Shipped(order::Shipped { lines, ..Default::default() }));
        assert_eq!((&*shipped.event_type, shipped.position), ("order.shipped", 81));
        let recipient = Recipient { address: String::new(), name: "Ann".to_owned() };
        let context = shipped.context(&order(), &recipient);
        let shown: Vec<_> =
            context.shipped.iter().map(|line| (&*line.title, line.quantity)).collect();
        assert_eq!(shown, [("A mug", 2), ("SKU-2", 1), ("SKU-9", 4)]);
        assert_eq!((&*context.customer.name, context.order.lines.len()), ("Ann", 2));
    }

    #[test]
    fn the_reason_of_a_cancellation_is_a_word_of_a_template() {
        let reason = order::CancelReason::OutOfStock.into();
        let cancelled = event(Kind::Cancelled(order::Cancelled { reason, ..Default::default() }));
        let recipient = Recipient { address: String::new(), name: String::new() };
        assert_eq!(cancelled.context(&order(), &recipient).cancellation.reason, "out_of_stock");
    }
}
