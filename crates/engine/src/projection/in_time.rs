//! How long a worker waits for the database.

use std::time::Duration;

use tokio::time::timeout;

use crate::StoreError;

/// How long the database may take for what a worker asks of it. A host that is gone without a word is
/// noticed by TCP only after a quarter of an hour, and the partition would stand still as long.
const WORK_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits for what a worker asks of the database, but not for ever. A commit may have taken place all
/// the same: the worker recovers then, and compares positions as after a crash.
pub(crate) async fn in_time<T, E: From<StoreError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(WORK_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::Silent.into()))
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
