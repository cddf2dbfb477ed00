//! The engine: the only code that talks JetStream.
//!
//! ```text
//!         INBOX-p ──┐
//!    other services'├─► read ─► batch ─► load ─► decide ─► publish ─► project ─► reply
//!         streams ──┘   (positions)      (1 query) (pure)   (1 atomic   (1 tx:      (core NATS, to who waits)
//!         own stream ─► (only on start:   by key            batch,       state rows
//!                        fold the tail)                     fenced)      + positions)
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`service`](Service) | what a service hands over: rules, load and save |
//! | `run` | [`Engine`]: the connection, the streams, a worker for each partition under its lease |
//! | `worker` | the loop above |
//! | `inputs` | what comes next: copies, live, sagas, bulk; deadlines and outcomes from within |
//! | `turn` | a batch of inputs becomes events, in memory |
//! | `log`, `publish` | the fenced append of an atomic batch |
//! | `fold` | recovery and rebuild: the projection from the log |
//! | `source` | reading a stream from a position, gapless |
//! | `parked` | what could not be handled, and how an operator lets it be handled again |
//! | `query`, `reply` | answers: to questions, and to who sent a command |
//! | `client`, `inbox`, `watch` | the sender's side: the gateway's |
//! | `verify` | rebuild, and the proof that a projection equals its log |
//! | `audit`, `limit` | the logs as they stand, and what the server takes: for checks and figures |
//! | [`sql`] | rows in and out of a database, many at once |
//! | `lease`, `streams`, `connect`, `database`, `store` | what these stand on |

mod audit;
mod client;
mod connect;
mod database;
mod envelope;
mod error;
mod faults;
mod fold;
mod inbox;
mod inputs;
mod lease;
mod limit;
mod log;
mod parked;
mod positions;
mod publish;
mod query;
mod reply;
mod run;
pub mod server;
mod service;
mod source;
pub mod sql;
mod store;
mod streams;
mod turn;
mod verify;
mod watch;
mod worker;

pub use audit::Logged;
pub use client::{Answered, AskError, Client, Outcome, SendError};
pub use database::Location;
pub use error::{Error, Verdict};
pub use faults::{Faults, Step};
pub use inbox::InboxError;
pub use limit::RawLimit;
pub use parked::{ParkedView, Redriving};
pub use run::{Config, Engine};
pub use service::*;
pub use store::ParkedRow;
pub use streams::{Difference, SERVICES};
pub use verify::{Mismatch, Rebuilt, Verified};
pub use watch::Watch;
