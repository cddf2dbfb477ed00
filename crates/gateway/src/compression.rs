//! Answers compressed by gzip, for those who accept that (`Accept-Encoding`).

use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
};

/// Smaller answers, in bytes, fit into one packet as they are.
const MIN_BYTES: u16 = 1_024;

/// Compresses what is worth it: not the streams, whose readers wait for each line or event.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    let is_worth_it = SizeAbove::new(MIN_BYTES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("application/x-ndjson"));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worth_it)
}
