//! What an operator does: rebuild, verify, parked inputs, voided messages, the logs themselves.

pub(crate) mod logs;
pub(crate) mod parked;
pub(crate) mod raw_limit;
pub(crate) mod rebuild;
pub(crate) mod verify;
pub(crate) mod void;
