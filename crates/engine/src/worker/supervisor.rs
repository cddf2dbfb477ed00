//! One partition of a service in this process: claimed, kept going when it fails, rebuilt.

mod measure;

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures::FutureExt;
use sqlx::AnyPool;
use tokio::{
    sync::{OnceCell, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::measure::measure;
use crate::{
    Definition, Engine, Error, PartitionState, Service,
    jetstream::{log::watch_end, membership::ClaimLost, retry::jittered, streams},
    metrics::PartitionMetrics,
    operate::{parked::RedriveRequest, rebuild::Scratch},
    projection::{database::Database, fold::panic_text},
    worker::{
        partition::{Setup, Worker},
        projected::Projected,
        query::Answering,
        rebuilds::Rebuilds,
    },
};

/// The pause before a worker that failed recovers and goes on; each further failure doubles it.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(15);
/// A worker that held its partition as long has not failed again, but for the first time.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// A worker that failed and runs again as long without failing counts as running.
const RUNS_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A claim that takes longer is one that another process has.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);
/// Redrives that wait for the worker.
const MAX_REDRIVES: usize = 16;
/// Why a rebuild that was asked for does not take place.
const HANDED_OVER: &str = "the partition was handed over to another process; rebuild it again";

/// A partition, and what its worker and who answers questions share.
pub(crate) struct Supervisor<S: Service> {
    engine: Engine,
    definition: Definition<S>,
    /// The service's, of all partitions: empty while it could not be opened.
    database: Arc<OnceCell<Database>>,
    partition: u32,
    metrics: Arc<PartitionMetrics>,
    projected: Arc<Projected>,
    rebuilds: Arc<Rebuilds>,
    redrive: mpsc::Sender<RedriveRequest>,
    redrives: mpsc::Receiver<RedriveRequest>,
    /// How often it has failed without holding the partition for long in between.
    failures: u32,
    /// Whether it has failed, and not run for long enough since.
    is_retrying: bool,
    /// Since when the worker of this try holds the partition; absent while it has not recovered.
    held_since: Option<Instant>,
}

impl<S: Service> Supervisor<S> {
    pub(crate) fn new(
        engine: &Engine,
        definition: &Definition<S>,
        database: &Arc<OnceCell<Database>>,
        partition: u32,
    ) -> Self {
        let (redrive, redrives) = mpsc::channel(MAX_REDRIVES);
        Self {
            engine: engine.clone(),
            definition: definition.clone(),
            database: database.clone(),
            partition,
            metrics: Arc::new(PartitionMetrics::new(S::NAME, partition)),
            projected: Arc::default(),
            rebuilds: Arc::default(),
            redrive,
            redrives,
            failures: 0,
            is_retrying: false,
            held_since: None,
        }
    }

    /// Runs the partition whenever this process has claimed it. When something fails, it recovers
    /// from the log, again and again, with pauses that become longer. Returns on shutdown, or with
    /// the fault by which a test stopped it.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Option<Error> {
        loop {
            self.set_unless_retrying(PartitionState::Waiting);
            let outcome = AssertUnwindSafe(self.run_claimed(shutdown)).catch_unwind().await;
            let held_for = self.held_since.take().map(|since| since.elapsed());
            let error = match outcome {
                Ok(Ok(())) if shutdown.is_cancelled() => return None,
                Ok(Ok(())) => {
                    // The partition was handed over. When it comes back, the rows are old.
                    self.projected = Arc::default();
                    self.forget_failures();
                    self.rebuilds.abandon(HANDED_OVER);
                    continue;
                }
                Ok(Err(error @ Error::Stopped(_))) => return Some(error),
                Ok(Err(error)) => error,
                Err(panic) => Error::StepEnded(panic_text(&*panic)),
            };
            self.rebuilds.end(Err(self.describe(&error)));
            if let Error::LeaseLost { .. } = error {
                self.projected = Arc::default();
                self.rebuilds.abandon(HANDED_OVER);
            }
            self.failures = failures_after(self.failures, held_for);
            self.report_failure(&error);
            self.is_retrying = self.failures > 1 || !error.is_expected();
            let pause = jittered(RESTART_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)));
            let pause = self.pause(&error, pause.min(MAX_RESTART_PAUSE));
            shutdown.run_until_cancelled(pause).await?;
        }
    }

    /// Waits before the next try. Who asks meanwhile is told why there is no answer, rather than to
    /// wait for one; a rebuild is begun at once.
    async fn pause(&self, error: &Error, pause: Duration) {
        // What is expected is over soon, or the partition is another process's now.
        if error.is_expected() {
            return sleep(pause).await;
        }
        let answering = self.answering(Err(self.describe(error)));
        tokio::select! {
            () = sleep(pause) => {}
            () = self.rebuilds.requested() => {}
            _ = answering.run() => {}
        }
    }

    /// Why it failed, and what an operator does about it.
    fn describe(&self, error: &Error) -> String {
        self.engine.config().program.describe(error)
    }

    fn report_failure(&self, error: &Error) {
        let (service, partition, failures) = (S::NAME, self.partition, self.failures);
        let reason = self.describe(error);
        self.metrics.restarted(error.cause());
        if error.is_expected() && failures == 1 {
            tracing::warn!(service, partition, error = reason, "recovers from the log");
        } else {
            tracing::error!(
                service,
                partition,
                failures,
                error = reason,
                "the partition cannot go on, and tries again"
            );
        }
        self.set(PartitionState::Failing { reason, failures });
    }

    fn set(&self, state: PartitionState) {
        self.engine.statuses().set(S::NAME, self.partition, state, &self.metrics);
    }

    /// A partition that retries is shown as failing until it has run for a while: readiness and
    /// alerts would otherwise see it as healthy for a moment at each try.
    fn set_unless_retrying(&self, state: PartitionState) {
        if !self.is_retrying {
            self.set(state);
        }
    }

    /// The partition is another process's: what failed here says nothing of the next try.
    fn forget_failures(&mut self) {
        self.failures = 0;
        self.is_retrying = false;
    }

    /// Claims the partition and runs it until `shutdown`, or until it is handed over.
    async fn run_claimed(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        let (engine, partition) = (self.engine.clone(), self.partition);
        let membership = engine.membership()?;
        let claiming = async {
            let claim = membership.claim(S::NAME, partition, engine.config().partitions);
            let mut claim = pin!(claim);
            if let Ok(claim) = timeout(CLAIM_PAUSE, &mut claim).await {
                return claim;
            }
            self.forget_failures();
            self.set(PartitionState::Waiting);
            claim.await
        };
        let Some(claim) = shutdown.run_until_cancelled(claiming).await else { return Ok(()) };
        let Some(database) = shutdown.run_until_cancelled(self.database()).await else {
            claim.release().await;
            return Ok(());
        };
        let (database, service) = (database?, self.definition.service.clone());
        let stop = shutdown.child_token();
        let mut worker = Box::pin(self.run_worker(&database, &stop));
        let outcome = tokio::select! {
            outcome = &mut worker => outcome,
            outcome = measure(&*service, &database, partition, engine.statuses()) => outcome,
            lost = claim.lost() => match lost {
                ClaimLost::TakenOver => return Err(claim.taken_over()),
                ClaimLost::HandOver => {
                    tracing::info!(service = S::NAME, partition, "hands over to another process");
                    stop.cancel();
                    worker.await
                }
            },
        };
        match &outcome {
            // A worker that a test stopped stands for a killed one: it gives nothing back. One that
            // failed tries again here: another process would fail in the same way.
            Err(_) => {}
            Ok(()) => claim.release().await,
        }
        outcome
    }

    /// The service's database; it is opened now where it could not be before.
    async fn database(&self) -> Result<Database, Error> {
        let open = || self.engine.open_database::<S>();
        Ok(self.database.get_or_try_init(open).await?.clone())
    }

    /// Runs the partition without a claim, and rebuilds it when an operator asks. Two at once waste
    /// work and harm nothing.
    async fn run_worker(
        &mut self,
        database: &Database,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let stream = streams::log(S::NAME, self.partition);
        let setup = self.setup(database);
        let answering = self.answering(Ok(database.questions.clone()));
        let mut answering = pin!(answering.run());
        loop {
            self.set_unless_retrying(PartitionState::Recovering);
            let recovering = shutdown.run_until_cancelled(async {
                // Before it recovers, which may fail because of what a rebuild mends.
                if self.rebuilds.is_requested() {
                    self.rebuild_first(database).await?;
                }
                Worker::recover(&setup).await
            });
            let worker = tokio::select! {
                worker = recovering => worker,
                outcome = &mut answering => return outcome,
            };
            let Some(worker) = worker else { return Ok(()) };
            let worker = worker?;
            self.held_since.get_or_insert_with(Instant::now);
            self.set_unless_retrying(PartitionState::Held);
            let stop = shutdown.child_token();
            let rebuilding = async {
                self.rebuilds.requested().await;
                self.rebuilds.begin();
                let built = self.engine.build_beside::<S>(self.partition).await;
                stop.cancel();
                built
            };
            let redrives = &mut self.redrives;
            let running = async {
                let outcome = worker.run(redrives, &stop).await;
                // However it ended, nobody waits for a rebuild any more.
                stop.cancel();
                outcome
            };
            let both = async { tokio::join!(running, stop.run_until_cancelled(rebuilding)) };
            let appended = || setup.projected.appended();
            let (outcome, built) = {
                let (mut both, foreign) =
                    (pin!(both), watch_end(&setup.context, &stream, appended));
                let mut foreign = pin!(foreign);
                loop {
                    tokio::select! {
                        ended = &mut both => break ended,
                        outcome = &mut answering => return outcome,
                        foreign = &mut foreign => return Err(foreign),
                        () = sleep(RUNS_AGAIN_AFTER), if self.is_retrying => {
                            self.is_retrying = false;
                            let (statuses, held) = (self.engine.statuses(), PartitionState::Held);
                            statuses.set(S::NAME, self.partition, held, &setup.metrics);
                        }
                    }
                }
            };
            outcome?;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            match built {
                // Who asks meanwhile is answered from the old rows.
                Some(Ok(scratch)) => tokio::select! {
                    taken_over = self.take_over(database, scratch) => taken_over?,
                    outcome = &mut answering => return outcome,
                },
                Some(Err(error)) => self.end_rebuild(&Err(error)),
                None => {}
            }
        }
    }

    /// Rebuilds a partition that does not run. The rows may be of a log that was longer.
    async fn rebuild_first(&self, database: &Database) -> Result<(), Error> {
        self.set(PartitionState::Recovering);
        self.rebuilds.begin();
        let scratch = self.engine.build_beside::<S>(self.partition).await?;
        self.take_over(database, scratch).await?;
        self.projected.restart();
        Ok(())
    }

    /// Ends a rebuild: its rows take the place of those that there are.
    async fn take_over(&self, database: &Database, scratch: Scratch<S>) -> Result<(), Error> {
        self.engine.swap_in::<S>(database, scratch, self.partition).await?;
        self.end_rebuild(&Ok(()));
        Ok(())
    }

    fn end_rebuild(&self, rebuilt: &Result<(), Error>) {
        if let Err(error) = rebuilt {
            let (service, partition, error) = (S::NAME, self.partition, self.describe(error));
            tracing::error!(service, partition, error, "could not rebuild the partition");
        }
        self.rebuilds.end(rebuilt.as_ref().copied().map_err(|error| self.describe(error)));
    }

    fn setup(&self, database: &Database) -> Setup<S> {
        let config = self.engine.config();
        Setup {
            service: self.definition.service.clone(),
            effects: self.definition.effects,
            partition: self.partition,
            client: self.engine.nats().clone(),
            context: self.engine.context().clone(),
            monitor: self.engine.monitor().clone(),
            is_replicated: config.replicas > 1,
            database: database.clone(),
            faults: config.faults.clone(),
            clock: config.clock.clone(),
            projected: self.projected.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// What answers questions; while the partition fails, with the reason.
    fn answering(&self, rows: Result<AnyPool, String>) -> Answering<S> {
        Answering {
            service: self.definition.service.clone(),
            partition: self.partition,
            client: self.engine.nats().clone(),
            rows,
            projected: self.projected.clone(),
            redrives: self.redrive.clone(),
            rebuilds: self.rebuilds.clone(),
        }
    }

    /// Runs the partition without a claim, until a failure that is not expected.
    pub(crate) async fn run_unclaimed(mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        let database = self.database().await?;
        loop {
            match Box::pin(self.run_worker(&database, shutdown)).await {
                Err(error) if error.is_expected() => sleep(RESTART_PAUSE).await,
                outcome => return outcome,
            }
        }
    }
}

/// How often a partition has failed in a row, after one more failure. A try that never held the
/// partition has not run, however long it took: a database that is silent fails each only after a while.
fn failures_after(before: u32, held_for: Option<Duration>) -> u32 {
    if held_for.is_some_and(|held_for| held_for > STABLE_AFTER) { 1 } else { before + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: u32, held_for_s: Option<u64>, then: u32) {
        assert_eq!(failures_after(before, held_for_s.map(Duration::from_secs)), then);
    }

    #[test]
    fn a_failure_is_the_first_one_only_after_the_partition_was_held_for_a_while() {
        check(0, None, 1);
        check(1, None, 2);
        check(5, None, 6);
        check(1, Some(29), 2);
        check(5, Some(31), 1);
    }
}
