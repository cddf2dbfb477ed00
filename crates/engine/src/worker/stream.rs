//! A stream as an input: tasks of its own read it ahead into a [`Window`], and the worker takes from
//! that.
//!
//! They read as fast as messages arrive, whatever the worker does meanwhile. So a message of a shop
//! that has nothing else waiting is in the window soon, however long the backlog of another is. They
//! also decode the messages that the window keeps.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream;
use protocol::id::Shop;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Service, Source,
    jetstream::reader::{Deliveries, Delivery, Selection, StoredMessage, follow, read_some},
    projection::positions::{Position, Positions, parse_after},
    worker::{
        inputs::{Input, is_wanted, shop_of},
        window::{BatchCapacity, Request, Window},
    },
};

/// Shops of a source whose messages are read again at the same time.
const MAX_REREADS: usize = 4;
/// How long a command, and with it the later ones of its shop, waits for a replica before it is
/// handled all the same.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(5);

/// What the streams of a worker have in common.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) context: jetstream::Context,
    /// Notified when something has come.
    pub(crate) wake: Arc<Notify>,
    pub(crate) shutdown: CancellationToken,
}

/// A stream, and what has been read of it.
pub(crate) struct InputStream<S: Service>(Arc<Shared<S>>);

struct Shared<S: Service> {
    source: &'static str,
    /// For another service's log: the events of it that matter.
    wanted: Option<&'static Source>,
    selection: Selection,
    reading: Reading,
    window: Mutex<Window<Waiting<S>>>,
    /// Notified when the window may have room again.
    room: Notify,
    /// Messages that are not in the window yet.
    unread: AtomicU64,
    /// Why it cannot be read any further.
    failed: Mutex<Option<Error>>,
    /// Whether it was read further, or cannot be, since the last [`InputStream::settle`].
    has_moved: AtomicBool,
}

/// A message in the window.
pub(crate) struct Waiting<S: Service> {
    arrived: Instant,
    stored_at: Option<i64>,
    /// How much of other services' logs its sender had seen.
    after: Option<String>,
    lines: usize,
    input: Box<Input<S>>,
}

impl<S: Service> InputStream<S> {
    /// Begins to read behind `position`, until `reading` is shut down.
    pub(crate) fn open(
        reading: Reading,
        source: &'static str,
        wanted: Option<&'static Source>,
        selection: Selection,
        position: Position,
    ) -> Self {
        let Reading { context, shutdown, .. } = reading.clone();
        let at = position.sequence;
        let own_wake = Arc::new(Notify::new());
        let queue = follow(context, selection.clone(), at, S::NAME, own_wake, shutdown.clone());
        let shared = Arc::new(Shared {
            source,
            wanted,
            selection,
            reading,
            window: Mutex::new(Window::new(position)),
            room: Notify::new(),
            unread: AtomicU64::new(0),
            failed: Mutex::new(None),
            has_moved: AtomicBool::new(false),
        });
        tokio::spawn(shutdown.run_until_cancelled_owned(shared.clone().fill(queue)));
        let stream = Self(shared);
        stream.read_again();
        stream
    }

    pub(crate) fn source(&self) -> &'static str {
        self.0.source
    }

    /// How many messages can be taken now.
    pub(crate) fn waiting(&self) -> usize {
        self.0.window().len().1
    }

    /// Whether there is something to note although no message can be taken: it was read further, or
    /// cannot be.
    pub(crate) fn has_moved(&self) -> bool {
        self.0.has_moved.load(Ordering::Relaxed)
    }

    /// How far each shop is when what was taken is handled.
    pub(crate) fn by_shop(&self) -> Position {
        self.0.window().by_shop()
    }

    /// The messages that are not yet handled, and when the oldest of those that are in memory was
    /// stored, in milliseconds since 1970.
    pub(crate) fn lag(&self) -> (u64, Option<i64>) {
        let window = self.0.window();
        let oldest = window.first().filter_map(|waiting| waiting.stored_at).min();
        let messages = window.len().0 as u64 + window.left_out();
        (messages + self.0.unread.load(Ordering::Relaxed), oldest)
    }

    /// Takes inputs, the shops in turn. A shop whose next command waits for a replica that is not as
    /// far as `seen` is passed over; `held_until` says for how long.
    pub(crate) fn take(
        &self,
        room: &mut BatchCapacity,
        seen: &Positions,
        held_until: &mut Option<Instant>,
    ) -> Result<Vec<Input<S>>, Error> {
        if let Some(error) = lock(&self.0.failed).take() {
            return Err(error);
        }
        let taken = self.0.window().take(room, |waiting| match waiting.held_until(seen) {
            None => Some(waiting.lines),
            Some(until) => {
                *held_until = Some(held_until.map_or(until, |known| known.min(until)));
                None
            }
        });
        let with_position = |(waiting, position): (Waiting<S>, Position)| {
            let mut input = *waiting.input;
            input.position = Some(position);
            input
        };
        Ok(taken.into_iter().map(with_position).collect())
    }

    /// How far it is handled when everything that was taken is.
    pub(crate) fn settle(&self) -> Position {
        self.0.has_moved.store(false, Ordering::Relaxed);
        let position = self.0.window().settle().clone();
        self.0.room.notify_one();
        position
    }

    /// Reads again what was left out of the window, where there is room for it now.
    pub(crate) fn read_again(&self) {
        for request in self.0.window().request(MAX_REREADS) {
            let shutdown = self.0.reading.shutdown.clone();
            tokio::spawn(shutdown.run_until_cancelled_owned(self.0.clone().refill(request)));
        }
    }
}

impl<S: Service> Shared<S> {
    fn window(&self) -> MutexGuard<'_, Window<Waiting<S>>> {
        lock(&self.window)
    }

    /// Moves what is read into the window.
    async fn fill(self: Arc<Self>, mut queue: Deliveries) {
        while let Some(delivery) = queue.recv().await {
            match delivery {
                Delivery::Failed(error) => self.fail(error),
                Delivery::Progress(sequence) => self.window().pass(sequence),
                Delivery::Message(message) if !self.wants(&message) => {
                    self.window().pass(message.sequence);
                }
                Delivery::Message(message) => self.offer(message).await,
            }
            self.unread.store(queue.pending() + queue.len() as u64, Ordering::Relaxed);
            self.notify();
        }
    }

    async fn offer(&self, message: StoredMessage) {
        // Only this task adds shops, so that there still is room below.
        while !self.window().has_room() {
            self.room.notified().await;
        }
        let (shop, sequence, size) = (shop_of(&message.subject), message.sequence, message.size());
        // Decoded only if it is kept, and not while the worker waits for the window.
        let is_kept = self.window().keeps(&shop, size);
        let content = is_kept.then(|| Waiting::new(self.source, message));
        self.window().offer(shop, sequence, size, content);
    }

    /// Reads again what was left out.
    async fn refill(self: Arc<Self>, request: Request) {
        let Request { shop, after, until, max_messages, max_bytes } = request;
        let (context, selection) = (self.reading.context.clone(), self.selection_of(&shop));
        let bounds = (max_messages, max_bytes);
        match read_some(context, selection, after, until, S::NAME, bounds).await {
            Err(error) => self.fail(error),
            Ok((messages, reached)) => {
                let is_meant = |message: &StoredMessage| {
                    shop_of(&message.subject) == shop && self.wants(message)
                };
                let messages = messages.into_iter().filter(is_meant).map(|message| {
                    (message.sequence, message.size(), Waiting::new(self.source, message))
                });
                let messages: Vec<_> = messages.collect();
                self.window().refill(&shop, reached, messages);
            }
        }
        self.notify();
    }

    fn notify(&self) {
        self.has_moved.store(true, Ordering::Relaxed);
        self.reading.wake.notify_one();
    }

    fn fail(&self, error: Error) {
        let is_replica = self.wanted.is_some_and(|source| source.replica);
        let error = if is_replica { error.in_replica() } else { error };
        *lock(&self.failed) = Some(error);
    }

    fn wants(&self, message: &StoredMessage) -> bool {
        self.wanted.is_none_or(|source| is_wanted(source, &message.subject))
    }

    /// The messages of one shop; those whose subject names none cannot be told apart by the server.
    fn selection_of(&self, shop: &Shop) -> Selection {
        let Selection { stream, filters, .. } = self.selection.clone();
        let mut selection = Selection::new(stream, filters);
        if *shop != Shop::unknown() {
            for filter in &mut selection.filters {
                *filter = of_shop(filter, shop);
            }
        }
        selection
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The filter for one shop of a filter for all: `inbox.0.live.till.>`, `till.0.*.sold`.
fn of_shop(filter: &str, shop: &Shop) -> String {
    match filter.strip_suffix(".>") {
        Some(before) => format!("{before}.{shop}.>"),
        None => filter.replacen(".*.", &format!(".{shop}."), 1),
    }
}

impl<S: Service> Waiting<S> {
    fn new(source: &'static str, mut message: StoredMessage) -> Self {
        let (stored_at, after) = (message.stored_at, message.after.take());
        let input = Input::read(source, message);
        let lines = input.weight().max(1);
        Self { arrived: Instant::now(), stored_at, after, lines, input: Box::new(input) }
    }

    /// Until when it waits for a replica, because its sender had seen more of another service's log.
    fn held_until(&self, seen: &Positions) -> Option<Instant> {
        let is_ahead = parse_after(self.after.as_deref()?).any(|(service, sequence)| {
            sequence > seen.of_shop(service, self.input.shop.as_str())
                && S::SOURCES.iter().any(|source| source.replica && source.service == service)
        });
        let until = self.arrived + REPLICA_TIMEOUT;
        (is_ahead && until > Instant::now()).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_for_all_shops_becomes_one_for_a_shop() {
        let shop = Shop::parse("acme").expect("it is one");
        for (all, one) in [
            ("inbox.0.live.till.>", "inbox.0.live.till.acme.>"),
            ("till.0.*.sold", "till.0.acme.sold"),
            ("tariff.3.>", "tariff.3.acme.>"),
        ] {
            assert_eq!(of_shop(all, &shop), one);
        }
    }
}
