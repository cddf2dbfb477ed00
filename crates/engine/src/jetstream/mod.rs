//! What is asked of nats-server: connections, streams, fenced appends, leases, gapless reading.

pub(crate) mod connect;
pub(crate) mod lease;
pub(crate) mod log;
pub(crate) mod publish;
pub(crate) mod reader;
pub mod server;
pub(crate) mod streams;
