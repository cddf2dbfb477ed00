//! Events of inventory, payment and catalogue.

use engine::WireError;
use events::{
    id::{LineId, Location, OrderId, PaymentId, Sku},
    money::{Money, TaxBasis},
    proto::{
        self, catalog::catalog_event::Kind as Catalog, event::Body,
        inventory::inventory_event::Kind as Inventory, payment::payment_event::Kind as Payment,
        shop::shop_event::Kind as ShopKind,
    },
    shop::Settings,
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use super::{shortage, text, unexpected};
use crate::{
    domain::rows::Product,
    domain::{Action, Input, Shipment, ShippedUnits, Shortage, Signal},
};

/// The most bytes of a title that a line keeps: an order of the most lines still fits into an event.
const MAX_TITLE_BYTES: usize = 160;

pub(super) fn decode(payload: &[u8]) -> Result<Input, WireError> {
    let event = proto::EventFact::decode(payload)?;
    match event.body.ok_or(WireError::Missing("body"))? {
        Body::Inventory(fact) => stock(fact.kind.ok_or(WireError::Missing("kind"))?),
        Body::Payment(fact) => {
            let PaymentId { order_id, number } = PaymentId::parse(&event.aggregate_id)?;
            let signal = payment(number, fact.kind.ok_or(WireError::Missing("kind"))?)?;
            Ok(Input::Signal { order_id, signal })
        }
        Body::Catalog(fact) => product(fact.kind.ok_or(WireError::Missing("kind"))?),
        Body::ShopEvent(fact) => settings(fact.kind.ok_or(WireError::Missing("kind"))?),
        other => Err(unexpected(&other)),
    }
}

fn stock(kind: Inventory) -> Result<Input, WireError> {
    let (order_id, signal) = match kind {
        Inventory::Reserved(reserved) => {
            let held_until = Timestamp::parse(reserved.expires_at.as_ref())?;
            (reserved.order_id, Signal::Reserved { held_until })
        }
        Inventory::Refused(refused) => {
            let shortages = shortages(&refused.shortages)?;
            (refused.order_id, Signal::Refused { shortages })
        }
        Inventory::Allocated(allocated) => (allocated.order_id, Signal::Allocated),
        Inventory::Lost(lost) => {
            let shortages = shortages(&lost.shortages)?;
            (lost.order_id, Signal::Lost { shortages })
        }
        Inventory::Short(short) => {
            let order = |order: &proto::inventory::ShortOrder| {
                Ok::<_, ParseError>((OrderId::parse(&order.order_id)?, order.quantity))
            };
            return Ok(Input::Short {
                sku: Sku::parse(&short.sku)?,
                location: Location::parse(&short.location)?,
                // What the orders of the parts before it have is not missing for these.
                missing: short.missing - short.units_before,
                orders: short.orders.iter().map(order).collect::<Result<_, _>>()?,
            });
        }
        Inventory::Shipped(shipped) => {
            let units = ShippedUnits {
                // One that no line of an order can have names none.
                line_id: LineId::parse(&shipped.line_id).ok(),
                sku: Sku::parse(&shipped.sku)?,
                // What is in excess was not of this order, but for what its hold had until it ran out.
                quantity: shipped.from_allocation + shipped.from_expired,
                excess: shipped.excess - shipped.from_expired,
            };
            let occurred_at = shipped.document.as_ref().and_then(|it| it.occurred_at.as_ref());
            let occurred_at = Timestamp::parse_optional(occurred_at)?;
            return Ok(Input::Shipped(Shipment {
                order_id: OrderId::parse(&shipped.order_id)?,
                location: Location::parse(&shipped.location)?,
                units: vec![units],
                occurred_at,
            }));
        }
        Inventory::Counted(_) => return Err(WireError::Unexpected("inventory.counted")),
        Inventory::Adjusted(_) => return Err(WireError::Unexpected("inventory.adjusted")),
        Inventory::Released(_) => return Err(WireError::Unexpected("inventory.released")),
        Inventory::LocationCreated(_) => {
            return Err(WireError::Unexpected("inventory.location_created"));
        }
        Inventory::LocationChanged(_) => {
            return Err(WireError::Unexpected("inventory.location_changed"));
        }
        Inventory::LimitsChanged(_) => {
            return Err(WireError::Unexpected("inventory.limits_changed"));
        }
        Inventory::TransferSent(_) => {
            return Err(WireError::Unexpected("inventory.transfer_sent"));
        }
        Inventory::TransferReceived(_) => {
            return Err(WireError::Unexpected("inventory.transfer_received"));
        }
        Inventory::LinesRejected(_) => {
            return Err(WireError::Unexpected("inventory.lines_rejected"));
        }
        Inventory::LinesRepeated(_) => {
            return Err(WireError::Unexpected("inventory.lines_repeated"));
        }
        Inventory::RejectionsClosed(_) => {
            return Err(WireError::Unexpected("inventory.rejections_closed"));
        }
    };
    Ok(Input::Signal { order_id: OrderId::parse(&order_id)?, signal })
}

fn payment(payment: u32, kind: Payment) -> Result<Signal, WireError> {
    let unexpected = match kind {
        Payment::Authorized(_) => return Ok(Signal::Authorized { payment }),
        Payment::Declined(declined) => {
            return Ok(Signal::Declined { payment, code: text(&declined.code) });
        }
        Payment::Failed(failed) => {
            return Ok(Signal::Failed { payment, detail: text(&failed.detail) });
        }
        Payment::Captured(captured) => {
            let amount = Money::parse(captured.amount.as_ref())?;
            return Ok(Signal::Captured { payment, amount });
        }
        Payment::CaptureFailed(failed) => {
            return Ok(Signal::CaptureFailed { payment, code: text(&failed.code) });
        }
        Payment::Refunded(refunded) => {
            let amount = Money::parse(refunded.amount.as_ref())?;
            let refund_id = text(&refunded.refund_id);
            return Ok(Signal::Refunded { payment, refund_id, amount });
        }
        Payment::ActionRequired(required) => {
            let expires_at = required.expires_at.as_ref();
            let action = Action {
                url: text(&required.url),
                data: text(&required.data),
                expires_at: Timestamp::parse_optional(expires_at)?,
            };
            return Ok(Signal::ActionRequired { payment, action });
        }
        Payment::CaptureRequested(_) => "payment.capture_requested",
        Payment::RefundRequested(_) => "payment.refund_requested",
        Payment::AuthorizationPending(_) => "payment.authorization_pending",
        Payment::CapturePending(_) => "payment.capture_pending",
        Payment::VoidPending(_) => "payment.void_pending",
        Payment::Voided(_) => "payment.voided",
        Payment::RefundPending(_) => "payment.refund_pending",
        Payment::CancelRequested(_) => "payment.cancel_requested",
        Payment::Uncertain(_) => "payment.uncertain",
        Payment::Stuck(_) => "payment.stuck",
        Payment::SettledByOperator(_) => "payment.settled_by_operator",
        Payment::TurnedUp(_) => "payment.turned_up",
        Payment::ChargePending(_) => "payment.charge_pending",
    };
    Err(WireError::Unexpected(unexpected))
}

fn product(kind: Catalog) -> Result<Input, WireError> {
    let product = match kind {
        Catalog::Created(created) => created.product,
        Catalog::Updated(updated) => updated.after,
        Catalog::Archived(archived) => archived.after,
        Catalog::CategoryCreated(_)
        | Catalog::CategoryUpdated(_)
        | Catalog::CategoryMoved(_)
        | Catalog::CategoryDeleted(_)
        | Catalog::ListingCreated(_)
        | Catalog::ListingUpdated(_)
        | Catalog::ListingArchived(_) => {
            return Err(WireError::Unexpected("an event of a category or a listing"));
        }
    };
    let product = product.ok_or(WireError::Missing("product"))?;
    let price = product.price.ok_or(WireError::Missing("price"))?;
    let sku = Sku::parse(&product.sku)?;
    let product = Product {
        title: shortened(product.title),
        price: Money::parse(price.money.as_ref())?,
        tax_basis: TaxBasis::parse(price.tax_basis)?,
        active: product.active,
    };
    Ok(Input::ProductChanged { sku, product })
}

fn settings(kind: ShopKind) -> Result<Input, WireError> {
    let settings = match kind {
        ShopKind::Created(created) => created.settings,
        ShopKind::Changed(changed) => changed.after,
        ShopKind::Suspended(_) => return Err(WireError::Unexpected("shop.suspended")),
        ShopKind::Resumed(_) => return Err(WireError::Unexpected("shop.resumed")),
    };
    let settings = settings.ok_or(WireError::Missing("settings"))?;
    Ok(Input::SettingsChanged(Box::new(Settings::read(&settings)?)))
}

fn shortened(mut title: String) -> String {
    title.truncate(title.floor_char_boundary(MAX_TITLE_BYTES));
    title
}

fn shortages(shortages: &[proto::inventory::Shortage]) -> Result<Vec<Shortage>, ParseError> {
    shortages.iter().map(|it| shortage(&it.sku, it.requested, it.available)).collect()
}
