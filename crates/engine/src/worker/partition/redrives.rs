//! Operators' requests to handle again what is parked, or to drop it, one after the other.
//!
//! What is parked for an aggregate may be more than fits into memory, so it is read and handled in pages, in
//! turn with the batches of other inputs.

use protocol::id::Shop;
use sqlx::AnyPool;

use super::{Setup, Worker};
use crate::{
    Error, Service,
    operate::parked::{self, First, RedriveRequest},
    projection::{in_time::in_time, store},
    worker::batch::Batch,
};

/// Parked inputs that are read and handled at once: at a megabyte each they still fit into memory.
const PAGE: i64 = 50;

/// A redrive under way.
pub(super) struct Redriving {
    request: RedriveRequest,
    /// What is redriven; absent until it is known that it may be.
    aggregate: Option<(Shop, String)>,
    /// What becomes of the next input; from the second one on, each is handled as it came.
    first: First,
    /// The id of the first, where it is dropped: it is none of those that are handled.
    dropped: Option<String>,
    /// The last sequence in the log of the inputs that were read.
    after: u64,
    /// Those inputs.
    ids: Vec<String>,
    /// The batch whose rows must be in the database before it goes on.
    awaits: u64,
    /// Whether nothing more is to be handled, so that the answer can be given.
    is_done: bool,
}

impl<S: Service> Worker<'_, S> {
    /// Lets what is parked for an aggregate be handled again, in order, when the rows hold what was
    /// planned up to now: those of inputs that an earlier request has had handled are gone then.
    pub(super) fn begin_redriving(&mut self, mut request: RedriveRequest) {
        self.setup.projected.want(self.projection.last());
        let first = std::mem::take(&mut request.first);
        let is_dropped = matches!(first, First::Dropped(_));
        let dropped = is_dropped.then(|| request.id.clone());
        self.redriving = Some(Redriving {
            request,
            aggregate: None,
            first,
            dropped,
            after: 0,
            ids: Vec::new(),
            awaits: self.planned,
            is_done: false,
        });
    }

    /// Whether the redrive under way can go on.
    pub(super) fn may_redrive(&self) -> bool {
        self.redriving.as_ref().is_some_and(|redriving| redriving.awaits <= self.projected)
    }

    /// Goes on with the redrive under way: handles the next page, or answers who asked for it.
    pub(super) async fn redrive(&mut self) -> Result<(), Error> {
        let Some(mut redriving) = self.redriving.take() else { return Ok(()) };
        let (pool, partition) = (&self.setup.database.pool, self.setup.partition);
        let aggregate = match redriving.aggregate.take() {
            Some(aggregate) => aggregate,
            None => match redrivable::<S>(pool, partition, &redriving.request.id).await? {
                Ok(aggregate) => aggregate,
                Err(problem) => {
                    redriving.request.answer(Err(problem));
                    return Ok(());
                }
            },
        };
        if redriving.is_done {
            let of = (&aggregate.0, &*aggregate.1);
            let left = in_time(store::parked_ids(pool, partition, of)).await?;
            redriving.ids.retain(|id| redriving.dropped.as_ref() != Some(id));
            redriving.request.answer(Ok(parked::outcome(redriving.ids, left)));
            return Ok(());
        }
        match self.redrive_page(&mut redriving, &aggregate).await? {
            None => {
                redriving.aggregate = Some(aggregate);
                self.redriving = Some(redriving);
            }
            Some(problem) => redriving.request.answer(Err(problem)),
        }
        Ok(())
    }

    /// Handles a page of what is parked; returns why nothing can be handled at all.
    async fn redrive_page(
        &mut self,
        redriving: &mut Redriving,
        (shop, aggregate): &(Shop, String),
    ) -> Result<Option<String>, Error> {
        let Setup { database, context, partition, .. } = self.setup;
        let of = (shop, &**aggregate);
        let page = store::parked_of(&database.pool, *partition, of, redriving.after, PAGE);
        let page = in_time(page).await?;
        // What is parked beyond these rows is not in the database yet.
        let is_all = page.is_empty() && redriving.awaits == self.planned;
        let (mut batch, begun) = (Batch::empty(), redriving.ids.len());
        for row in page {
            let (id, first) = (row.id.clone(), std::mem::take(&mut redriving.first));
            redriving.after = row.log_sequence;
            match parked::input::<S>(context, row, first).await {
                Ok(input) => {
                    redriving.ids.push(id);
                    batch.push(input);
                }
                Err(problem) if redriving.ids.is_empty() => return Ok(Some(problem)),
                // Those before it are handled; it is the first one then.
                Err(problem) => {
                    tracing::warn!(service = S::NAME, partition, id, problem, "stays parked");
                    redriving.is_done = true;
                    break;
                }
            }
        }
        let is_empty = redriving.ids.len() == begun;
        if !is_empty {
            self.handle(batch).await?;
        }
        let blocked = &self.projection.blocked;
        let has_failed = redriving.ids[begun..].iter().any(|id| blocked.contains_id(id));
        redriving.is_done |= is_all || has_failed || !blocked.contains(shop, aggregate);
        if redriving.is_done || is_empty {
            self.setup.projected.want(self.projection.last());
            redriving.awaits = self.planned;
        }
        Ok(None)
    }
}

/// The aggregate of an input that is redriven, or why it is not.
async fn redrivable<S: Service>(
    pool: &AnyPool,
    partition: u32,
    id: &str,
) -> Result<Result<(Shop, String), String>, Error> {
    let Some(named) = in_time(store::parked_row(pool, id)).await? else {
        return Ok(Err(format!("{} has nothing parked under {id}", S::NAME)));
    };
    let of = (&named.shop, &*named.aggregate_id);
    let first = in_time(store::parked_of(pool, partition, of, 0, 1)).await?;
    if let Some(first) = first.first().filter(|first| first.id != named.id) {
        return Ok(Err(format!(
            "{} waits behind {}: redrive or drop that one, and the others of {} follow in order",
            named.id, first.id, named.aggregate_id
        )));
    }
    Ok(Ok((named.shop, named.aggregate_id)))
}
