//! Which inputs come next: a batch takes from all sources by rank, and from the shops of each in turn.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_nats::jetstream;
use protocol::{id::Shop, subject::Lane};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, InternalInput, Service,
    jetstream::{
        reader::{Recorded, Selection},
        streams,
    },
    projection::positions::{Position, Positions},
    worker::{
        inputs::{Input, filters},
        stream::{InputStream, Reading},
        window::BatchCapacity,
    },
};

/// Inputs in one batch.
pub(crate) const MAX_INPUTS: usize = 500;
/// Inputs in one batch while several shops have any: what comes next of a shop waits for the batch that is
/// being handled, so that one is short. Each step of a saga waits so.
const MAX_INPUTS_OF_SEVERAL_SHOPS: usize = 100;
/// Lines in one batch that new commands may bring (a bulk command carries many): what follows from a
/// batch, and so the wait of what is behind it, is bounded by it.
const MAX_NEW_LINES: usize = 1000;
/// The lines that bulk may bring into a batch while anything else comes as well. What comes next waits
/// for the batch that is being handled, and is then handled together with bulk once more.
const MAX_BULK_LINES_BESIDE: usize = 100;
/// How long nothing else must have come for bulk to fill batches, and nothing of a second shop for those
/// of one shop to be long.
const QUIET_TIMEOUT: Duration = Duration::from_secs(1);
/// Of a batch, the most that replicas may take, so that a long log of another service does not hold up
/// the rest.
const MAX_REPLICA_INPUTS: usize = 200;
/// Of the inputs in a batch, this share may be new commands while steps of sagas wait: what has begun
/// goes on when more commands come than can be handled.
const LIVE_SHARE: f64 = 0.4;
/// Inputs that came from no stream and wait; operations pause beyond that.
pub(crate) const MAX_INTERNAL: usize = 1000;

/// The inputs of a worker.
pub(crate) struct Inputs<S: Service> {
    streams: Vec<(Rank, InputStream<S>)>,
    /// Deadlines that have passed and outcomes of operations.
    internal: VecDeque<InternalInput<S::Input>>,
    wake: Arc<Notify>,
    /// The first of the commands that wait for a replica waits no longer than until then.
    held_until: Option<Instant>,
    shares: Shares,
}

/// How long a batch may be, and how much of it bulk may fill.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    /// When a batch last had anything but bulk and replicas in it.
    beside_bulk: Option<Instant>,
    /// When a batch last had inputs of several shops in it.
    several_shops: Option<Instant>,
}

impl Shares {
    /// The inputs that the next batch may have.
    fn inputs(&self, now: Instant) -> usize {
        if is_quiet(self.several_shops, now) { MAX_INPUTS } else { MAX_INPUTS_OF_SEVERAL_SHOPS }
    }

    /// Notes the shops of a batch, by the inputs that it has of them.
    fn note_shops<'a>(&mut self, mut shops: impl Iterator<Item = &'a Shop>, now: Instant) {
        if let Some(first) = shops.next()
            && shops.any(|shop| shop != first)
        {
            self.several_shops = Some(now);
        }
    }

    /// The lines that bulk may bring into a batch, of which `free` are left by what else is in it.
    fn bulk_lines(&mut self, is_alone: bool, now: Instant, free: usize) -> usize {
        if !is_alone {
            self.beside_bulk = Some(now);
        }
        if is_quiet(self.beside_bulk, now) { free } else { free.min(MAX_BULK_LINES_BESIDE) }
    }
}

/// Whether what came last came some time ago.
fn is_quiet(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now - last >= QUIET_TIMEOUT)
}

/// What comes first in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Replica,
    Live,
    Saga,
    Bulk,
}

/// What a worker handles next.
pub(crate) struct Batch<S: Service> {
    pub(crate) inputs: VecDeque<Input<S>>,
    /// By source: how far it is handled when all inputs of the batch are.
    pub(crate) positions: Vec<(&'static str, Position)>,
    /// Lines that new commands may still bring.
    free_lines: usize,
}

impl<S: Service> Inputs<S> {
    /// Opens all inputs of a worker at its positions.
    pub(crate) fn open(
        context: &jetstream::Context,
        partition: u32,
        positions: &Positions,
        shutdown: &CancellationToken,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let reading =
            Reading { context: context.clone(), wake: wake.clone(), shutdown: shutdown.clone() };
        let log = streams::log(S::NAME, partition);
        let open = |source: &'static str, wanted, selection: Selection| {
            let recorded = Recorded::of(log.clone(), S::NAME, partition, source);
            let selection = Selection { recorded: Some(recorded), ..selection };
            let position = positions.position(source);
            InputStream::open(reading.clone(), source, wanted, selection, position)
        };
        let lane = |lane: Lane| Selection {
            stream: streams::inbox(partition),
            filters: vec![format!("inbox.{partition}.{}.{}.>", lane.as_str(), S::NAME)],
            starts_at_first: true,
            recorded: None,
        };
        let mut streams = vec![(Rank::Live, open("inbox.live", None, lane(Lane::Live)))];
        for source in S::SOURCES {
            let rank = if source.replica { Rank::Replica } else { Rank::Saga };
            let stream = streams::log(source.service, partition);
            let filters = filters(source, partition);
            let selection = Selection::new(stream, filters);
            streams.push((rank, open(source.service, Some(source), selection)));
        }
        streams.push((Rank::Bulk, open("inbox.bulk", None, lane(Lane::Bulk))));
        let (internal, shares) = (VecDeque::new(), Shares::default());
        Self { streams, internal, wake, held_until: None, shares }
    }

    /// Hands in an input that came from no stream.
    pub(crate) fn push(&mut self, input: InternalInput<S::Input>) {
        self.internal.push_back(input);
        self.wake.notify_one();
    }

    /// Inputs that came from no stream and wait.
    pub(crate) fn internal(&self) -> usize {
        self.internal.len()
    }

    /// Waits until at least `enough` messages can be taken; if one is enough, also until there is
    /// something to note of how far a source is read. What waits for a replica counts when its time
    /// is over.
    pub(crate) async fn wait_for(&self, enough: usize) {
        loop {
            let waiting = self.streams.iter().map(|(_, stream)| stream.waiting()).sum::<usize>();
            let has_moved = || self.streams.iter().any(|(_, stream)| stream.has_moved());
            if waiting + self.internal.len() >= enough || (enough == 1 && has_moved()) {
                return;
            }
            let held_until = self.held_until;
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(held_until.unwrap_or_else(Instant::now)),
                    if held_until.is_some() => return,
            }
        }
    }

    /// By source: how far each shop is handled when everything taken so far is.
    pub(crate) fn by_shop(&self) -> Positions {
        let mut positions = Positions::default();
        for (_, stream) in &self.streams {
            positions.set(stream.source(), stream.by_shop());
        }
        positions
    }

    /// By source: the messages that are not yet handled, and when the oldest of them was stored, in
    /// milliseconds since 1970.
    pub(crate) fn lags(&self) -> impl Iterator<Item = (&'static str, u64, Option<i64>)> {
        self.streams.iter().map(|(_, stream)| {
            let (messages, oldest) = stream.lag();
            (stream.source(), messages, oldest)
        })
    }

    /// Takes all that fits into one batch: what replicas read, then new commands, the steps of
    /// sagas, and what is left of the batch for bulk. `None` when nothing can be taken now.
    pub(crate) fn take_batch(&mut self, positions: &Positions) -> Result<Option<Batch<S>>, Error> {
        let batch = self.take(positions)?;
        self.streams.iter().for_each(|(_, stream)| stream.read_again());
        let is_empty = batch.inputs.is_empty() && batch.positions.is_empty();
        Ok((!is_empty).then_some(batch))
    }

    fn take(&mut self, positions: &Positions) -> Result<Batch<S>, Error> {
        let mut batch = Batch::empty();
        let mut seen = positions.clone();
        self.held_until = None;
        self.take_ranked(Rank::Replica, MAX_REPLICA_INPUTS, &mut batch, &seen)?;
        self.settle(positions, &mut batch, |rank| rank == Rank::Replica);
        // Shop by shop: what waits of one of them says nothing about the others.
        for (_, stream) in self.streams.iter().filter(|(rank, _)| *rank == Rank::Replica) {
            seen.set(stream.source(), stream.by_shop());
        }
        let (replicas, now) = (batch.inputs.len(), Instant::now());
        let inputs = self.shares.inputs(now);
        let live = (inputs as f64 * LIVE_SHARE) as usize;
        self.take_ranked(Rank::Live, replicas + live, &mut batch, &seen)?;
        let max = MAX_INPUTS.min(replicas + inputs);
        while batch.inputs.len() < max
            && let Some(input) = self.internal.pop_front()
        {
            batch.push(Input::internal(input));
        }
        self.take_ranked(Rank::Saga, max, &mut batch, &seen)?;
        self.take_ranked(Rank::Live, max, &mut batch, &seen)?;
        let is_alone = batch.inputs.len() == replicas;
        batch.free_lines = self.shares.bulk_lines(is_alone, now, batch.free_lines);
        self.take_ranked(Rank::Bulk, max, &mut batch, &seen)?;
        self.shares.note_shops(batch.inputs.iter().map(|input| &input.shop), now);
        self.settle(positions, &mut batch, |rank| rank != Rank::Replica);
        Ok(batch)
    }

    /// Fills the batch up to `limit` inputs.
    fn take_ranked(
        &mut self,
        rank: Rank,
        limit: usize,
        batch: &mut Batch<S>,
        seen: &Positions,
    ) -> Result<(), Error> {
        let is_new = matches!(rank, Rank::Live | Rank::Bulk);
        let lines = if is_new { batch.free_lines } else { usize::MAX };
        let mut room = BatchCapacity {
            inputs: limit.saturating_sub(batch.inputs.len()),
            lines,
            // An import always gets on, by one command a batch at least.
            at_least_one: rank == Rank::Bulk,
        };
        take_in_turn(&mut self.streams, rank, &mut room, |stream, room| {
            batch.inputs.extend(stream.take(room, seen, &mut self.held_until)?);
            Ok(())
        })?;
        if is_new {
            batch.free_lines = room.lines;
        }
        Ok(())
    }

    /// Notes how far the streams are handled with the batch, where that differs from `positions`.
    fn settle(&self, positions: &Positions, batch: &mut Batch<S>, is_meant: impl Fn(Rank) -> bool) {
        for (_, stream) in self.streams.iter().filter(|(rank, _)| is_meant(*rank)) {
            let position = stream.settle();
            if position != positions.position(stream.source()) {
                batch.positions.push((stream.source(), position));
            }
        }
    }
}

/// Takes from all streams of a rank. When there is no room for all that waits, another one comes first the
/// next time.
fn take_in_turn<T>(
    streams: &mut Vec<(Rank, T)>,
    rank: Rank,
    room: &mut BatchCapacity,
    mut take: impl FnMut(&T, &mut BatchCapacity) -> Result<(), Error>,
) -> Result<(), Error> {
    let had_room = room.is_there();
    for (_, stream) in streams.iter().filter(|(of, _)| *of == rank) {
        take(stream, room)?;
    }
    if had_room
        && !room.is_there()
        && let Some(first) = streams.iter().position(|(of, _)| *of == rank)
    {
        let first = streams.remove(first);
        streams.push(first);
    }
    Ok(())
}

impl<S: Service> Batch<S> {
    pub(crate) fn empty() -> Self {
        Self { inputs: VecDeque::new(), positions: Vec::new(), free_lines: MAX_NEW_LINES }
    }

    /// Adds an input.
    pub(crate) fn push(&mut self, input: Input<S>) {
        self.inputs.push_back(input);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Takes batches from sources in which so many wait; `then` is how many of each are in a batch.
    #[track_caller]
    fn check_turns(waiting: &[usize], then: &[&[usize]]) {
        let stream = |(number, count): (usize, &usize)| (number, Cell::new(*count));
        let streams = waiting.iter().enumerate().map(stream);
        let mut streams: Vec<_> = streams.map(|stream| (Rank::Saga, stream)).collect();
        for expected in then {
            // What has come before left no room.
            let mut none = BatchCapacity { inputs: 0, lines: usize::MAX, at_least_one: false };
            take_in_turn(&mut streams, Rank::Saga, &mut none, |_, _| Ok(())).expect("it is taken");
            let mut taken = vec![0; waiting.len()];
            let mut room = BatchCapacity { inputs: 500, ..none };
            let taking = take_in_turn(&mut streams, Rank::Saga, &mut room, |stream, room| {
                let (number, waiting) = stream;
                taken[*number] = waiting.get().min(room.inputs);
                waiting.set(waiting.get() - taken[*number]);
                room.inputs -= taken[*number];
                Ok(())
            });
            taking.expect("it is taken");
            assert_eq!(taken, *expected);
        }
    }

    #[test]
    fn a_source_with_a_backlog_holds_up_no_other() {
        check_turns(&[2_000, 1], &[&[500, 0], &[499, 1], &[500, 0], &[500, 0], &[1, 0]]);
        check_turns(&[2_000, 900, 1], &[&[500, 0, 0], &[0, 500, 0], &[499, 0, 1]]);
        check_turns(&[1, 2], &[&[1, 2], &[0, 0]]);
    }

    #[test]
    fn bulk_fills_batches_only_when_nothing_else_comes() {
        let (mut shares, start) = (Shares::default(), Instant::now());
        assert_eq!(shares.bulk_lines(true, start, MAX_NEW_LINES), MAX_NEW_LINES);
        assert_eq!(shares.bulk_lines(false, start, MAX_NEW_LINES), MAX_BULK_LINES_BESIDE);
        assert_eq!(
            shares.bulk_lines(true, start + QUIET_TIMEOUT / 2, MAX_NEW_LINES),
            MAX_BULK_LINES_BESIDE
        );
        assert_eq!(shares.bulk_lines(true, start + QUIET_TIMEOUT / 2, 7), 7);
        assert_eq!(shares.bulk_lines(true, start + QUIET_TIMEOUT, MAX_NEW_LINES), MAX_NEW_LINES);
    }

    #[test]
    fn batches_are_short_while_several_shops_have_inputs() {
        let shop = |name: &str| Shop::parse(name).expect("a name");
        let (calm, busy) = (shop("calm"), shop("busy"));
        let (mut shares, start) = (Shares::default(), Instant::now());
        shares.note_shops([&busy, &busy].into_iter(), start);
        shares.note_shops([].into_iter(), start);
        assert_eq!(shares.inputs(start), MAX_INPUTS);
        shares.note_shops([&busy, &calm, &busy].into_iter(), start);
        assert_eq!(shares.inputs(start), MAX_INPUTS_OF_SEVERAL_SHOPS);
        shares.note_shops([&busy].into_iter(), start + QUIET_TIMEOUT / 2);
        assert_eq!(shares.inputs(start + QUIET_TIMEOUT / 2), MAX_INPUTS_OF_SEVERAL_SHOPS);
        assert_eq!(shares.inputs(start + QUIET_TIMEOUT), MAX_INPUTS);
    }
}
