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
//! | folder | what it holds |
//! |---|---|
//! | `service` | [`Service`]: what a service hands over; the envelope of its events |
//! | `jetstream` | what is asked of nats-server: connection, streams, fenced appends, leases, gapless reading |
//! | `projection` | a service's database, and how its log is folded into it |
//! | `worker` | [`Engine`], and the loop above for each partition under its lease |
//! | `client` | the sender's side, the gateway's: commands, questions, waiting for an event |
//! | `operate` | rebuild, verify, parked inputs, the logs as they stand |

mod client;
mod error;
mod jetstream;
mod operate;
mod projection;
mod service;
mod worker;

pub use client::{Answered, AskError, Client, Outcome, SendError, inbox::InboxError, watch::Watch};
pub use error::{Error, Verdict};
pub use jetstream::{
    server,
    streams::{Difference, SERVICES},
};
pub use operate::{
    logs::Logged,
    parked::{ParkedView, Redriving},
    raw_limit::RawLimit,
    verify::{Mismatch, Rebuilt, Verified},
};
pub use projection::{database::Location, sql, store::ParkedRow};
pub use service::*;
pub use worker::{
    faults::{Faults, Step},
    run::{Config, Engine},
};
