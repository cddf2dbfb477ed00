//! Why a message is not read, a row not kept, a question not answered.

use protocol::id::ParseError;

use crate::projection::positions::PositionError;

/// A message that is not what the contract says: it is parked.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes do not decode.
    #[error("the message does not decode")]
    Decode(#[from] prost::DecodeError),
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value breaks its rule.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The message is one that this service does not handle, or this version does not know.
    #[error("{0} is not handled by this version of the service")]
    Unexpected(&'static str),
}

/// The database failed, or holds what it cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The database did not answer in time: what was asked of it may have been done.
    #[error("the database did not answer in time")]
    Silent,
    /// A row holds what no code of this version writes.
    #[error("the row {key} of {table} does not read back")]
    Unreadable {
        /// The table.
        table: String,
        /// The key of the row.
        key: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A position in the database is none.
    #[error("a position does not read back")]
    Position(#[source] PositionError),
    /// Rows could not be written as JSON.
    #[error("rows do not serialise")]
    Serialise(#[from] serde_json::Error),
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outside world failed.
    #[error("{0}")]
    Outside(Box<dyn std::error::Error + Send + Sync>),
    /// A system of somebody else, which the answer needs, does not answer.
    #[error("{system} does not answer")]
    Unreachable {
        /// The system, as the one who asks knows it.
        system: String,
        /// What is known of it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
