//! The contract of Tradewind: what its services say to each other and to you.
//!
//! An integrator needs this crate and `protocol`, on which it is built: no database, no engine. It holds
//!
//! - [`proto`]: the generated messages, a module for each service. [`proto::Event`] is the envelope of
//!   every event, [`proto::Command`] of every command;
//! - [`names`]: their names, as they are in subjects;
//! - [`id`], [`money`]: values that cannot be wrong, parsed once at the edge;
//! - [`listings`]: what listings are made of; [`shop`]: the settings of a shop;
//! - [`sealed`]: personal data, as it travels; [`card_numbers`]: what no free text may hold;
//! - [`answers`] and [`questions`]: which message answers which command and which question;
//! - [`http`]: the JSON of the HTTP API, for those who read it in Rust; with the feature `openapi` also as schemas of
//!   OpenAPI;
//! - [`type_filter`]: types of events that somebody wants, such as `order.*`;
//! - [`webhooks`]: what webhook endpoints and mails can be;
//! - [`catalogue`]: what public events there are, with their documentation and JSON Schemas;
//! - [`cloud_events`]: an event as CloudEvents 1.0 JSON, the form in which it leaves by HTTP;
//! - [`json`]: any message as protobuf JSON and back, for people who look at one.
//!
//! To add an event: add its message to the service's file in `proto/`, a variant to its `oneof`,
//! and its name to [`names::event_name`]; everything that does not decide about it yet fails to
//! compile.

pub mod answers;
pub mod card_numbers;
pub mod catalogue;
pub mod cloud_events;
pub mod http;
pub mod id;
pub mod json;
mod json_text;
pub mod listings;
pub mod money;
pub mod names;
#[cfg(feature = "openapi")]
mod openapi;
pub mod proto;
pub mod questions;
pub mod sealed;
pub mod shop;
pub mod type_filter;
pub mod webhooks;
