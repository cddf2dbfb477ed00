//! What can fail in the engine, and what is then done about it.

use crate::{StoreError, WireError};

/// What the engine could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to NATS.
    #[error("cannot connect to NATS at {url}; is nats-server running there?")]
    Connect {
        /// The address that was tried.
        url: String,
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The server lacks atomic batches.
    #[error("nats-server {version} is too old: Tradewind needs 2.12 or newer")]
    ServerTooOld {
        /// The server's version.
        version: String,
    },
    /// A stream is configured otherwise than `nats/streams.toml` says.
    #[error(
        "stream {stream} differs from its definition: {differences}; \
         `tradewind streams diff` shows it, `tradewind streams apply` changes the stream"
    )]
    Drift {
        /// The stream.
        stream: String,
        /// Each setting that differs, with both values.
        differences: String,
    },
    /// The stream definitions do not parse.
    #[error("the stream definitions do not parse")]
    Definitions(#[from] toml::de::Error),
    /// JetStream did not do what was asked.
    #[error("cannot {action} {stream}")]
    JetStream {
        /// What was asked, as a verb.
        action: &'static str,
        /// The stream.
        stream: String,
        /// What the client or the server says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Retention deleted inputs before they were handled.
    #[error(
        "{stream} begins at {first}, but {service} has handled only up to {position}: its \
         retention has deleted inputs that were never handled; restore the stream from a backup"
    )]
    InputsLost {
        /// The service that would have handled them.
        service: &'static str,
        /// The stream.
        stream: String,
        /// The last sequence handled.
        position: u64,
        /// The first sequence that is still there.
        first: u64,
    },
    /// The log ends before what was folded of it: going on would contradict what was told.
    #[error(
        "{stream} ends at {last}, but the projection of {service} holds it up to {position}: the \
         log was replaced, or has lost its end; restore it, or take the log as it is with \
         `tradewind rebuild {service}`"
    )]
    LogLost {
        /// The service.
        service: &'static str,
        /// The log.
        stream: String,
        /// Its last sequence.
        last: u64,
        /// The last sequence that was folded.
        position: u64,
    },
    /// Somebody else wrote into the log: the worker folds the log and goes on.
    #[error("another worker wrote {stream} after {expected}")]
    Fenced {
        /// The log.
        stream: String,
        /// The last sequence that this worker had seen.
        expected: u64,
    },
    /// Somebody else moved the position of the projection: this worker is a zombie.
    #[error("another worker moved the projection of {service}-{partition} on from {expected}")]
    Zombie {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// The position that this worker had left it at.
        expected: u64,
    },
    /// The lease ran out or was taken over.
    #[error("the lease of {service}-{partition} is lost")]
    LeaseLost {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
    },
    /// The lease is held by somebody who is not going to give it up.
    #[error("{service}-{partition} is being run by {holder}; stop it first")]
    LeaseHeld {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// Who holds it.
        holder: String,
    },
    /// The service's own log holds what this version cannot read.
    #[error("{stream} holds an event at {sequence} that this version cannot read")]
    Log {
        /// The log.
        stream: String,
        /// The sequence of the event.
        sequence: u64,
        /// What is wrong with it.
        source: WireError,
    },
    /// The versions of an aggregate are not contiguous in the log.
    #[error("in {stream}, version {next} of {aggregate} follows version {version}")]
    Version {
        /// The log.
        stream: String,
        /// The aggregate.
        aggregate: String,
        /// Its version before.
        version: u64,
        /// Its next version in the log.
        next: u64,
    },
    /// The projection failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be opened or migrated.
    #[error("cannot open the database of {service} at {url}")]
    Open {
        /// The service.
        service: String,
        /// The database.
        url: String,
        /// What the driver says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A nats-server could not be started.
    #[error("cannot start {binary}: {reason}")]
    Server {
        /// The program.
        binary: String,
        /// What went wrong.
        reason: String,
    },
    /// A test stopped the worker at a step.
    #[error("stopped by a test at {0:?}")]
    Stopped(crate::worker::faults::Step),
}

/// What is done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Recover from the log and go on.
    Retry,
    /// Give up: only an operator can help.
    Stop,
}

impl Error {
    /// What is done about it.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::JetStream { .. }
            | Self::Fenced { .. }
            | Self::Zombie { .. }
            | Self::LeaseLost { .. }
            | Self::Store(StoreError::Database(_)) => Verdict::Retry,
            Self::Connect { .. }
            | Self::ServerTooOld { .. }
            | Self::Drift { .. }
            | Self::Definitions(_)
            | Self::InputsLost { .. }
            | Self::LogLost { .. }
            | Self::LeaseHeld { .. }
            | Self::Log { .. }
            | Self::Version { .. }
            | Self::Store(
                StoreError::Corrupt { .. } | StoreError::Serialise(_) | StoreError::Unreadable(_),
            )
            | Self::Open { .. }
            | Self::Server { .. }
            | Self::Stopped(_) => Verdict::Stop,
        }
    }

    /// Names what JetStream did not do.
    pub(crate) fn jetstream(
        action: &'static str,
        stream: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::JetStream { action, stream: stream.to_owned(), source: source.into() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An error with all its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
