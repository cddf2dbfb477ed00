//! Webhook endpoints and deliveries as the API shows them.

use std::collections::BTreeMap;

use events::{
    http::{
        Open,
        webhooks::{
            AttemptView, DeliveryView, DisabledReason, EndpointStatistics, EndpointStatus,
            EndpointView, Ordering, Payload, ProofView, ReplaySelection, ReplayView,
        },
    },
    proto::notify,
};
use protocol::time::Timestamp;

use crate::view::ViewError;

/// An endpoint, without its secret.
pub(super) fn endpoint(endpoint: notify::Endpoint) -> Result<EndpointView, ViewError> {
    let settings = endpoint.settings.clone().unwrap_or_default();
    let disabled_reason = disabled(endpoint.disabled);
    let is_disabled = disabled_reason.is_some();
    let status = if is_disabled { EndpointStatus::Disabled } else { EndpointStatus::Active };
    Ok(EndpointView {
        statistics: statistics(&endpoint),
        status: status.into(),
        ordering: ordering(settings.ordering),
        payload: payload(settings.payload),
        headers: settings.headers.into_iter().map(|header| header.name).collect(),
        id: endpoint.id,
        url: settings.url,
        event_types: settings.event_types,
        description: settings.description,
        max_per_second: settings.max_per_second,
        max_in_flight: settings.max_in_flight,
        retry_pauses_s: settings.retry_pauses_s,
        disabled_reason,
        secrets: endpoint.secrets,
        public_key: Some(endpoint.public_key).filter(|key| !key.is_empty()),
        version: endpoint.version,
        created_at: Timestamp::parse(endpoint.created_at.as_ref())?,
        updated_at: Timestamp::parse(endpoint.updated_at.as_ref())?,
        failing_since: Timestamp::parse_optional(endpoint.failing_since.as_ref())?,
        paused_until: Timestamp::parse_optional(endpoint.paused_until.as_ref())?,
        replays: endpoint.replays.into_iter().map(replay).collect::<Result<_, _>>()?,
        secret: None,
    })
}

/// What became of the deliveries of an endpoint.
pub(crate) fn statistics(endpoint: &notify::Endpoint) -> EndpointStatistics {
    EndpointStatistics {
        last_seq: endpoint.last_seq,
        attempted_through: endpoint.attempted_through,
        delivered: endpoint.delivered,
        pending: endpoint.pending,
        held: endpoint.held,
        retrying: endpoint.retrying,
        held_behind: endpoint.held_behind,
        exhausted: endpoint.exhausted,
        aborted: endpoint.aborted,
        success_percent: endpoint.recent.and_then(|recent| {
            let percent = (recent.accepted * 100).checked_div(recent.accepted + recent.failed);
            percent.map(|percent| percent as u32)
        }),
        lag_ms: endpoint.lag_ms,
    }
}

// A value of a later version is shown by its number.

fn ordering(ordering: i32) -> Open<Ordering> {
    let known = notify::Ordering::try_from(ordering).ok().map(|known| match known {
        notify::Ordering::PerKey => Ordering::PerKey,
        notify::Ordering::Fifo => Ordering::Fifo,
        notify::Ordering::Parallel | notify::Ordering::Unspecified => Ordering::Parallel,
    });
    Open::read(ordering, known)
}

fn payload(payload: i32) -> Open<Payload> {
    let known = notify::Payload::try_from(payload).ok().map(|known| match known {
        notify::Payload::Thin => Payload::Thin,
        notify::Payload::Full | notify::Payload::Unspecified => Payload::Full,
    });
    Open::read(payload, known)
}

fn disabled(reason: i32) -> Option<Open<DisabledReason>> {
    let known = match notify::DisabledReason::try_from(reason) {
        Ok(notify::DisabledReason::Unspecified) => return None,
        Ok(notify::DisabledReason::Requested) => Some(DisabledReason::Requested),
        Ok(notify::DisabledReason::Gone) => Some(DisabledReason::Gone),
        Ok(notify::DisabledReason::Instructed) => Some(DisabledReason::Instructed),
        Ok(notify::DisabledReason::Failing) => Some(DisabledReason::Failing),
        Err(_) => None,
    };
    Some(Open::read(reason, known))
}

/// A replay.
pub(super) fn replay(replay: notify::Replay) -> Result<ReplayView, ViewError> {
    let known = notify::ReplaySelection::try_from(replay.selection).ok().map(|known| match known {
        notify::ReplaySelection::Missing => ReplaySelection::Missing,
        notify::ReplaySelection::Failed => ReplaySelection::Failed,
        notify::ReplaySelection::All | notify::ReplaySelection::Unspecified => ReplaySelection::All,
    });
    let selection = Open::read(replay.selection, known);
    Ok(ReplayView {
        id: replay.id,
        from: replay.from,
        to: replay.to,
        selection,
        through: replay.through,
        sent: replay.sent,
        max_per_second: replay.max_per_second,
        state: replay.state,
        started_at: Timestamp::parse(replay.started_at.as_ref())?,
    })
}

/// A delivery.
pub(super) fn delivery(delivery: notify::Delivery) -> Result<DeliveryView, ViewError> {
    Ok(DeliveryView {
        endpoint_seq: delivery.endpoint_seq,
        event_id: Some(delivery.event_id).filter(|id| !id.is_empty()),
        event_type: delivery.event_type,
        stream: delivery.service,
        position: delivery.position,
        state: delivery.state,
        failed_attempts: delivery.failed_attempts,
        due_at: Timestamp::parse_optional(delivery.due_at.as_ref())?,
        last_error: delivery.error_class,
        last_status: Some(delivery.status).filter(|status| *status > 0),
        scheduled_at: Timestamp::parse(delivery.scheduled_at.as_ref())?,
        attempts: None,
    })
}

/// A delivery with its attempts; `None` when there is none.
pub(super) fn delivery_with_attempts(
    found: notify::DeliveryWithAttempts,
) -> Result<Option<DeliveryView>, ViewError> {
    let Some(found_delivery) = found.delivery else { return Ok(None) };
    let attempts = found.attempts.into_iter().map(attempt).collect::<Result<_, _>>()?;
    Ok(Some(DeliveryView { attempts: Some(attempts), ..delivery(found_delivery)? }))
}

fn attempt(attempt: notify::Attempt) -> Result<AttemptView, ViewError> {
    let at = Timestamp::parse(attempt.at.as_ref())?;
    Ok(AttemptView {
        number: attempt.number,
        at,
        latency_us: attempt.latency_us,
        status: Some(attempt.status).filter(|status| *status > 0),
        request_headers: request_headers(&attempt, at),
        error: attempt.error_class,
        is_replay: attempt.is_replay,
        response_excerpt: attempt.response_excerpt,
        instruction: Some(attempt.instruction).filter(|it| !it.is_empty()),
    })
}

/// What stands for a value that is secret.
const REDACTED: &str = "[redacted]";

/// The headers that the request of an attempt had.
fn request_headers(attempt: &notify::Attempt, at: Timestamp) -> BTreeMap<String, String> {
    if attempt.message_id.is_empty() {
        return BTreeMap::new();
    }
    let own = attempt.own_headers.iter().map(|name| (name.to_lowercase(), REDACTED.to_owned()));
    let given = [
        ("traceparent", attempt.traceparent.clone()),
        ("webhook-replay", if attempt.is_replay { "1".to_owned() } else { String::new() }),
    ];
    let always = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", attempt.user_agent.clone()),
        ("webhook-id", attempt.message_id.clone()),
        ("webhook-timestamp", (at.millis() / 1_000).to_string()),
        ("webhook-signature", REDACTED.to_owned()),
        ("webhook-attempt", attempt.number.to_string()),
    ];
    let given = given.into_iter().filter(|(_, value)| !value.is_empty());
    own.chain(always.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)))
        .collect()
}

/// What a receiver compares with what it has.
pub(super) fn proof(proof: notify::Proof) -> Result<ProofView, ViewError> {
    Ok(ProofView {
        from: proof.from,
        to: proof.to,
        matched: proof.matched,
        sent: proof.sent,
        delivered: proof.delivered,
        open: proof.open.into_iter().map(delivery).collect::<Result<_, _>>()?,
        has_more: proof.has_more,
    })
}
