//! Where messages are published. A shop belongs to one partition, in every service.

use crate::{id::Shop, proto};

/// The header that names the aggregate which a message concerns.
pub const AGGREGATE_HEADER: &str = "Tradewind-Aggregate";
/// The header on the last message of a batch: `source=sequence` of every input handled, comma-separated.
pub const POSITIONS_HEADER: &str = "Tradewind-Positions";
/// The header of a command that names the subject its answer goes to.
pub const REPLY_HEADER: &str = "Tradewind-Reply";
/// The header of a command: `service=sequence` of each log that its sender had seen so far, comma-separated.
pub const AFTER_HEADER: &str = "Tradewind-After";

/// The two lanes of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Somebody waits for it: a checkout, a single change.
    Live,
    /// An import; it never holds up what is live.
    Bulk,
}

impl Lane {
    /// The lane's token in a subject.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Bulk => "bulk",
        }
    }
}

/// The partition of a shop: FNV-1a (32 bit) of its name, modulo the number of partitions, as the
/// server's own `partition()` computes it.
pub fn partition(shop: &Shop, partitions: u32) -> u32 {
    let hash = shop
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % partitions.max(1)
}

/// `inbox.<partition>.<lane>.<service>.<shop>.<command>`.
pub fn command(partition: u32, lane: Lane, service: &str, shop: &Shop, command: &str) -> String {
    format!("inbox.{partition}.{}.{service}.{shop}.{command}", lane.as_str())
}

/// `<service>.<partition>.<shop>.<event>`.
pub fn event(service: &str, partition: u32, shop: &Shop, kind: &str) -> String {
    format!("{service}.{partition}.{shop}.{kind}")
}

/// The name of the event in an envelope, as it stands in the subject.
pub fn event_kind(body: &proto::event::Body) -> Option<&'static str> {
    use proto::{
        catalog_event::Kind as Catalog, engine_event::Kind as Engine, event::Body,
        inventory_event::Kind as Inventory, order_event::Kind as Order,
        payment_event::Kind as Payment,
    };
    Some(match body {
        Body::Engine(event) => match event.kind.as_ref()? {
            Engine::Answered(_) => "answered",
            Engine::Parked(_) => "parked",
            Engine::Redriven(_) => "redriven",
            Engine::Positions(_) => "positions",
            Engine::Voided(_) => "voided",
            Engine::AnswersForgotten(_) => "answers_forgotten",
            Engine::PositionReset(_) => "position_reset",
        },
        Body::Catalog(event) => match event.kind.as_ref()? {
            Catalog::Created(_) => "created",
            Catalog::Updated(_) => "updated",
            Catalog::Discontinued(_) => "discontinued",
        },
        Body::Inventory(event) => match event.kind.as_ref()? {
            Inventory::Counted(_) => "counted",
            Inventory::Adjusted(_) => "adjusted",
            Inventory::Short(_) => "short",
            Inventory::Reserved(_) => "reserved",
            Inventory::Refused(_) => "refused",
            Inventory::Allocated(_) => "allocated",
            Inventory::Lost(_) => "lost",
            Inventory::Released(_) => "released",
        },
        Body::Order(event) => match event.kind.as_ref()? {
            Order::Placed(_) => "placed",
            Order::PaymentDue(_) => "payment_due",
            Order::Authorized(_) => "authorized",
            Order::Confirmed(_) => "confirmed",
            Order::Paid(_) => "paid",
            Order::Cancelled(_) => "cancelled",
        },
        Body::Payment(event) => match event.kind.as_ref()? {
            Payment::AuthorizationPending(_) => "authorization_pending",
            Payment::Authorized(_) => "authorized",
            Payment::Declined(_) => "declined",
            Payment::Failed(_) => "failed",
            Payment::CapturePending(_) => "capture_pending",
            Payment::Captured(_) => "captured",
            Payment::CaptureFailed(_) => "capture_failed",
            Payment::VoidPending(_) => "void_pending",
            Payment::Voided(_) => "voided",
            Payment::RefundPending(_) => "refund_pending",
            Payment::Refunded(_) => "refunded",
            Payment::Abandoned(_) => "abandoned",
            Payment::CancelRequested(_) => "cancel_requested",
        },
    })
}

/// The name of the command in an envelope, as it stands in the subject, and the service it is for.
pub fn command_kind(body: &proto::command::Body) -> (&'static str, &'static str) {
    use proto::command::Body;
    match body {
        Body::PutProducts(_) => ("catalog", "put_products"),
        Body::RecordStock(_) => ("inventory", "record_stock"),
        Body::PlaceOrder(_) => ("order", "place_order"),
        Body::CancelOrder(_) => ("order", "cancel_order"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_is_fnv_1a() {
        // The published test vectors of FNV-1a, 32 bit: "a" and "foobar".
        let of = |shop| partition(&Shop::parse(shop).expect("valid"), u32::MAX);
        assert_eq!(of("a"), 0xe40c_292c);
        assert_eq!(of("foobar"), 0xbf9c_f968);
        assert_eq!(partition(&Shop::parse("acme").expect("valid"), 1), 0);
    }

    #[test]
    fn subjects_read_as_documented() {
        let shop = Shop::parse("acme").expect("valid");
        assert_eq!(
            command(3, Lane::Live, "order", &shop, "place_order"),
            "inbox.3.live.order.acme.place_order"
        );
        assert_eq!(event("order", 0, &shop, "placed"), "order.0.acme.placed");
    }
}
