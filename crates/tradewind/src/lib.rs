//! The command `tradewind`: runs services, looks after them, and shows what they do.
//!
//! - `cli`, `settings`: the command line; flags, environment and file in that order;
//! - `serve`: running services in one process; `embedded`: a whole installation in this process;
//! - `admin`: rebuild, verify, parked inputs, streams;
//! - `api`: a client of the gateway, for what follows;
//! - `folder`, `random`, `figures`, `signal`: data folders, dice, percentiles, Ctrl-C;
//! - `audit`: reads the logs of an installation with rules of its own;
//! - `replay`: a real retailer's year; `demo`: a day of trade; `bench`: figures of this machine.

pub mod admin;
pub mod api;
pub mod audit;
pub mod bench;
pub mod cli;
pub mod demo;
pub mod embedded;
pub mod figures;
pub mod folder;
pub mod print;
pub mod random;
pub mod replay;
pub mod serve;
pub mod settings;
pub mod signal;
