//! Rebuild: a partition's log is folded anew beside the live database, and takes its place.

use std::time::Duration;

use futures::future::{join_all, select_all, try_join_all};
use protocol::proto;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    AskError, Engine, Error, Location, Service,
    jetstream::{log::end, membership::Claim, streams},
    projection::{
        database::{Database, Format, SCRATCH},
        fold::Projection,
        positions::Positions,
        recover,
    },
    worker::rebuilds::new_rebuild_id,
};

/// How long a rebuild waits for the partitions of a process that has just been stopped.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a process that runs a partition is asked whether it is rebuilt.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long such a process may give no answer: it pauses between two tries for half as long at most,
/// and hands its partitions over sooner.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rebuilt {
    /// Events of the service's own log that were folded; 0 where a process that runs the service
    /// did it.
    pub events: u64,
    /// How long that took, without the replicas of what others own.
    pub folding: Duration,
}

/// A database that nobody else sees, and what is folded into it.
pub(crate) struct Scratch<S: Service> {
    pub(crate) database: Database,
    /// The folder of a `SQLite` file; removed with it.
    _folder: Option<TempDir>,
    pub(crate) projection: Projection<S>,
}

impl Engine {
    /// Folds a service's log anew and lets the result take the place of its database. A process that
    /// runs the service does so itself and goes on meanwhile; what nobody runs is rebuilt here.
    pub async fn rebuild<S: Service>(&self) -> Result<Rebuilt, Error> {
        let membership = self.membership()?;
        let participation = membership.participate(None).await;
        let claims = (0..self.config().partitions)
            .map(|partition| membership.acquire(S::NAME, partition, CLAIM_TIMEOUT));
        let rebuilt = match try_join_all(claims).await {
            Ok(claims) => self.rebuild_while_claimed::<S>(claims).await,
            Err(Error::LeaseHeld { .. }) => self.ask_for_rebuild::<S>().await,
            Err(error) => Err(error),
        };
        participation.leave().await;
        rebuilt
    }

    async fn rebuild_while_claimed<S: Service>(
        &self,
        claims: Vec<Claim>,
    ) -> Result<Rebuilt, Error> {
        let rebuilt = {
            let lost = select_all(claims.iter().map(|claim| {
                Box::pin(async {
                    claim.lost().await;
                    claim.taken_over()
                })
            }));
            tokio::select! {
                rebuilt = self.rebuild_here::<S>() => rebuilt,
                (lost, ..) = lost => Err(lost),
            }
        };
        join_all(claims.into_iter().map(Claim::release)).await;
        rebuilt
    }

    async fn rebuild_here<S: Service>(&self) -> Result<Rebuilt, Error> {
        let database = self.open_database::<S>().await?;
        let (mut events, started) = (0, Instant::now());
        let mut folding = Duration::ZERO;
        for partition in 0..self.config().partitions {
            let scratch = self.build_beside::<S>(partition).await?;
            events += scratch.projection.last();
            folding = started.elapsed();
            self.swap_in::<S>(&database, scratch, partition).await?;
        }
        Ok(Rebuilt { events, folding })
    }

    /// Lets the processes that run the partitions rebuild them, and waits until all have.
    async fn ask_for_rebuild<S: Service>(&self) -> Result<Rebuilt, Error> {
        let started = Instant::now();
        let client = self.client();
        for partition in 0..self.config().partitions {
            let asked = answer(|| client.rebuild(S::NAME, partition)).await?;
            loop {
                let state = answer(|| client.rebuild_state(S::NAME, partition)).await?;
                match outcome(&asked.id, state) {
                    None => sleep(POLL_INTERVAL).await,
                    Some(Ok(())) => break,
                    Some(Err(error)) => {
                        return Err(Error::Refused(format!("{}-{partition}: {error}", S::NAME)));
                    }
                }
            }
        }
        Ok(Rebuilt { events: 0, folding: started.elapsed() })
    }

    /// A scratch database for one partition.
    pub(crate) async fn scratch<S: Service>(&self, partition: u32) -> Result<Scratch<S>, Error> {
        let failed = |error: std::io::Error| Error::Open {
            service: S::NAME.to_owned(),
            url: "a temporary folder".to_owned(),
            source: error.into(),
        };
        let (location, name, folder) = match &self.config().database {
            Location::Folder(live) => {
                // Beside the live file, where there is as much space as it needs.
                let folder = tempfile::Builder::new()
                    .prefix(".scratch-")
                    .tempdir_in(live)
                    .or_else(|_| tempfile::tempdir())
                    .map_err(failed)?;
                (Location::Folder(folder.path().to_owned()), S::NAME.to_owned(), Some(folder))
            }
            postgres @ Location::Postgres(_) => {
                // Not the process id: in containers, that of two processes is often the same.
                let name = format!("{}{SCRATCH}{partition}_{}", S::NAME, new_rebuild_id());
                (postgres.clone(), name, None)
            }
        };
        let format = Format { tables: S::TABLES, version: S::FORMAT, is_scratch: true };
        let database = Database::open(&location, &name, 1, &format).await?;
        let projection = Projection::new(partition, Positions::default(), true);
        Ok(Scratch { database, _folder: folder, projection })
    }

    /// Folds a partition's log, as far as it is now, into a scratch database.
    pub(crate) async fn build_beside<S: Service>(
        &self,
        partition: u32,
    ) -> Result<Scratch<S>, Error> {
        let mut scratch = self.scratch::<S>(partition).await?;
        match self.catch_up(&mut scratch).await {
            Ok(()) => Ok(scratch),
            Err(error) => {
                scratch.discard().await?;
                Err(error)
            }
        }
    }

    /// Folds what has come since, and puts the result in the place of the live rows, in one
    /// transaction. Nobody writes the partition meanwhile; who asks it questions sees the old rows
    /// until it is done.
    pub(crate) async fn swap_in<S: Service>(
        &self,
        live: &Database,
        mut scratch: Scratch<S>,
        partition: u32,
    ) -> Result<(), Error> {
        let swapped = match self.catch_up(&mut scratch).await {
            Ok(()) => live.take_over(&scratch.database, S::NAME, partition).await,
            Err(error) => Err(error),
        };
        scratch.discard().await?;
        swapped
    }

    async fn catch_up<S: Service>(&self, scratch: &mut Scratch<S>) -> Result<(), Error> {
        let partition = scratch.projection.partition;
        let (pool, projection) = (&scratch.database.pool, &mut scratch.projection);
        let (last, _) = end(self.context(), &streams::log(S::NAME, partition)).await?;
        recover::fold_log(self.context(), pool, projection, last).await?;
        let ends = recover::replica_ends::<S>(self.context(), partition).await?;
        recover::fold_replicas(self.context(), pool, projection, &ends).await
    }
}

impl<S: Service> Scratch<S> {
    pub(crate) async fn discard(self) -> Result<(), Error> {
        Ok(self.database.discard().await?)
    }
}

/// How the rebuild of that id has ended, by the state of the one that was asked for last; `None` while
/// it goes on.
fn outcome(asked: &str, state: proto::RebuildState) -> Option<Result<(), String>> {
    let proto::RebuildState { is_rebuilding, error, id } = state;
    if id != asked {
        // Whoever runs the partition now knows nothing of it.
        let reason = "the process that rebuilt the partition was stopped or handed it over, so \
                      nobody knows whether it was rebuilt; rebuild it again";
        return Some(Err(reason.to_owned()));
    }
    if is_rebuilding {
        return None;
    }
    Some(if error.is_empty() { Ok(()) } else { Err(error) })
}

/// Asks again and again as long as a process may answer later, but not for ever. To ask twice for a
/// rebuild harms nothing: while one is under way, that is the one.
async fn answer<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, AskError>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_unavailable() && started.elapsed() < SILENCE_TIMEOUT => {
                sleep(POLL_INTERVAL).await;
            }
            answered => {
                return answered.map_err(|error| Error::Refused(crate::error::describe(&error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use protocol::proto::QueryFailureKind;

    use super::*;

    #[track_caller]
    fn check(asked: &str, (id, is_rebuilding, error): (&str, bool, &str), then: Option<&str>) {
        let state = proto::RebuildState { is_rebuilding, error: error.into(), id: id.into() };
        let outcome = outcome(asked, state).map(|ended| ended.err().unwrap_or_default());
        match (&outcome, then) {
            (None, None) => {}
            (Some(error), Some("")) => assert_eq!(error, ""),
            (Some(error), Some(then)) => assert!(error.contains(then), "{error}"),
            _ => panic!("{outcome:?}"),
        }
    }

    /// Asks somebody who gives no answer so often, and then that one.
    async fn ask_after(silences: u32, then: impl Fn() -> Result<(), AskError>) -> (String, u32) {
        let asked = Cell::new(0);
        let answered = answer(|| async {
            asked.set(asked.get() + 1);
            if asked.get() <= silences {
                return Err(AskError::Silent { service: "ledger".to_owned() });
            }
            then()
        });
        let answered = answered.await.err().map(|error| error.to_string());
        (answered.unwrap_or_default(), asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_gives_no_answer_is_asked_again_for_a_while() {
        assert_eq!(ask_after(3, || Ok(())).await, (String::new(), 4));
        let refuse = || {
            Err(AskError::Failed {
                service: "ledger".to_owned(),
                kind: QueryFailureKind::Refused,
                detail: "no".to_owned(),
            })
        };
        assert_eq!(ask_after(3, refuse).await, ("ledger: no".to_owned(), 4));
        let (silent, asked) = ask_after(u32::MAX, || Ok(())).await;
        assert_eq!(silent, "ledger does not answer");
        assert_eq!(u128::from(asked), SILENCE_TIMEOUT.as_millis() / POLL_INTERVAL.as_millis() + 1);
    }

    #[test]
    fn a_rebuild_is_done_when_the_one_that_was_asked_for_is() {
        check("a", ("a", true, ""), None);
        check("a", ("a", false, ""), Some(""));
        check("a", ("a", false, "the log is unreadable"), Some("the log is unreadable"));
        // The next one to run the partition was asked for none, or for another one.
        check("a", ("", false, ""), Some("handed it over"));
        check("a", ("b", true, ""), Some("handed it over"));
        check("a", ("b", false, ""), Some("handed it over"));
    }
}
