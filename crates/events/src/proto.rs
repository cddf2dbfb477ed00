//! The messages generated from `proto/`; their documentation is the comments there. A module for each
//! service holds its events and commands; [`Event`] and [`Command`] are the envelopes of all.

#[expect(unreachable_pub, missing_docs, clippy::pedantic, reason = "generated from proto/")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

pub use generated::tradewind::{
    catalog::v1 as catalog, commands::v1::*, common::v1::*, events::v1::*,
    inventory::v1 as inventory, notify::v1 as notify, order::v1 as order, payment::v1 as payment,
    shop::v1 as shop,
};

/// What a service reads of an [`Event`]: the fact, its aggregate, and when it happened outside. The rest
/// of the envelope is the engine's, and need not be read twice.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EventFact {
    /// See [`Event`].
    #[prost(string, tag = "3")]
    pub aggregate_id: String,
    /// See [`Event`].
    #[prost(uint64, tag = "4")]
    pub aggregate_version: u64,
    /// See [`Event`].
    #[prost(message, optional, tag = "11")]
    pub occurred_at: Option<prost_types::Timestamp>,
    /// See [`Event`].
    #[prost(oneof = "event::Body", tags = "15, 16, 17, 18, 19, 20, 21, 22")]
    pub body: Option<event::Body>,
}

/// The compiled `proto/` folder, an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
