//! What a service asks of the outside world, one attempt at a time.

use std::future::Future;

use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::service::{Context, InternalInput, Service};

/// What a service asks of the outside world.
///
/// An operation is announced by a row: [`Effects::OPERATION`] names a column that holds its id for
/// as long as its outcome is not known. An outcome comes back as an input, and the event that
/// follows from it clears the column.
pub trait Effects: Service {
    /// The column that holds the id of the pending operation of a row.
    const OPERATION: OperationColumn;

    /// Who is asked, for example a provider or a host: a slow one does not hold up the others.
    fn destination(&self, operation: &Operation) -> String;

    /// What an operation continues: its attempts belong to the trace of that.
    fn context(_operation: &Operation) -> Context {
        Context::default()
    }

    /// Makes one attempt. What has to wait says until when, and is tried again then.
    fn execute(
        &self,
        operation: &Operation,
        attempt: Attempt,
    ) -> impl Future<Output = Attempted<Self::Input>> + Send;
}

/// The progress of a pending operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationColumn {
    /// The table.
    pub table: &'static str,
    /// The column: null when nothing is pending.
    pub column: &'static str,
    /// An integer column that says when the operation is due, in milliseconds since 1970: an attempt is
    /// made no sooner, and a row that changes it moves an operation that waits. Absent: at once.
    pub due: Option<&'static str>,
}

/// Something that is to be asked of the outside world.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id: the idempotency key of all attempts.
    pub id: String,
    /// The shop that it concerns.
    pub shop: Shop,
    /// The key of the row that announces it; the aggregate as well.
    pub key: String,
    /// The row, as JSON.
    pub document: String,
    /// The row as it changes while an attempt is made, and the database that it is in.
    pub live: LiveRow,
}

/// A row that announces an operation, while an attempt at it is made.
#[derive(Debug, Clone, Default)]
pub struct LiveRow {
    documents: Option<watch::Receiver<String>>,
    db: Option<AnyPool>,
    stopping: CancellationToken,
}

impl LiveRow {
    pub(crate) fn new(
        documents: watch::Receiver<String>,
        db: AnyPool,
        stopping: CancellationToken,
    ) -> Self {
        Self { documents: Some(documents), db: Some(db), stopping }
    }

    /// Waits until the worker stops. An attempt that returns within a second of that with an outcome has
    /// it recorded.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// The projection of the service, for rows of other tables. It is behind the row itself by what was
    /// not written yet. Absent where no engine runs the attempt.
    pub fn db(&self) -> Option<&AnyPool> {
        self.db.as_ref()
    }

    /// Whether the worker stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether the row announces the operation no more.
    pub fn is_over(&self) -> bool {
        self.documents.as_ref().is_some_and(|documents| documents.has_changed().is_err())
    }

    /// Waits for the row to change; yields it as JSON. Never returns for one that no longer announces
    /// the operation.
    pub async fn changed(&mut self) -> String {
        if let Some(documents) = &mut self.documents
            && documents.changed().await.is_ok()
        {
            return documents.borrow_and_update().clone();
        }
        std::future::pending().await
    }
}

/// Which attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the attempts of this operation, from 1.
    pub number: u32,
    /// Whether the outside world may have heard of the operation before: in an earlier attempt, or
    /// in a process that is gone.
    pub may_be_known: bool,
    /// When the attempt is made.
    pub now: Timestamp,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempted<I> {
    /// The outcome is known.
    Done(InternalInput<I>),
    /// It is not: try again at that time.
    RetryAt(Timestamp),
}
