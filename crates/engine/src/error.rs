//! What can fail in the engine.

mod database;

use async_nats::ConnectErrorKind;

use self::database::{is_damaged_file, is_unreachable_database};
use crate::{Remedy, StoreError, WireError, metrics::RestartCause};

/// What the engine could not do. What an operator does about it is its [remedy](Error::remedy).
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
    /// The server does not let this process in.
    #[error("nats-server at {url} does not let this process in")]
    Unauthorized {
        /// The address that was tried.
        url: String,
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The credentials for NATS cannot be read.
    #[error(
        "the credentials for NATS at {url} cannot be read: a file with a user's token and key is expected"
    )]
    Credentials {
        /// The address that they are for.
        url: String,
        /// What the client says.
        source: std::io::Error,
    },
    /// The server lacks atomic batches.
    #[error("nats-server {version} is too old: 2.12 or newer is needed")]
    ServerTooOld {
        /// The server's version.
        version: String,
    },
    /// A stream is configured otherwise than its definition says.
    #[error("stream {stream} differs from its definition: {differences}")]
    Drift {
        /// The stream.
        stream: String,
        /// Each setting that differs, with both values.
        differences: String,
    },
    /// There is no such stream yet, and this process creates none.
    #[error("cannot find {stream}: there is none")]
    NoStream {
        /// The stream.
        stream: String,
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
    /// The server does not store: its disk is full or fails, or a limit is reached.
    #[error(
        "nats-server stores nothing in {stream}: {reason}; free or add space, then restart \
         nats-server"
    )]
    NotStored {
        /// The stream.
        stream: String,
        /// What the server says, or does.
        reason: String,
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
    /// A stream ends before the position that was reached in it.
    #[error(
        "{stream} ends at {last}, but {service} has handled it up to {position}: the stream was \
         created anew, or an old copy of the broker's store was restored"
    )]
    PositionBeyondEnd {
        /// The service that reads the stream.
        service: &'static str,
        /// The stream.
        stream: String,
        /// The last sequence handled.
        position: u64,
        /// The last sequence of the stream.
        last: u64,
        /// Whether the stream only feeds a replica.
        is_replica: bool,
    },
    /// A stream is not the one in which the position was reached.
    #[error(
        "{stream} was created anew since {service} handled it up to {position}: what it holds up to \
         there was never handled"
    )]
    StreamReplaced {
        /// The service that reads the stream.
        service: &'static str,
        /// The stream.
        stream: String,
        /// The last sequence handled of the stream before it.
        position: u64,
        /// Whether the stream only feeds a replica.
        is_replica: bool,
    },
    /// The position of a replica is to be reset.
    #[error(
        "{service} holds a replica of {replica}, which has no position to be reset: it is read from \
         the beginning, or what was before would be missing"
    )]
    ReplicaPosition {
        /// The service that holds it.
        service: &'static str,
        /// The service whose log it is of.
        replica: String,
    },
    /// The log ends before what was folded of it: going on would contradict what was answered.
    #[error(
        "{stream} ends at {last}, but the projection of {service} holds it up to {position}: the \
         log was replaced, or has lost its end"
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
    /// Another worker moved the position of the projection: this one has been superseded.
    #[error("another worker moved the projection of {service}-{partition} on from {expected}")]
    Superseded {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// The position that this worker had left it at.
        expected: u64,
    },
    /// Another process has claimed the partition.
    #[error("another process runs {service}-{partition} now")]
    LeaseLost {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
    },
    /// The partition is claimed by a process that does not release it.
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
    #[error(
        "{stream} holds a message at {sequence} that this version cannot read; a newer version may"
    )]
    Unreadable {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// The log.
        stream: String,
        /// The sequence of the message.
        sequence: u64,
        /// What is wrong with it.
        source: WireError,
    },
    /// A message of a stream is not what its readers expect.
    #[error("the message at {sequence} of {stream} does not decode")]
    Undecodable {
        /// The stream.
        stream: String,
        /// The sequence of the message.
        sequence: u64,
        /// What is wrong with it.
        source: WireError,
    },
    /// The versions of an aggregate are not contiguous in the log.
    #[error(
        "in {stream} at {sequence}, version {next} of {aggregate} follows version {version}: the \
         service did not write it"
    )]
    Version {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// The log.
        stream: String,
        /// The sequence of the message.
        sequence: u64,
        /// The aggregate.
        aggregate: String,
        /// Its version before.
        version: u64,
        /// Its next version in the log.
        next: u64,
    },
    /// A rule panicked while the log was folded.
    #[error("folding {stream} at {sequence} failed: {reason}")]
    Fold {
        /// The log.
        stream: String,
        /// The sequence of the event.
        sequence: u64,
        /// What the panic says.
        reason: String,
    },
    /// A step of the worker ended.
    #[error("a step of the worker ended: {0}")]
    StepEnded(String),
    /// What an operator asked for cannot be done.
    #[error("{0}")]
    Refused(String),
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

impl Error {
    /// Whether a server did not answer, or is not ready: the same may succeed a moment later.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => matches!(
                source.kind(),
                ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io
            ),
            Self::JetStream { .. } | Self::NoStream { .. } => true,
            Self::Open { source, .. } => is_unreachable_database(&**source),
            _ => false,
        }
    }

    /// Whether the file of a database is damaged, or none: an operator puts it right, and no other
    /// database is concerned.
    pub(crate) fn is_damaged_database(&self) -> bool {
        matches!(self, Self::Open { source, .. } if is_damaged_file(&**source))
    }

    /// What an operator does about it, where that is more than the error itself says.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Unauthorized { .. } => Remedy::NameUser,
            Self::Drift { .. } => Remedy::ChangeStreams,
            Self::NoStream { .. } => Remedy::CreateStreams,
            Self::PositionBeyondEnd { service, is_replica: true, .. }
            | Self::StreamReplaced { service, is_replica: true, .. }
            | Self::ReplicaPosition { service, .. } => Remedy::RebuildReplica { service },
            Self::PositionBeyondEnd { service, .. } | Self::StreamReplaced { service, .. } => {
                Remedy::ResetPosition { service }
            }
            Self::LogLost { service, .. } => Remedy::Rebuild { service },
            Self::Unreadable { service, partition, sequence, .. }
            | Self::Version { service, partition, sequence, .. } => {
                Remedy::VoidMessage { service, partition: *partition, sequence: *sequence }
            }
            Self::Open { .. } if self.is_damaged_database() => Remedy::ReplaceDatabase,
            _ => return None,
        })
    }

    /// Whether it happens in the course of things: a worker recovers from its log and goes on.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(
            self,
            Self::JetStream { .. }
                | Self::Fenced { .. }
                | Self::Superseded { .. }
                | Self::LeaseLost { .. }
                | Self::Store(StoreError::Database(_) | StoreError::Silent)
        )
    }

    /// Why the partition failed, for metrics.
    pub(crate) fn cause(&self) -> RestartCause {
        match self {
            Self::InputsLost { .. }
            | Self::PositionBeyondEnd { .. }
            | Self::StreamReplaced { .. }
            | Self::LogLost { .. } => RestartCause::Position,
            Self::Fenced { .. } | Self::Superseded { .. } => RestartCause::Fenced,
            Self::LeaseLost { .. } | Self::LeaseHeld { .. } => RestartCause::LeaseLost,
            Self::Unreadable { .. } | Self::Undecodable { .. } | Self::Version { .. } => {
                RestartCause::UnreadableLog
            }
            Self::Fold { .. } | Self::StepEnded(_) => RestartCause::Panic,
            Self::Store(_) | Self::Open { .. } => RestartCause::Database,
            Self::NotStored { .. } => RestartCause::StorageFull,
            Self::JetStream { .. }
            | Self::NoStream { .. }
            | Self::Connect { .. }
            | Self::Unauthorized { .. }
            | Self::Credentials { .. }
            | Self::ServerTooOld { .. }
            | Self::Drift { .. }
            | Self::Definitions(_)
            | Self::Refused(_)
            | Self::ReplicaPosition { .. }
            | Self::Server { .. }
            | Self::Stopped(_) => RestartCause::Broker,
        }
    }

    /// The same, of a stream that only feeds a replica.
    pub(crate) fn in_replica(mut self) -> Self {
        if let Self::PositionBeyondEnd { is_replica, .. }
        | Self::StreamReplaced { is_replica, .. } = &mut self
        {
            *is_replica = true;
        }
        self
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

/// An address without user and password, for a message.
pub(crate) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (scheme, Some(at)) => {
            let scheme = scheme.map_or("", |end| &url[..end + 3]);
            format!("{scheme}…{}", &url[at..])
        }
        (_, None) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_shows_a_password() {
        for (url, shown) in [
            ("postgres://me:secret@db/x", "postgres://…@db/x"),
            ("tls://b", "tls://b"),
            ("me:p@ss@c", "…@c"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
