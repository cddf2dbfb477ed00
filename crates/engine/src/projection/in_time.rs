//! How long a worker waits for the database.

use std::time::Duration;

use sqlx::{Any, AnyConnection, any::AnyArguments, query::Query};
use tokio::time::timeout;

use crate::StoreError;

/// How long the database may take for what a worker asks of it. A host that is gone without a word is
/// noticed by TCP only after a quarter of an hour, and the partition would stand still as long.
pub(crate) const WORK_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits for what a worker asks of the database, but not for ever. A commit may have taken place all
/// the same: the worker recovers then, and compares positions as after a crash.
pub(crate) async fn in_time<T, E: From<StoreError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(WORK_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::Silent.into()))
}

/// A connection for what takes longer the more statements it has: each of them is waited for, but not
/// for ever.
pub(crate) struct TimedConnection<'a> {
    db: &'a mut AnyConnection,
    timeout: Duration,
}

impl<'a> TimedConnection<'a> {
    /// A connection whose statements may take `timeout` each.
    pub(crate) fn new(db: &'a mut AnyConnection, timeout: Duration) -> Self {
        Self { db, timeout }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.db.backend_name() == "SQLite"
    }

    /// Executes a statement, and returns how many rows it affected.
    pub(crate) async fn execute(
        &mut self,
        statement: Query<'_, Any, AnyArguments>,
    ) -> Result<u64, StoreError> {
        let executed = answered_within(self.timeout, statement.execute(&mut *self.db)).await?;
        Ok(executed.rows_affected())
    }
}

/// Waits for the answer to one statement.
pub(crate) async fn answered_within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_silent_is_not_waited_for_for_ever() {
        let answered = in_time(std::future::pending::<Result<(), Error>>()).await;
        let error = answered.expect_err("it does not answer");
        assert!(matches!(error, Error::Store(StoreError::Silent)), "{error:?}");
        assert!(error.is_expected(), "the worker recovers");
        in_time(async { Ok::<_, Error>(()) }).await.expect("it answers");
    }
}
