//! Bringing a projection up to its log: from zero it is a rebuild, after a crash it is one batch, for
//! `verify` it goes into a scratch database. One code path.

use std::panic::{AssertUnwindSafe, catch_unwind};

use async_nats::jetstream::Context;
use prost::Message;
use protocol::{
    id::Shop,
    proto::{self, engine_event::Kind},
    subject,
};
use sqlx::AnyPool;
use tokio::task::JoinHandle;

use crate::{
    Error, Service, Source, State,
    jetstream::{
        reader::{Selection, StoredMessage, read_last, read_range},
        streams,
    },
    projection::{
        fold::{Changes, FoldError, Projection, panic_text},
        in_time::in_time,
        positions::{LOG, Position, Positions},
        store,
        voided::VoidedMessages,
    },
    worker::inputs::{self, Content, Input},
};

/// Events whose rows are written in one transaction: what happens to a row in it is written once.
const EVENTS_PER_COMMIT: usize = 80_000;
/// Messages that are read and folded at once.
const CHUNK: usize = 1_000;
/// Rows that stay in memory from one commit to the next.
const MAX_ROWS: usize = 300_000;

/// The projection of a partition as the database has it.
pub(crate) async fn open<S: Service>(
    pool: &AnyPool,
    partition: u32,
) -> Result<Projection<S>, Error> {
    let mut db = pool.acquire().await?;
    let positions = store::positions(&mut db, partition).await?;
    let is_empty = positions == Positions::default();
    let mut projection = Projection::new(partition, positions, is_empty);
    projection.days = store::days(&mut db, partition).await?;
    projection.blocked = store::blocked(&mut db, partition).await?;
    Ok(projection)
}

/// Writes changes while the next ones are being folded.
struct Writer {
    pool: AnyPool,
    partition: u32,
    durable: Positions,
    writing: Option<JoinHandle<Result<(), Error>>>,
}

impl Writer {
    fn new<S: Service>(pool: &AnyPool, projection: &Projection<S>) -> Self {
        Self {
            pool: pool.clone(),
            partition: projection.partition,
            durable: projection.positions.clone(),
            writing: None,
        }
    }

    async fn write<S: Service>(&mut self, changes: Changes) -> Result<(), Error> {
        self.finish().await?;
        let from = std::mem::replace(&mut self.durable, changes.positions.clone());
        let (pool, partition) = (self.pool.clone(), self.partition);
        self.writing = Some(tokio::spawn(async move {
            store::commit::<S>(&pool, partition, &from, &changes).await
        }));
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        match self.writing.take() {
            None => Ok(()),
            Some(writing) => {
                writing.await.unwrap_or_else(|error| Err(Error::StepEnded(error.to_string())))
            }
        }
    }
}

/// Folds the service's own log into the projection, up to `end`. Returns how many messages it read.
pub(crate) async fn fold_log<S: Service>(
    context: &Context,
    pool: &AnyPool,
    projection: &mut Projection<S>,
    end: u64,
) -> Result<u64, Error> {
    let from = projection.last();
    if from >= end {
        return Ok(0);
    }
    let stream = streams::log(S::NAME, projection.partition);
    projection.forgotten_later = forgotten_until::<S>(context, projection.partition, end).await?;
    let voided = VoidedMessages::read(context, S::NAME, projection.partition, from).await?;
    let selection = Selection::new(&stream, Vec::new());
    let mut chunks = read_range(context.clone(), selection, from, end, S::NAME, CHUNK);
    let mut writer = Writer::new(pool, projection);
    let mut folded = 0;
    projection.begin_batch();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        folded += chunk.len();
        fold_chunk(pool, projection, &mut writer, &stream, &chunk, &voided).await?;
        if folded >= EVENTS_PER_COMMIT {
            folded = 0;
            commit(projection, &mut writer).await?;
        }
    }
    // A reader that has ended early must not pass for a log that has.
    if projection.last() < end {
        let read = format!("it was read up to {} of {end}", projection.last());
        return Err(Error::jetstream("read all of", &stream, read));
    }
    commit(projection, &mut writer).await?;
    writer.finish().await?;
    projection.forgotten_later = 0;
    Ok(projection.last() - from)
}

/// The sequence before which the log, up to `end`, forgets answers to commands: a fold of it need not
/// write them first. 0 when it forgets none.
async fn forgotten_until<S: Service>(
    context: &Context,
    partition: u32,
    end: u64,
) -> Result<u64, Error> {
    let log = streams::log(S::NAME, partition);
    let subject = subject::engine_event(S::NAME, partition, "answers_forgotten");
    let Some(message) = read_last(context, &log, &subject).await? else { return Ok(0) };
    let envelope = proto::Envelope::decode(message.payload).ok();
    match envelope.and_then(|envelope| envelope.engine?.kind) {
        Some(Kind::AnswersForgotten(forgotten)) if message.sequence <= end => Ok(forgotten.before),
        _ => Ok(0),
    }
}

async fn commit<S: Service>(
    projection: &mut Projection<S>,
    writer: &mut Writer,
) -> Result<(), Error> {
    let changes = projection.take_changes();
    // The write before is over from here on, so its rows can be fetched again.
    writer.write::<S>(changes).await?;
    if projection.rows_in_memory() > MAX_ROWS {
        writer.finish().await?;
        projection.evict_all_before_this_batch();
    }
    projection.begin_batch();
    Ok(())
}

async fn fold_chunk<S: Service>(
    pool: &AnyPool,
    projection: &mut Projection<S>,
    writer: &mut Writer,
    stream: &str,
    chunk: &[StoredMessage],
    voided: &VoidedMessages,
) -> Result<(), Error> {
    if projection.has_all_rows() {
        for message in chunk {
            if voided.contains(message) {
                projection.settle();
                projection.pass_over(message.sequence);
                continue;
            }
            let positions = message.positions.as_deref();
            if let Err(error) = projection.fold(message.sequence, &message.payload, positions) {
                return Err(not_folded::<S>(
                    pool,
                    (projection.partition, projection.durable()),
                    stream,
                    message,
                    error,
                )
                .await?);
            }
        }
        projection.settle();
        return Ok(());
    }
    // Which rows all of them look for, so that they are fetched at once.
    for message in chunk.iter().filter(|message| !voided.contains(message)) {
        let shop = shop_of(message);
        projection.begin(&shop);
        projection.fold(message.sequence, &message.payload, None).ok();
        projection.undo(&shop);
    }
    if projection.is_any_missing() {
        writer.finish().await?;
        projection.load_missing(pool).await?;
    }
    for message in chunk {
        if voided.contains(message) {
            projection.pass_over(message.sequence);
            continue;
        }
        let shop = shop_of(message);
        loop {
            projection.begin(&shop);
            let positions = message.positions.as_deref();
            let folded = projection.fold(message.sequence, &message.payload, positions);
            if projection.is_missing(&shop) {
                projection.undo(&shop);
                writer.finish().await?;
                projection.load_missing(pool).await?;
                continue;
            }
            match folded {
                Ok(()) => projection.keep(&shop),
                Err(error) => {
                    projection.undo(&shop);
                    return Err(not_folded::<S>(
                        pool,
                        (projection.partition, projection.durable()),
                        stream,
                        message,
                        error,
                    )
                    .await?);
                }
            }
            break;
        }
    }
    Ok(())
}

/// The shop of a message of a log, or that of none.
fn shop_of(message: &StoredMessage) -> Shop {
    let envelope = proto::Envelope::decode(message.payload.clone()).ok();
    let shop = envelope.and_then(|envelope| Shop::parse(&envelope.shop).ok());
    shop.unwrap_or_else(Shop::unknown)
}

/// Why a message cannot be folded into the projection of a partition that is written up to `expected`.
async fn not_folded<S: Service>(
    pool: &AnyPool,
    (partition, expected): (u32, u64),
    stream: &str,
    message: &StoredMessage,
    error: FoldError,
) -> Result<Error, Error> {
    // Another worker may have written rows since the position was read: they are of later events.
    let positions = in_time(async {
        let mut db = pool.acquire().await?;
        store::positions(&mut db, partition).await
    });
    if positions.await?.sequence(LOG) > expected {
        return Ok(Error::Superseded { service: S::NAME, partition, expected });
    }
    let (service, stream, sequence) = (S::NAME, stream.to_owned(), message.sequence);
    Ok(match error {
        FoldError::Unreadable(source) => {
            Error::Unreadable { service, partition, stream, sequence, source }
        }
        FoldError::Version { aggregate, version, next } => {
            Error::Version { service, partition, stream, sequence, aggregate, version, next }
        }
        FoldError::Panicked(reason) => Error::Fold { stream, sequence, reason },
    })
}

/// Brings the replicas of what other services own up to `end` of each, in the service's own
/// database.
pub(crate) async fn fold_replicas<S: Service>(
    context: &Context,
    pool: &AnyPool,
    projection: &mut Projection<S>,
    ends: &Positions,
) -> Result<(), Error> {
    let mut writer = Writer::new(pool, projection);
    for source in S::SOURCES.iter().filter(|source| source.replica) {
        let (from, to) =
            (projection.positions.position(source.service), ends.position(source.service));
        if from.towards(&to, to.sequence) == from {
            continue;
        }
        let stream = streams::log(source.service, projection.partition);
        let filters = inputs::filters(source, projection.partition);
        let selection = Selection::new(stream, filters);
        let (begin, end) = (from.of_all(), to.sequence);
        let mut chunks = read_range(context.clone(), selection, begin, end, S::NAME, CHUNK);
        while let Some(chunk) = chunks.recv().await {
            let mut chunk = chunk?;
            let last = chunk.last().map_or(begin, |message| message.sequence);
            // What is handled at the one position and not yet at the other.
            chunk.retain(|StoredMessage { sequence, subject, .. }| {
                let shop = inputs::shop_of(subject);
                (from.of(shop.as_str()) + 1..=to.of(shop.as_str())).contains(sequence)
            });
            let position = from.towards(&to, last);
            replicate_chunk(pool, projection, &mut writer, source, chunk, position).await?;
        }
        projection.positions.set(source.service, from.towards(&to, end));
        commit(projection, &mut writer).await?;
    }
    writer.finish().await
}

async fn replicate_chunk<S: Service>(
    pool: &AnyPool,
    projection: &mut Projection<S>,
    writer: &mut Writer,
    source: &Source,
    chunk: Vec<StoredMessage>,
    position: Position,
) -> Result<(), Error> {
    let wanted = chunk.into_iter().filter(|message| inputs::is_wanted(source, &message.subject));
    let read: Vec<_> = wanted.map(|message| Input::<S>::read(source.service, message)).collect();
    for is_last_try in [false, true] {
        for input in &read {
            let Content::Decide(fact) = &input.content else {
                if is_last_try {
                    tracing::error!(
                        subject = input.subject,
                        sequence = input.sequence,
                        "cannot read an event of another service"
                    );
                }
                continue;
            };
            loop {
                projection.begin(&input.shop);
                // What cannot be taken in was logged when it came, and leaves no trace here either.
                projection.replicate(&input.shop, fact, input.payload.contains(&0));
                if is_last_try && projection.is_missing(&input.shop) {
                    projection.undo(&input.shop);
                    writer.finish().await?;
                    projection.load_missing(pool).await?;
                    continue;
                }
                if is_last_try {
                    projection.keep(&input.shop);
                } else {
                    projection.undo(&input.shop);
                }
                break;
            }
        }
        if !is_last_try && projection.is_any_missing() {
            writer.finish().await?;
            projection.load_missing(pool).await?;
        }
    }
    projection.positions.set(source.service, position);
    commit(projection, writer).await
}

impl<S: Service> Projection<S> {
    /// Folds a fact of another service into the replica of it, and returns why it cannot: a rule
    /// that panics, or a row that a database would refuse, leaves no trace.
    pub(crate) fn replicate(
        &mut self,
        shop: &Shop,
        fact: &S::Input,
        may_hold_nul: bool,
    ) -> Option<String> {
        let state = &mut self.state(shop).service;
        let done = catch_unwind(AssertUnwindSafe(|| {
            S::replicate(state, fact);
            state.tables().iter().find_map(|rows| rows.refusal(may_hold_nul))
        }));
        let failure = done.unwrap_or_else(|panic| Some(panic_text(&*panic)))?;
        for rows in state.tables() {
            rows.undo();
            rows.begin();
        }
        Some(failure)
    }
}

/// The ends of the logs that a service holds replicas of.
pub(crate) async fn replica_ends<S: Service>(
    context: &Context,
    partition: u32,
) -> Result<Positions, Error> {
    let mut ends = Positions::default();
    for source in S::SOURCES.iter().filter(|source| source.replica) {
        let stream = streams::log(source.service, partition);
        ends.set(source.service, crate::jetstream::log::last_sequence(context, &stream).await?);
    }
    Ok(ends)
}

/// Whether the position in the log is beyond its end.
pub(crate) fn is_beyond<S: Service>(projection: &Projection<S>, end: u64) -> bool {
    projection.positions.sequence(LOG) > end
}
