//! What an operator does: rebuild, verify, parked inputs, the logs as they stand.

pub(crate) mod logs;
pub(crate) mod parked;
pub(crate) mod raw_limit;
pub(crate) mod verify;
