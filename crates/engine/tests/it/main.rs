//! The engine against a real nats-server and real databases, with a small service of its own.

mod answers;
mod commands;
mod copies;
mod crashes;
mod leases;
mod ledger;
mod operations;
mod parked;
mod rebuild;
mod rig;
mod streams;
mod two_workers;
