//! Which delivery of an endpoint was the first since a time, or since a position in a log.

use events::{http::webhooks::DeliveryView, proto::notify};
use protocol::{id::ParseError, time::Timestamp};

use super::{find, view};
use crate::{
    extract::RequestContext,
    feed::types::SERVICES,
    fields::{Errors, Path, integer, object, text, within},
    json::Node,
    problem::Problem,
    state::AppState,
};

/// The log of the operational events and the test deliveries, which no feed has.
const OPERATIONAL: &str = "notify";

/// From where on deliveries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Since {
    /// Those that were scheduled at this time or later.
    Time(Timestamp),
    /// The first one whose event is in this log at this position or later, and all after it.
    Position {
        /// The service that writes the log.
        stream: String,
        position: u64,
    },
}

impl Since {
    /// Reads a position in a log, as `meta` of each delivery says it.
    pub(super) fn position(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Self> {
        object(node, path, errors, |fields| {
            let stream = fields.required("stream", text(stream));
            let position = fields.required("position", integer(position));
            Some(Self::Position { stream: stream?, position: position? })
        })
    }

    /// Whether a delivery comes before it. Both the times and the positions in one log ascend with the numbers of the
    /// deliveries.
    fn is_after(&self, delivery: &DeliveryView) -> bool {
        match self {
            Self::Time(time) => delivery.scheduled_at < *time,
            Self::Position { position, .. } => delivery.position < *position,
        }
    }

    /// The log whose events are looked at; empty: all are.
    fn stream(&self) -> &str {
        match self {
            Self::Time(_) => "",
            Self::Position { stream, .. } => stream,
        }
    }
}

fn stream(text: &str) -> Result<String, ParseError> {
    let is_known = text == OPERATIONAL || SERVICES.contains(&text);
    let rule = "must be the meta.stream of a delivery, such as order";
    is_known.then(|| text.to_owned()).ok_or_else(|| ParseError::new("stream", rule, text))
}

fn position(number: i64) -> Result<u64, ParseError> {
    let rule = "must be the meta.position of a delivery: 1 or more";
    within("position", rule, 1..=i64::MAX, number).map(|position| position as u64)
}

/// The first delivery from there on, which is the next one to be scheduled if there is none, and the last delivery.
/// It is found by halving.
pub(super) async fn first_since(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    since: &Since,
) -> Result<(u64, u64), Problem> {
    let last = find(state, context, id).await?.last_seq;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low.midpoint(high);
        match first_of(state, context, id, since.stream(), (middle, high - 1)).await? {
            Some(delivery) if since.is_after(&delivery) => low = delivery.endpoint_seq + 1,
            _ => high = middle,
        }
    }
    Ok((low, last))
}

/// The first delivery between two numbers whose event is in a log; none where there is no such delivery.
async fn first_of(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    stream: &str,
    (mut from, to): (u64, u64),
) -> Result<Option<DeliveryView>, Problem> {
    loop {
        let question = notify::ListDeliveries {
            endpoint_id: id.to_owned(),
            from,
            to,
            stream: stream.to_owned(),
            limit: 1,
            ..Default::default()
        };
        let found = state.services.query(context, question).await?;
        let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", id))?;
        if let Some(delivery) = found.deliveries.into_iter().next() {
            return Ok(Some(view::delivery(delivery)?));
        }
        // A page looks at so many deliveries and no more.
        if found.next == 0 {
            return Ok(None);
        }
        from = found.next;
    }
}
