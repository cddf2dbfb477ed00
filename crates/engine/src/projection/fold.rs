//! Recovery and rebuild: the projection is brought up to the log by folding it.
//!
//! From zero it is a rebuild, after a crash it is one batch, for `verify` it goes into a scratch
//! database: one code path.

use std::collections::{BTreeMap, HashMap};

use async_nats::jetstream::Context;
use events::{
    id::{Shop, hex},
    proto,
};
use prost::Message;
use sqlx::{AnyConnection, Connection};
use tokio::sync::mpsc;

use crate::{
    Error, Recorded, Service, Source, WireError,
    jetstream::reader::{Arrived, Selection, read_range},
    jetstream::streams,
    projection::positions::Positions,
    projection::store::{self, AnswerRow, Changes, LOG, ParkedRow},
    service::envelope::{self, Content},
    worker::inputs,
};

/// Events that are folded in one transaction: what happens to an aggregate in it is written once.
const CHUNK: usize = 6_000;
/// Events that are read and taken apart at once: what waits between the two is held in memory.
const PIECE: usize = 1_000;

/// Folds the service's own log into the projection, up to `end`. Returns how many events it read.
pub(crate) async fn fold_log<S: Service>(
    context: &Context,
    db: &mut AnyConnection,
    partition: u32,
    end: u64,
) -> Result<u64, Error> {
    let mut positions = Positions(store::positions(db, partition).await?);
    let from = positions.get(LOG);
    let stream = streams::log(S::NAME, partition);
    let selection = Selection { stream: stream.clone(), filters: Vec::new(), forgets: false };
    let messages = read_range(context.clone(), selection, from, end, S::NAME, PIECE);
    let mut chunks = open_chunks::<S>(messages, partition, stream.clone());
    while let Some(chunk) = chunks.recv().await {
        fold_chunk(db, partition, &stream, chunk?, &mut positions).await?;
    }
    // A reader that has ended early must not pass for a log that has.
    if positions.get(LOG) < end {
        let read = format!("it was read up to {} of {end}", positions.get(LOG));
        return Err(Error::jetstream("read all of", &stream, read));
    }
    Ok(positions.get(LOG) - from)
}

/// A piece of a log, taken apart.
struct Chunk<S: Service> {
    /// Those of the engine included.
    events: usize,
    keys: HashMap<Shop, S::Keys>,
    records: Vec<Recorded<S::Event>>,
    changes: Changes,
    positions: Positions,
}

impl<S: Service> Chunk<S> {
    fn empty() -> Self {
        Self {
            events: 0,
            keys: HashMap::new(),
            records: Vec::new(),
            changes: Changes::default(),
            positions: Positions::default(),
        }
    }
}

/// Takes pieces apart while the database works on the one before.
fn open_chunks<S: Service>(
    mut messages: mpsc::Receiver<Result<Vec<Arrived>, Error>>,
    partition: u32,
    stream: String,
) -> mpsc::Receiver<Result<Chunk<S>, Error>> {
    let (feed, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut chunk = Chunk::empty();
        // A chunk has its place in the queue before it is begun: so one is ready, and no more.
        let Ok(mut place) = feed.clone().reserve_owned().await else { return };
        while let Some(read) = messages.recv().await {
            let opened = read.and_then(|piece| open_piece(piece, partition, &stream, &mut chunk));
            if let Err(error) = opened {
                place.send(Err(error));
                return;
            }
            if chunk.events >= CHUNK {
                place.send(Ok(std::mem::replace(&mut chunk, Chunk::empty())));
                let Ok(next) = feed.clone().reserve_owned().await else { return };
                place = next;
            }
        }
        if chunk.events > 0 {
            place.send(Ok(chunk));
        }
    });
    chunks
}

fn open_piece<S: Service>(
    piece: Vec<Arrived>,
    partition: u32,
    stream: &str,
    chunk: &mut Chunk<S>,
) -> Result<(), Error> {
    chunk.events += piece.len();
    for message in piece {
        let unreadable =
            |source| Error::Log { stream: stream.to_owned(), sequence: message.sequence, source };
        let event = proto::Event::decode(message.payload)
            .map_err(|error| unreadable(WireError::from(error)))?;
        let (record, answer) = envelope::open::<S>(event).map_err(unreadable)?;
        if let Some(header) = &message.positions {
            chunk.positions.advance_to_header(header);
        }
        chunk.positions.advance(LOG, message.sequence);
        chunk.changes.note(&record, answer, message.sequence);
        match record.event {
            Content::Engine(_) => chunk.changes.note_engine(record, partition, message.sequence),
            Content::Event(_) => {
                if let Some(record) = own_event(record) {
                    let keys = chunk.keys.entry(record.shop.clone()).or_default();
                    S::event_keys(&record.event, keys);
                    chunk.records.push(record);
                }
            }
        }
    }
    Ok(())
}

async fn fold_chunk<S: Service>(
    db: &mut AnyConnection,
    partition: u32,
    stream: &str,
    chunk: Chunk<S>,
    positions: &mut Positions,
) -> Result<(), Error> {
    let from = positions.get(LOG);
    for (source, sequence) in &chunk.positions.0 {
        positions.advance(source, *sequence);
    }
    let mut states = S::load(db, &chunk.keys).await?;
    for record in &chunk.records {
        let state = states.entry(record.shop.clone()).or_default();
        let version = S::version(state, &record.event);
        if record.version != version + 1 {
            // Another worker may have projected since the position was read.
            if Positions(store::positions(db, partition).await?).get(LOG) != from {
                return Err(Error::Zombie { service: S::NAME, partition, expected: from });
            }
            return Err(Error::Version {
                stream: stream.to_owned(),
                aggregate: S::aggregate(&record.event),
                version,
                next: record.version,
            });
        }
        S::apply(state, record);
    }
    let mut tx = db.begin().await?;
    if !store::advance(&mut tx, partition, from, positions.get(LOG)).await? {
        return Err(Error::Zombie { service: S::NAME, partition, expected: from });
    }
    S::save(&mut tx, partition, &states).await?;
    store::save(&mut tx, partition, &chunk.changes).await?;
    store::save_positions(&mut tx, partition, &positions.0).await?;
    tx.commit().await?;
    Ok(())
}

fn own_event<E>(record: Recorded<Content<E>>) -> Option<Recorded<E>> {
    let Recorded { id, shop, version, time, cause, context, event } = record;
    match event {
        Content::Event(event) => Some(Recorded { id, shop, version, time, cause, context, event }),
        Content::Engine(_) => None,
    }
}

/// Brings the copies of what other services own up to the ends of their streams, or up to `ends`
/// where it names one.
pub(crate) async fn fold_copies<S: Service>(
    context: &Context,
    db: &mut AnyConnection,
    partition: u32,
    ends: Option<&BTreeMap<String, u64>>,
) -> Result<(), Error> {
    for source in S::SOURCES.iter().filter(|source| source.copy) {
        let stream = streams::log(source.service, partition);
        let end = match ends {
            Some(ends) => ends.get(source.service).copied().unwrap_or(0),
            None => crate::jetstream::log::last_sequence(context, &stream).await?,
        };
        let mut positions = Positions(store::positions(db, partition).await?);
        let (from, log) = (positions.get(source.service), positions.get(LOG));
        let selection =
            Selection { stream, filters: inputs::filters(source, partition), forgets: false };
        let mut chunks = read_range(context.clone(), selection, from, end, S::NAME, CHUNK);
        while let Some(chunk) = chunks.recv().await {
            positions.0.retain(|name, _| name == source.service);
            copy_chunk::<S>(db, (partition, log), source, chunk?, &mut positions).await?;
        }
        if end > from {
            let done = BTreeMap::from([(source.service.to_owned(), end)]);
            store::save_positions(db, partition, &done).await?;
        }
    }
    Ok(())
}

async fn copy_chunk<S: Service>(
    db: &mut AnyConnection,
    (partition, log): (u32, u64),
    source: &Source,
    chunk: Vec<Arrived>,
    positions: &mut Positions,
) -> Result<(), Error> {
    let from = positions.get(source.service);
    let mut keys: HashMap<Shop, S::Keys> = HashMap::new();
    let mut copied = Vec::with_capacity(chunk.len());
    for message in chunk {
        positions.advance(source.service, message.sequence);
        if !inputs::is_wanted(source, &message.subject) {
            continue;
        }
        // A copy that cannot be read is passed over, live as here: the other service's log keeps
        // it, and a rebuild by a version that can read it takes it in.
        let Some((shop, input)) = read_copy::<S>(&message) else { continue };
        S::keys(&input, keys.entry(shop.clone()).or_default());
        copied.push((shop, input));
    }
    let mut states = S::load(db, &keys).await?;
    for (shop, input) in &copied {
        S::copy(states.entry(shop.clone()).or_default(), input);
    }
    let mut tx = db.begin().await?;
    let is_mine = store::advance(&mut tx, partition, log, log).await?
        && Positions(store::positions(&mut tx, partition).await?).get(source.service) == from;
    if !is_mine {
        return Err(Error::Zombie { service: S::NAME, partition, expected: log });
    }
    S::save(&mut tx, partition, &states).await?;
    store::save_positions(&mut tx, partition, &positions.0).await?;
    tx.commit().await?;
    Ok(())
}

fn read_copy<S: Service>(message: &Arrived) -> Option<(Shop, S::Input)> {
    let event = proto::Event::decode(message.payload.clone()).ok()?;
    let shop = Shop::parse(&event.shop).ok()?;
    match S::foreign(event) {
        Ok(input) => Some((shop, input)),
        Err(error) => {
            tracing::error!(subject = message.subject, sequence = message.sequence, %error,
                "cannot read an event of another service");
            None
        }
    }
}

impl Changes {
    /// Notes the answer that an event carries.
    pub(crate) fn note<E>(
        &mut self,
        record: &Recorded<E>,
        answer: Option<proto::Answer>,
        sequence: u64,
    ) {
        if let Some(answer) = answer {
            self.time = self.time.max(record.time);
            self.answers.push(AnswerRow {
                shop: record.shop.clone(),
                command_id: answer.command_id,
                fingerprint: answer.fingerprint,
                body: answer.body,
                sequence,
                answered_at: record.time,
            });
        }
    }

    /// Notes an event of the engine.
    fn note_engine<E>(&mut self, record: Recorded<Content<E>>, partition: u32, sequence: u64) {
        let Content::Engine(kind) = record.event else { return };
        match kind {
            proto::engine_event::Kind::Answered(_) | proto::engine_event::Kind::Positions(_) => {}
            proto::engine_event::Kind::Parked(parked) => self.parked.push(ParkedRow {
                id: record.id.to_string(),
                partition,
                shop: record.shop,
                aggregate_id: parked.aggregate_id,
                source: parked.source,
                sequence: parked.sequence,
                subject: parked.subject,
                payload: hex(&parked.payload),
                reason: parked.reason,
                parked_at: record.time,
                log_sequence: sequence,
            }),
            proto::engine_event::Kind::Redriven(redriven) => {
                self.redriven.push(redriven.parked_id);
            }
        }
    }
}

/// Bytes from hexadecimal; `None` when it is none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// The name of the message on a subject, as causes name it: `inventory.reserved`.
pub(crate) fn cause_kind(subject: &str) -> String {
    let mut tokens = subject.split('.');
    let first = tokens.next().unwrap_or_default();
    let last = tokens.next_back().unwrap_or_default();
    if first == "inbox" { format!("command.{last}") } else { format!("{first}.{last}") }
}
