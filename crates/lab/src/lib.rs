//! Trying an installation out, and measuring it.
//!
//! - `demo`: a day of trade, with every invariant checked;
//! - `bench`: the figures of this machine, with one server and three, SQLite and Postgres;
//! - `replay`: a real retailer's year;
//! - `failover`: what the loss of a server costs;
//! - `settled`, `settlements`, `figures`, `random`: what they share.

pub mod bench;
pub mod demo;
pub mod failover;
mod figures;
mod random;
pub mod replay;
mod settled;
mod settlements;
