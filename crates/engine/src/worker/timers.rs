//! Deadlines: when one passes, it becomes an input.
//!
//! The clock is not enough. After an outage the answers that came in time are in the input streams,
//! and the clock says that they are late. So a deadline passes in two steps: the ends of all input
//! streams are noted, and when everything up to them has been handled, what is still due passes.
//! That holds for each shop by itself: one with a backlog holds up no deadline of another.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use futures::future::{pending, try_join_all};
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Cause, Error, InternalInput, Service, StoreError, Timer,
    jetstream::log::last_sequence,
    projection::{documents::TableChanges, in_time::in_time, positions::Positions},
    service::Value,
    worker::inputs,
};

/// Deadlines that pass at once.
const MAX_DUE: i64 = 500;
/// The pause after the ends of the inputs could not be noted: a stream without a leader has none soon.
const NOTE_ENDS_PAUSE: Duration = Duration::from_secs(1);

/// The deadlines of a partition.
pub(crate) struct Timers<S: Service> {
    partition: u32,
    pool: AnyPool,
    earliest: Earliest,
    stage: Stage,
    /// The task that asks for the ends of the inputs, if one does. A stream without a leader costs it a
    /// whole timeout, and the partition handles inputs meanwhile.
    asking: JoinSet<Result<Noted, Error>>,
    /// The ends of the inputs could not be noted, and are not asked for again before.
    retry_at: Option<Instant>,
    /// By shop: what was noted when its deadlines could not pass, because it had not handled its
    /// inputs up to the ends. Noting later ends each time would hold them up as long as it is behind.
    overdue: BTreeMap<String, Noted>,
    _service: std::marker::PhantomData<fn() -> S>,
}

/// The earliest deadline.
#[derive(Debug, Default)]
struct Earliest {
    /// No deadline is earlier.
    next: Option<Timestamp>,
    /// The earliest ones of batches whose rows may not be in the database yet.
    unprojected: VecDeque<(u64, Timestamp)>,
}

impl Earliest {
    /// Notes a deadline of a row that a batch changed.
    fn note(&mut self, batch: u64, deadline: Timestamp) {
        self.unprojected.push_back((batch, deadline));
        self.next = Some(self.next.map_or(deadline, |known| known.min(deadline)));
    }

    /// Notes that the rows of `batch` are in the database.
    fn note_projected(&mut self, batch: u64) {
        while self.unprojected.front().is_some_and(|(of, _)| *of <= batch) {
            self.unprojected.pop_front();
        }
    }

    /// Notes the earliest deadline in the database. It does not know of the batches that are not in it.
    fn note_stored(&mut self, stored: Option<Timestamp>) {
        let unprojected = self.unprojected.iter().map(|(_, deadline)| *deadline);
        self.next = stored.into_iter().chain(unprojected).min();
    }
}

/// How far the next deadlines are.
#[derive(Debug)]
enum Stage {
    /// Nothing is due.
    Idle,
    /// What was due at that time passes when the inputs are handled up to the ends.
    CatchingUp { noted: Noted, caught_up: Option<CaughtUp> },
    /// What was due is handed in, with the last batch planned before it: what it leads to must be
    /// in the database before one looks again.
    HandedIn { batch: Option<u64> },
}

/// What was due at a time, and the ends of the inputs at that time.
#[derive(Debug, Clone)]
struct Noted {
    time: Timestamp,
    ends: Vec<(&'static str, u64)>,
}

/// The inputs are handled up to the ends.
#[derive(Debug, Clone)]
struct CaughtUp {
    /// The last batch at that moment: its rows must be in the database as well.
    planned: u64,
    /// The shops whose inputs were not, each with the time up to which its deadlines may pass all the
    /// same.
    behind: BTreeMap<String, Option<Timestamp>>,
}

impl Noted {
    fn is_handled_by(&self, shop: &str, positions: &Positions) -> bool {
        self.ends.iter().all(|(source, end)| positions.of_shop(source, shop) >= *end)
    }
}

impl<S: Service> Timers<S> {
    pub(crate) async fn recover(partition: u32, pool: AnyPool) -> Result<Self, StoreError> {
        let mut timers = Self {
            partition,
            pool,
            earliest: Earliest::default(),
            stage: Stage::Idle,
            asking: JoinSet::new(),
            retry_at: None,
            overdue: BTreeMap::new(),
            _service: std::marker::PhantomData,
        };
        timers.earliest.note_stored(in_time(timers.earliest_stored()).await?);
        Ok(timers)
    }

    /// Notes the deadlines of rows that a batch changed.
    pub(crate) fn follow(&mut self, batch: u64, changes: &[TableChanges]) {
        let mut earliest: Option<Timestamp> = None;
        for Timer { table, column, .. } in S::TIMERS {
            for changed in changes.iter().filter(|changes| changes.table.name == *table) {
                let columns = changed.table.columns;
                let Some(at) = columns.iter().position(|known| known.name == *column) else {
                    continue;
                };
                for (_, row) in &changed.rows {
                    let columns = row.row.as_ref().map(|row| row.columns()).unwrap_or_default();
                    if let Some(Value::Integer(Some(deadline))) = columns.get(at) {
                        let deadline = Timestamp::from_millis(*deadline);
                        earliest = Some(earliest.map_or(deadline, |known| known.min(deadline)));
                    }
                }
            }
        }
        if let Some(earliest) = earliest {
            self.earliest.note(batch, earliest);
        }
    }

    /// Looks again at once: something that held deadlines up is gone with the rows of `batch`.
    pub(crate) fn look_again(&mut self, batch: u64, now: Timestamp) {
        self.earliest.note(batch, now);
    }

    /// Whether the ends of the inputs are to be noted.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let may_try = self.retry_at.is_none_or(|at| at <= Instant::now());
        may_try
            && self.asking.is_empty()
            && matches!(self.stage, Stage::Idle)
            && self.earliest.next.is_some_and(|next| next <= now)
    }

    /// Whether deadlines wait for what has been planned to be in the database.
    pub(crate) fn waits_for_rows(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Begins to ask for the ends of the inputs, as they are from now on.
    pub(crate) fn ask_for_ends(
        &mut self,
        context: &async_nats::jetstream::Context,
        now: Timestamp,
    ) {
        let (context, sources) = (context.clone(), inputs::sources::<S>(self.partition));
        self.asking.spawn(async move {
            let ends = sources.into_iter().map(async |(source, stream)| {
                Ok::<_, Error>((source, last_sequence(&context, &stream).await?))
            });
            Ok(Noted { time: now, ends: try_join_all(ends).await? })
        });
    }

    /// Waits until the ends of the inputs are noted, for ever while nobody asks for them. When that
    /// fails, they are due again after a pause. Nothing is lost when it is given up.
    pub(crate) async fn ends_noted(&mut self) -> Result<(), Error> {
        let Some(asked) = self.asking.join_next().await else { return pending().await };
        let noted = asked.unwrap_or_else(|error| Err(Error::StepEnded(error.to_string())));
        self.retry_at = noted.is_err().then(|| Instant::now() + NOTE_ENDS_PAUSE);
        self.stage = Stage::CatchingUp { noted: noted?, caught_up: None };
        Ok(())
    }

    /// Whether the inputs are handled up to the ends that were noted, and what followed from them is
    /// in the database. `by_shop` says how far each shop is with the batches up to `planned`.
    pub(crate) fn is_ready(
        &mut self,
        by_shop: impl FnOnce() -> Positions,
        planned: u64,
        projected: u64,
    ) -> bool {
        let Stage::CatchingUp { noted, caught_up } = &mut self.stage else { return false };
        if caught_up.is_none() {
            let positions = by_shop();
            if noted.ends.iter().all(|(source, end)| positions.sequence(source) >= *end) {
                let behind = Self::behind(noted, &mut self.overdue, &positions);
                *caught_up = Some(CaughtUp { planned, behind });
            }
        }
        caught_up.as_ref().is_some_and(|caught_up| caught_up.planned <= projected)
    }

    /// The shops that have not handled their inputs up to the ends, each with the time at which ends
    /// were noted up to which it has.
    fn behind(
        noted: &Noted,
        overdue: &mut BTreeMap<String, Noted>,
        positions: &Positions,
    ) -> BTreeMap<String, Option<Timestamp>> {
        let shops = positions.iter().flat_map(|(_, position)| position.behind.keys());
        let shops = shops.filter(|shop| !noted.is_handled_by(shop, positions));
        let behind: BTreeMap<_, _> = shops
            .map(|shop| {
                let earlier = overdue.entry(shop.clone()).or_insert_with(|| noted.clone());
                let is_handled = earlier.is_handled_by(shop, positions);
                (shop.clone(), is_handled.then_some(earlier.time))
            })
            .collect();
        overdue.retain(|shop, _| behind.get(shop).is_some_and(Option::is_none));
        behind
    }

    /// Yields what is due and still waits, the longest overdue first; what is parked does not wait.
    /// Call when [`Self::is_ready`].
    pub(crate) async fn take_due(&mut self) -> Result<Vec<InternalInput<S::Input>>, StoreError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let Stage::CatchingUp { noted, caught_up: Some(CaughtUp { behind, .. }) } = stage else {
            self.stage = stage;
            return Ok(Vec::new());
        };
        let mut due = Vec::new();
        for timer in S::TIMERS {
            due.extend(in_time(self.due_of(timer, noted.time, &behind)).await?);
        }
        self.stage = Stage::HandedIn { batch: None };
        Ok(due)
    }

    /// Notes that nothing handed in waits any more behind `batch`.
    pub(crate) fn note_planned(&mut self, batch: u64) {
        if let Stage::HandedIn { batch: batch_of @ None } = &mut self.stage {
            *batch_of = Some(batch);
        }
    }

    /// Notes that the rows of `batch` are in the database, and looks for the next deadline when what
    /// was handed in is done.
    pub(crate) async fn note_projected(&mut self, batch: u64) -> Result<(), StoreError> {
        self.earliest.note_projected(batch);
        if let Stage::HandedIn { batch: Some(of) } = self.stage
            && of <= batch
        {
            self.earliest.note_stored(in_time(self.earliest_stored()).await?);
            self.stage = Stage::Idle;
        }
        Ok(())
    }

    async fn due_of(
        &self,
        timer: &Timer<S::Input>,
        time: Timestamp,
        behind: &BTreeMap<String, Option<Timestamp>>,
    ) -> Result<Vec<InternalInput<S::Input>>, StoreError> {
        let Timer { table, column, input } = *timer;
        // Not a shop that may not pass a deadline now: with 500 overdue ones it would starve others.
        let behind: Vec<_> = behind
            .iter()
            .map(|(shop, time)| (shop, time.map_or(i64::MIN, Timestamp::millis)))
            .collect();
        let statement = format!(
            "select t.shop as shop, t.key as key, t.document as document from {table} t \
             where t.partition = $1 and t.{column} <= $2 and {NOT_PARKED} \
             and not exists (select 1 from jsonb_each($4) where value->>0 = t.shop \
             and cast(value->>1 as bigint) < t.{column}) \
             order by t.{column} limit $3"
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(i64::from(self.partition))
            .bind(time.millis())
            .bind(MAX_DUE)
            .bind(serde_json::to_string(&behind)?)
            .fetch_all(&self.pool)
            .await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let (shop, key): (String, String) = (row.try_get("shop")?, row.try_get("key")?);
            let document: String = row.try_get("document")?;
            let read = input(&key, &document).map_err(|source| StoreError::Unreadable {
                table: table.to_owned(),
                key: key.clone(),
                source,
            })?;
            let Ok(shop) = Shop::parse(&shop) else { continue };
            due.push(InternalInput {
                shop,
                aggregate: key,
                cause: Cause { id: String::new(), kind: read.kind.to_owned() },
                context: read.context,
                input: read.input,
            });
        }
        Ok(due)
    }

    /// The earliest deadline in the database that nothing parked holds up.
    async fn earliest_stored(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut earliest = None;
        for Timer { table, column, .. } in S::TIMERS {
            let statement = format!(
                "select t.{column} as deadline from {table} t \
                 where t.partition = $1 and t.{column} is not null and {NOT_PARKED} \
                 order by t.{column} limit 1"
            );
            let row = sqlx::query(AssertSqlSafe(statement))
                .bind(i64::from(self.partition))
                .fetch_optional(&self.pool)
                .await?;
            let deadline = row.map(|row| row.try_get::<i64, _>("deadline")).transpose()?;
            earliest = earliest.into_iter().chain(deadline).min();
        }
        Ok(earliest.map(Timestamp::from_millis))
    }
}

/// The condition that nothing is parked for the row's aggregate.
const NOT_PARKED: &str = "not exists (select 1 from engine_parked parked \
     where parked.shop = t.shop and parked.aggregate_id = t.key)";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: i64) -> Timestamp {
        Timestamp::from_millis(time)
    }

    #[test]
    fn a_deadline_that_is_not_in_the_database_yet_is_not_forgotten() {
        let mut earliest = Earliest::default();
        // Something of batch 5 is redriven: until its rows are written, it holds deadlines up there.
        earliest.note(5, at(100));
        earliest.note_projected(4);
        earliest.note_stored(Some(at(900)));
        assert_eq!(earliest.next, Some(at(100)));
        earliest.note_projected(5);
        earliest.note_stored(Some(at(50)));
        assert_eq!(earliest.next, Some(at(50)));
        earliest.note_stored(None);
        assert_eq!(earliest.next, None);
    }

    #[test]
    fn the_earliest_deadline_is_the_next_one() {
        let mut earliest = Earliest::default();
        earliest.note_stored(Some(at(70)));
        earliest.note(1, at(90));
        assert_eq!(earliest.next, Some(at(70)));
        earliest.note(2, at(60));
        assert_eq!(earliest.next, Some(at(60)));
        earliest.note_projected(1);
        earliest.note_stored(None);
        assert_eq!(earliest.next, Some(at(60)));
    }
}
