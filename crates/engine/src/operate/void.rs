//! Voiding a message of a log that is no event, or that no version can read.

use protocol::{
    actor::{ActorKind, COMMAND_LINE},
    id::Shop,
    proto::{self, engine_event::Kind},
    subject::{self, POSITIONS_HEADER},
};

use crate::{
    Aggregate, Cause, Engine, Error, Recorded, Service,
    jetstream::{
        log::{Log, last_sequence},
        publish::Outgoing,
        reader::read_one,
        streams,
    },
    projection::{
        fold::is_replica,
        recover,
        voided::{VoidedMessages, sha256},
    },
    service::envelope::{self, Contents, new_event_id},
    worker::inputs,
};

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
        let before = sequence.saturating_sub(1);
        let voided = VoidedMessages::read(self.context(), S::NAME, partition, before).await?;
        if voided.contains(&message) {
            return Err(Error::Refused(format!("the message {sequence} of {stream} is voided")));
        }
        let reads = envelope::open::<S>(&message.payload).is_ok();
        if reads && self.is_in_order::<S>(partition, sequence).await? {
            return Err(Error::Refused(format!(
                "the message {sequence} of {stream} is an event that this version reads; only what \
                 cannot be read is voided"
            )));
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
    /// restored, so that the position means nothing any more. Refused for a replica.
    pub async fn reset_position<S: Service>(
        &self,
        partition: u32,
        source: &str,
        sequence: u64,
        reason: &str,
    ) -> Result<u64, Error> {
        let sources = inputs::sources::<S>(partition);
        if !sources.iter().any(|(known, _)| *known == source) {
            let known: Vec<_> = sources.iter().map(|(source, _)| *source).collect();
            return Err(Error::Refused(format!(
                "{} reads no {source:?}; it reads {}",
                S::NAME,
                known.join(", ")
            )));
        }
        if is_replica::<S>(source) {
            let replica = source.to_owned();
            return Err(Error::ReplicaPosition { service: S::NAME, replica });
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
