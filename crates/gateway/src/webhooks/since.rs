//! Which delivery of an endpoint was the first since a time.

use events::{http::webhooks::DeliveryView, proto::notify};
use protocol::time::Timestamp;

use super::{find, view};
use crate::{extract::RequestContext, problem::Problem, state::AppState};

/// The first delivery that was scheduled at that time or later, which is the next one to be scheduled if there is
/// none, and the last delivery. Deliveries are numbered in the order in which they are scheduled, so it is found by halving.
pub(super) async fn first_since(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    since: Timestamp,
) -> Result<(u64, u64), Problem> {
    let last = find(state, context, id).await?.last_seq;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low.midpoint(high);
        match one(state, context, id, middle).await? {
            Some(delivery) if delivery.scheduled_at < since => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok((low, last))
}

/// A delivery; none when the endpoint has none of that number.
async fn one(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    seq: u64,
) -> Result<Option<DeliveryView>, Problem> {
    let question = notify::ListDeliveries {
        endpoint_id: id.to_owned(),
        from: seq,
        to: seq,
        limit: 1,
        ..Default::default()
    };
    let found = state.services.query(context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", id))?;
    Ok(found.deliveries.into_iter().next().map(view::delivery).transpose()?)
}
