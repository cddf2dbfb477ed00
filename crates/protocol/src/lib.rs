//! What every message has in common, whatever service writes it: what the engine knows, and nothing of
//! what a shop sells.
//!
//! | module | what it holds |
//! |---|---|
//! | [`proto`] | the envelopes of events and commands, causes, answers, the engine's own events |
//! | [`actor`] | who asks for something |
//! | [`id`] | the ids in them, and the macros with which a contract defines its own |
//! | [`time`] | instants in UTC |
//! | [`subject`] | where messages are published, their headers, and which partition a shop belongs to |
//! | [`command`] | a command as it is handed to the engine's client |
//! | `openapi` | with the feature of that name: ids and times as schemas of OpenAPI |
//!
//! A contract is built on it by messages that have the fields of an envelope with the same numbers, and
//! their own from 16 on. The crate `events` is Tradewind's.

pub mod actor;
pub mod command;
pub mod id;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod proto;
pub mod subject;
pub mod time;
