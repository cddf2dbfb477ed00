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
//! | `jetstream` | what is asked of nats-server: connection, streams, fenced appends, members and their claims, gapless reading |
//! | `projection` | a service's database, and how its log is folded into it |
//! | `worker` | [`Engine`], and the loop above for each partition that the process has claimed |
//! | `client` | the sender's side: commands, questions, waiting for an event |
//! | `metrics` | what a worker measures, by name |
//! | `program` | what the engine must know of the [`Program`] that it is a part of |
//! | `turns` | shops take turns, wherever what they want waits |
//! | `operate` | rebuild, verify, parked inputs, the logs themselves |

mod base64;
mod client;
mod clock;
mod definition;
mod error;
mod jetstream;
pub mod metrics;
mod operate;
mod plain_http;
mod program;
mod projection;
mod service;
mod turns;
mod worker;

pub use client::{
    Answered, Client, Outcome, SendError, Written,
    changes::ShopChanges,
    commands::{CommandState, CommandStateError},
    feed::{LogEnd, LogPart, PartLimits},
    inbox::InboxError,
    questions::AskError,
    ready::BrokerError,
    requests::{Request, RequestError, Requests, Response},
    side_stream::SideStream,
    watch::Watch,
};
pub use clock::Clock;
pub use definition::{Definition, Operator};
pub use error::Error;
pub use jetstream::{connect::NatsSecurity, server, streams::Difference};
pub use operate::{
    logs::Logged,
    parked::{ParkedInput, ParkedPage, Redriving},
    raw_limit::RawLimit,
    rebuild::Rebuilt,
    verify::{Mismatch, Verified},
    void::Voided,
};
pub use plain_http::plain_http;
pub use program::{Program, Remedy};
pub use projection::{
    database::Location,
    documents,
    positions::{Position, PositionError},
};
pub use service::*;
pub use worker::{
    faults::{Faults, Step},
    run::{Config, Engine},
    status::{PartitionState, PartitionStatus},
};
