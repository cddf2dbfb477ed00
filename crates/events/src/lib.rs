//! The contract of Tradewind: what its services say to each other and to you.
//!
//! An integrator needs this crate alone: no database, no engine. It holds
//!
//! - [`proto`]: the generated messages. [`proto::Event`] is the envelope of every event,
//!   [`proto::Command`] of every command;
//! - [`subject`]: where they are published, and which partition a shop belongs to;
//! - [`id`], [`money`], [`time`]: values that cannot be wrong, parsed once at the edge;
//! - [`answer`] and [`view`]: what a service answers to a command and to a question, as JSON;
//! - [`json`]: any message as protobuf JSON and back, for people who look at one.
//!
//! To add an event: add its message to the service's file in `proto/`, a variant to its `oneof`,
//! and its name to [`subject::event_kind`]; everything that does not decide about it yet fails to
//! compile.

pub mod answer;
pub mod id;
pub mod json;
pub mod money;
pub mod proto;
pub mod subject;
pub mod time;
pub mod view;
