//! Voiding a message of a log that is no event, or that no version can read.

use async_nats::jetstream::Context;
use prost::Message;
use protocol::{
    actor::{ActorKind, COMMAND_LINE},
    id::{Shop, hex},
    proto::{self, engine_event::Kind},
    subject::{self, POSITIONS_HEADER},
};
use sha2::{Digest, Sha256};

use crate::{
    Aggregate, Cause, Engine, Error, Recorded, Service,
    jetstream::{
        log::{Log, last_sequence},
        publish::Outgoing,
        reader::{Selection, StoredMessage, read_range},
        streams,
    },
    projection::recover,
    service::envelope::{self, Contents},
    worker::plan::record::new_event_id,
};

/// Messages read at once.
const CHUNK: usize = 500;

/// A message of a log, as an operator sees it before voiding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voided {
    /// The sequence of the voided message.
    pub sequence: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The sequence of the event that voids it.
    pub recorded_at: u64,
}

impl Engine {
    /// Voids a message of a service's log, so that the partition passes over it. Refused when the
    /// message reads and continues its aggregate: what happened cannot be taken back.
    pub async fn void_message<S: Service>(
        &self,
        partition: u32,
        sequence: u64,
        reason: &str,
    ) -> Result<Voided, Error> {
        let stream = streams::log(S::NAME, partition);
        let message = read_one(self.context(), &stream, sequence, S::NAME).await?;
        let reads = envelope::open::<S>(&message.payload).is_ok();
        if reads && self.is_in_order::<S>(partition, sequence).await? {
            return Err(Error::Refused(format!(
                "the message {sequence} of {stream} is an event that this version reads; only what \
                 cannot be read is voided"
            )));
        }
        if is_voided(self.context(), S::NAME, partition, &message).await? {
            return Err(Error::Refused(format!("the message {sequence} of {stream} is voided")));
        }
        let sha256 = sha256(&message);
        let kind = Kind::Voided(proto::Voided {
            sequence,
            sha256: sha256.clone(),
            reason: reason.to_owned(),
        });
        let aggregate = format!("voided:{partition}-{sequence}");
        let recorded_at = self.record_engine_event::<S>(partition, kind, aggregate).await?;
        Ok(Voided { sequence, sha256, recorded_at })
    }

    /// Whether the event at `sequence` continues its aggregate. One that does not was not written by
    /// the service: a copy of an older event, for example.
    async fn is_in_order<S: Service>(&self, partition: u32, sequence: u64) -> Result<bool, Error> {
        let mut scratch = self.scratch::<S>(partition).await?;
        let (pool, projection) = (&scratch.database.pool, &mut scratch.projection);
        let folded = recover::fold_log(self.context(), pool, projection, sequence).await;
        scratch.discard().await?;
        match folded {
            Ok(_) => Ok(true),
            Err(Error::Version { sequence: at, .. }) if at == sequence => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets a service read an input anew from `sequence + 1` on: its stream was recreated or
    /// restored, so that the position means nothing any more.
    pub async fn reset_position<S: Service>(
        &self,
        partition: u32,
        source: &str,
        sequence: u64,
        reason: &str,
    ) -> Result<u64, Error> {
        let sources = crate::worker::inputs::sources::<S>(partition);
        if !sources.iter().any(|(known, _)| *known == source) {
            let known: Vec<_> = sources.iter().map(|(source, _)| *source).collect();
            return Err(Error::Refused(format!(
                "{} reads no {source:?}; it reads {}",
                S::NAME,
                known.join(", ")
            )));
        }
        let kind = Kind::PositionReset(proto::PositionReset {
            source: source.to_owned(),
            sequence,
            reason: reason.to_owned(),
        });
        let end = last_sequence(self.context(), &streams::log(S::NAME, partition)).await?;
        let aggregate = format!("position_reset:{partition}-{}", end + 1);
        self.record_engine_event::<S>(partition, kind, aggregate).await
    }

    /// Appends an event of the engine to a log that nobody writes at the moment; who does is fenced,
    /// recovers, and finds it.
    async fn record_engine_event<S: Service>(
        &self,
        partition: u32,
        kind: Kind,
        aggregate: String,
    ) -> Result<u64, Error> {
        let stream = streams::log(S::NAME, partition);
        let end = last_sequence(self.context(), &stream).await?;
        let recorded = Recorded {
            id: new_event_id(),
            shop: Shop::unknown(),
            version: 1,
            position: end + 1,
            time: self.config().clock.now(),
            actor: Some(ActorKind::Operator.actor(COMMAND_LINE)),
            cause: Cause { id: String::new(), kind: "operator".to_owned() },
            context: crate::Context::default(),
            event: (),
        };
        let name = kind.name();
        let aggregate = Aggregate { kind: "", id: aggregate };
        let contents = Contents { aggregate, engine: Some(kind), ..Contents::default() };
        let payload = envelope::seal(&recorded, contents);
        let mut headers = async_nats::HeaderMap::new();
        // It carries no position, and still ends a batch.
        headers.insert(POSITIONS_HEADER, "");
        let subject = subject::engine_event(S::NAME, partition, name);
        let message = Outgoing { subject, headers, payload: payload.into() };
        let mut log = Log::new(self.context().clone(), stream, end, self.monitor().clone());
        log.append(&[message], false).await?;
        Ok(log.last())
    }
}

/// Whether an operator has voided exactly this message.
pub(crate) async fn is_voided(
    context: &Context,
    service: &'static str,
    partition: u32,
    message: &StoredMessage,
) -> Result<bool, Error> {
    let stream = streams::log(service, partition);
    let end = last_sequence(context, &stream).await?;
    let filters = vec![format!("engine.{service}.{partition}.voided")];
    let selection = Selection::new(stream, filters);
    let mut chunks = read_range(context.clone(), selection, message.sequence, end, service, CHUNK);
    while let Some(chunk) = chunks.recv().await {
        for later in chunk? {
            let Ok(envelope) = proto::Envelope::decode(later.payload) else { continue };
            if let Some(Kind::Voided(voided)) = envelope.engine.and_then(|engine| engine.kind)
                && voided.sequence == message.sequence
                && voided.sha256 == sha256(message)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Reads one message of a stream.
pub(crate) async fn read_one(
    context: &Context,
    stream: &str,
    sequence: u64,
    service: &'static str,
) -> Result<StoredMessage, Error> {
    let missing = || Error::Refused(format!("{stream} has no message {sequence}"));
    if sequence > last_sequence(context, stream).await? {
        return Err(missing());
    }
    let selection = Selection::new(stream, Vec::new());
    let before = sequence.saturating_sub(1);
    let mut chunks = read_range(context.clone(), selection, before, sequence, service, 1);
    while let Some(chunk) = chunks.recv().await {
        if let Some(message) = chunk?.into_iter().find(|message| message.sequence == sequence) {
            return Ok(message);
        }
    }
    Err(missing())
}

fn sha256(message: &StoredMessage) -> String {
    hex(&Sha256::digest(&message.payload))
}
