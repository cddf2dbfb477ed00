//! Questions to the service, and what they find.

use engine::WireError;
use events::{
    proto::notify::{self, notify_question::Question as Asked},
    questions::page,
    type_filter::TypeFilter,
};
use prost::Message;

use super::{facts, id, settings};
use crate::{
    domain::{
        Endpoint,
        ledger::{Replay, ReplayState},
    },
    query::{Delivery, Found, Pace, Question, Range},
};

/// Reads a question.
pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = notify::NotifyQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetEndpoint(it) => Question::Endpoint { id: id(&it.endpoint_id)? },
        Asked::ListEndpoints(notify::ListEndpoints { after, limit }) => {
            Question::Endpoints { after, limit }
        }
        Asked::ListDeliveries(it) => Question::Deliveries {
            range: Range { id: id(&it.endpoint_id)?, from: it.from, to: it.to },
            state: Some(it.state).filter(|state| !state.is_empty()),
            filter: match &*it.event_type {
                "" => None,
                filter => Some(TypeFilter::parse(filter)?),
            },
            stream: Some(it.stream).filter(|stream| !stream.is_empty()),
            limit: it.limit,
        },
        Asked::GetDelivery(it) => {
            Question::Delivery { id: id(&it.endpoint_id)?, seq: it.endpoint_seq }
        }
        Asked::GetSealedValues(it) => Question::SealedValues { id: id(&it.endpoint_id)? },
        Asked::GetProof(it) => {
            Question::Proof(Range { id: id(&it.endpoint_id)?, from: it.from, to: it.to })
        }
    })
}

/// Writes what a question has found.
pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Endpoint(row) => endpoint(&row.0, &row.1, Some(row.2)).encode_to_vec(),
        Found::Endpoints { endpoints, has_more } => {
            let endpoints = endpoints.iter().map(|(id, row, pace)| endpoint(id, row, Some(*pace)));
            let (endpoints, has_more) = page(endpoints, has_more);
            notify::Endpoints { endpoints, has_more }.encode_to_vec()
        }
        Found::Deliveries { deliveries, next } => {
            let deliveries = deliveries.into_iter().map(delivery).collect();
            notify::Deliveries { deliveries, next }.encode_to_vec()
        }
        Found::Delivery(found, attempts) => notify::DeliveryWithAttempts {
            delivery: Some(delivery(*found)),
            attempts: attempts.into_iter().map(super::attempts::write).collect(),
        }
        .encode_to_vec(),
        Found::SealedValues(values) => {
            let values = values.iter().map(settings::write_sealed).collect();
            notify::SealedValues { values }.encode_to_vec()
        }
        Found::Proof(proof) => notify::Proof {
            from: proof.from,
            to: proof.to,
            matched: proof.matched,
            sent: proof.sent,
            delivered: proof.delivered,
            open: proof.open.into_iter().map(delivery).collect(),
            has_more: proof.has_more,
        }
        .encode_to_vec(),
    }
}

fn delivery(delivery: Delivery) -> notify::Delivery {
    notify::Delivery {
        endpoint_seq: delivery.seq,
        event_type: delivery.event_type,
        service: delivery.service,
        position: delivery.position,
        state: delivery.state.to_owned(),
        failed_attempts: delivery.failed_attempts,
        due_at: delivery.due_at.map(Into::into),
        error_class: delivery.error_class,
        status: delivery.status.into(),
        scheduled_at: Some(delivery.scheduled_at.into()),
        event_id: delivery.event_id,
    }
}

/// Writes an endpoint, and how fast it is sent to where that is known.
pub(super) fn endpoint(id: &str, endpoint: &Endpoint, pace: Option<Pace>) -> notify::Endpoint {
    let ledger = &endpoint.ledger;
    let (fresh, held) = (ledger.fresh(), ledger.held.len());
    let (pending, held) = match endpoint.disabled {
        Some(_) => (0, held + fresh),
        None => (fresh, held),
    };
    notify::Endpoint {
        id: id.to_owned(),
        settings: Some(settings::write(&endpoint.settings)),
        disabled: endpoint.disabled.map_or(0, |reason| facts::write_reason(reason).into()),
        version: endpoint.settings_version,
        created_at: Some(endpoint.created_at.into()),
        updated_at: Some(endpoint.updated_at.into()),
        // In an answer to a change, that is when it was made; a question has left out what has expired since.
        secrets: endpoint.signing(endpoint.updated_at).count() as u32,
        last_seq: ledger.last_seq,
        attempted_through: ledger.attempted.through(),
        delivered: ledger.delivered(),
        pending,
        held,
        retrying: ledger.retrying(),
        held_behind: ledger.behind,
        exhausted: ledger.exhausted,
        aborted: ledger.aborted,
        failing_since: ledger.health.failing.as_ref().map(|failing| failing.since.into()),
        paused_until: ledger.health.paused_until.map(Into::into),
        replays: ledger.replays.iter().map(replay).collect(),
        recent: pace
            .map(|pace| notify::RecentAttempts { accepted: pace.accepted, failed: pace.failed }),
        lag_ms: pace.and_then(|pace| pace.lag).map(|lag| lag.as_millis() as u64),
        public_key: endpoint
            .secrets
            .first()
            .and_then(|newest| newest.public_key.clone())
            .unwrap_or_default(),
    }
}

fn replay(replay: &Replay) -> notify::Replay {
    let state = match replay.state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
    };
    notify::Replay {
        id: replay.id.clone(),
        from: replay.from,
        to: replay.to,
        selection: facts::write_selection(replay.selection).into(),
        through: replay.through,
        sent: replay.sent,
        state: state.to_owned(),
        started_at: Some(replay.started_at.into()),
        max_per_second: replay.max_per_second,
    }
}
