//! The end of a worker that is stopped: what its attempts have come to is recorded first.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Worker, finished};
use crate::{Error, Service, worker::effects::Operations};

/// How long attempts that run when the worker stops have to come to an end.
const LAST_OUTCOMES_TIMEOUT: Duration = Duration::from_secs(1);

impl<S: Service> Worker<'_, S> {
    /// Tells the attempts that run that there will be no more, and handles the outcomes that come of that:
    /// what is known to have been done is not done again after the next start.
    pub(super) async fn take_last_outcomes(&mut self) -> Result<(), Error> {
        let Some(operations) = &self.operations else { return Ok(()) };
        operations.stop();
        let end = Instant::now() + LAST_OUTCOMES_TIMEOUT;
        loop {
            if self.inputs.internal() > 0
                && let Some(batch) = self.inputs.take_batch(&self.projection.positions)?
            {
                self.handle(batch).await?;
            }
            let runs = self.operations.as_ref().is_some_and(Operations::is_running);
            if !runs && self.pipeline.appending() == 0 && self.inputs.internal() == 0 {
                return Ok(());
            }
            tokio::select! {
                progress = self.pipeline.next() => self.note_progress(progress?).await?,
                outcome = finished(self.operations.as_mut()) => {
                    if let Some(outcome) = outcome {
                        self.inputs.push(outcome);
                    }
                }
                () = sleep_until(end) => return Ok(()),
            }
        }
    }
}
