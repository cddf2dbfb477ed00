//! What is asked of nats-server: connections, streams, fenced appends, members, gapless reading.

pub(crate) mod connect;
pub(crate) mod headers;
pub(crate) mod log;
pub(crate) mod membership;
pub(crate) mod monitor;
pub(crate) mod publish;
pub(crate) mod reader;
pub(crate) mod retry;
pub mod server;
pub(crate) mod streams;
