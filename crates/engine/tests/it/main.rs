//! The engine against a real nats-server and real databases, with a small service of its own.

mod answers;
mod clock;
mod commands;
mod contract;
mod copies;
mod crashes;
mod deadlines;
mod effects;
mod history;
mod leases;
mod ledger;
mod live_rebuild;
mod merging;
mod operations;
mod other;
mod panics;
mod parked;
mod parking;
mod positions;
mod questions;
mod rebuild;
mod rig;
mod shops;
mod small_failures;
mod streams;
mod two_workers;
