//! Where messages are published. A shop belongs to one partition, in every service.

use crate::id::Shop;

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

/// `engine.<service>.<partition>.<event>`: what the engine records for itself, and the facts of a service
/// that are not public, apart from the facts that others read.
pub fn engine_event(service: &str, partition: u32, kind: &str) -> String {
    format!("engine.{service}.{partition}.{kind}")
}

/// `<service>.<partition>.<shop>.<event>`.
pub fn event(service: &str, partition: u32, shop: &Shop, kind: &str) -> String {
    format!("{service}.{partition}.{shop}.{kind}")
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
        assert_eq!(command(3, Lane::Live, "till", &shop, "sell"), "inbox.3.live.till.acme.sell");
        assert_eq!(event("till", 0, &shop, "sold"), "till.0.acme.sold");
        assert_eq!(engine_event("till", 0, "parked"), "engine.till.0.parked");
    }
}
