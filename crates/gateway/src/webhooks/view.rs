//! Webhook endpoints and deliveries as the API shows them.

use events::{
    http::webhooks::{
        DeliveryView, DisabledReason, EndpointStatistics, EndpointStatus, EndpointView, Ordering,
        Payload, ProofView, ReplaySelection, ReplayView,
    },
    proto::notify,
};
use protocol::time::Timestamp;

use crate::view::ViewError;

/// An endpoint, without its secret.
pub(super) fn endpoint(endpoint: notify::Endpoint) -> Result<EndpointView, ViewError> {
    let settings = endpoint.settings.clone().unwrap_or_default();
    let disabled_reason = disabled(endpoint.disabled());
    let is_disabled = disabled_reason.is_some();
    Ok(EndpointView {
        statistics: statistics(&endpoint),
        status: if is_disabled { EndpointStatus::Disabled } else { EndpointStatus::Active },
        ordering: match settings.ordering() {
            notify::Ordering::PerKey => Ordering::PerKey,
            notify::Ordering::Fifo => Ordering::Fifo,
            notify::Ordering::Parallel | notify::Ordering::Unspecified => Ordering::Parallel,
        },
        payload: match settings.payload() {
            notify::Payload::Thin => Payload::Thin,
            notify::Payload::Full | notify::Payload::Unspecified => Payload::Full,
        },
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
        version: endpoint.version,
        created_at: Timestamp::parse(endpoint.created_at.as_ref())?,
        updated_at: Timestamp::parse(endpoint.updated_at.as_ref())?,
        failing_since: endpoint
            .failing_since
            .map(|time| Timestamp::parse(Some(&time)))
            .transpose()?,
        paused_until: endpoint
            .paused_until
            .map(|time| Timestamp::parse(Some(&time)))
            .transpose()?,
        replays: endpoint.replays.into_iter().map(replay).collect::<Result<_, _>>()?,
        secret: None,
    })
}

fn statistics(endpoint: &notify::Endpoint) -> EndpointStatistics {
    EndpointStatistics {
        last_seq: endpoint.last_seq,
        attempted_through: endpoint.attempted_through,
        delivered: endpoint.delivered,
        pending: endpoint.pending,
        held: endpoint.held,
        retrying: endpoint.retrying,
        exhausted: endpoint.exhausted,
        aborted: endpoint.aborted,
    }
}

fn disabled(reason: notify::DisabledReason) -> Option<DisabledReason> {
    match reason {
        notify::DisabledReason::Unspecified => None,
        notify::DisabledReason::Requested => Some(DisabledReason::Requested),
        notify::DisabledReason::Gone => Some(DisabledReason::Gone),
        notify::DisabledReason::Instructed => Some(DisabledReason::Instructed),
        notify::DisabledReason::Failing => Some(DisabledReason::Failing),
    }
}

/// A replay.
pub(super) fn replay(replay: notify::Replay) -> Result<ReplayView, ViewError> {
    let selection = match replay.selection() {
        notify::ReplaySelection::Missing => ReplaySelection::Missing,
        notify::ReplaySelection::Failed => ReplaySelection::Failed,
        notify::ReplaySelection::All | notify::ReplaySelection::Unspecified => ReplaySelection::All,
    };
    Ok(ReplayView {
        id: replay.id,
        from: replay.from,
        to: replay.to,
        selection,
        through: replay.through,
        sent: replay.sent,
        state: replay.state,
        started_at: Timestamp::parse(replay.started_at.as_ref())?,
    })
}

/// A delivery.
pub(super) fn delivery(delivery: notify::Delivery) -> Result<DeliveryView, ViewError> {
    Ok(DeliveryView {
        endpoint_seq: delivery.endpoint_seq,
        event_type: delivery.event_type,
        stream: delivery.service,
        position: delivery.position,
        state: delivery.state,
        failed_attempts: delivery.failed_attempts,
        due_at: delivery.due_at.map(|time| Timestamp::parse(Some(&time))).transpose()?,
        last_error: delivery.error_class,
        last_status: Some(delivery.status).filter(|status| *status > 0),
        scheduled_at: Timestamp::parse(delivery.scheduled_at.as_ref())?,
    })
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
