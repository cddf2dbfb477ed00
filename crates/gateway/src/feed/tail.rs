//! The end of a shop's feed, which is read once for all streams that have come there.
//!
//! A stream reads by itself until nothing follows, and then follows the tail. It leaves out what it has
//! sent already, so it may begin to follow at any time. When it falls behind, or the tail cannot be read,
//! it reads by itself again from where it is: nothing is kept for it, and it learns itself what is wrong.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use engine::{Client, ShopChanges};
use protocol::id::Shop;
use tokio::{select, sync::broadcast, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    cursor::Begin,
    pace::{FIRST_LOOK, GATHER_INTERVAL, MAX_LOOK_INTERVAL, PAGE_LENGTH},
    reader::{FeedError, FeedReader, Found, changes},
    types::WantedTypes,
    write::write_event,
};
use crate::problem::Problem;

/// Steps that a stream may be behind before it reads by itself.
const MAX_STEPS_BEHIND: usize = 32;
/// How much longer it is waited after a notice for each stream, since what is read is sent to each.
const GATHER_FOR_EACH: Duration = Duration::from_micros(20);

/// How often in turn a log may not be readable until each stream finds out by itself, and the pause before
/// the next try.
const MAX_FAILURES: u32 = 3;
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// An event that is sent to several streams: it is rendered once.
#[derive(Debug)]
pub(super) struct SharedEvent {
    found: Found,
    text: OnceLock<String>,
}

impl From<Found> for SharedEvent {
    fn from(found: Found) -> Self {
        Self { found, text: OnceLock::new() }
    }
}

impl SharedEvent {
    pub(super) fn service(&self) -> &'static str {
        self.found.service
    }

    pub(super) fn position(&self) -> u64 {
        self.found.position
    }

    pub(super) fn event_type(&self) -> &str {
        &self.found.event_type
    }

    /// The event as it leaves the system.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let mut bytes = Vec::new();
        write_event(&self.found, &mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|error| Problem::internal(&error))?;
        Ok(self.text.get_or_init(|| text))
    }
}

/// By service: up to where its log is read.
pub(super) type ReadTo = BTreeMap<&'static str, u64>;

/// What was read at once.
#[derive(Debug)]
pub(super) struct Step {
    /// All public events of the shop, in their order.
    pub(super) events: Vec<SharedEvent>,
    pub(super) read_to: ReadTo,
    /// Whether no event followed.
    pub(super) is_at_end: bool,
}

impl Step {
    pub(super) fn new(events: Vec<Found>, read_to: ReadTo, is_at_end: bool) -> Self {
        Self { events: events.into_iter().map(SharedEvent::from).collect(), read_to, is_at_end }
    }
}

/// The tails that streams follow, by shop.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<HashMap<Shop, Weak<Tail>>>);

/// The end of a shop's feed; it is read as long as a stream follows it.
#[derive(Debug)]
struct Tail {
    /// Gone when the tail cannot be read any more.
    steps: broadcast::WeakSender<Arc<Step>>,
    /// Up to where it was read, with the step that is sent next.
    read_to: Arc<Mutex<ReadTo>>,
    _reading: AbortOnDropHandle<()>,
}

/// A stream that follows a tail.
#[derive(Debug)]
pub(super) struct Following {
    steps: broadcast::Receiver<Arc<Step>>,
    /// Up to where the tail was read when the stream began to follow it.
    pub(super) from: ReadTo,
    _tail: Arc<Tail>,
}

impl Following {
    /// The next step; `None` when the stream has to read by itself.
    pub(super) async fn next(&mut self) -> Option<Arc<Step>> {
        // Too far behind, or the tail cannot be read any more.
        self.steps.recv().await.ok()
    }
}

impl Tails {
    /// Begins to follow the tail of a shop; `None` when it cannot be read now.
    pub(super) async fn follow(
        &self,
        client: Client,
        shop: &Shop,
    ) -> Result<Option<Following>, Problem> {
        if let Some(following) = self.tail(shop).and_then(Tail::follow) {
            return Ok(Some(following));
        }
        // Before the first look: what is published after it is noticed.
        let changes = changes(&client, shop).await?;
        let types = WantedTypes::default();
        let reader = FeedReader::open(client, shop.clone(), types, Begin::End).await?;
        let tail = Arc::new(Tail::start(reader, changes));
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|_, tail| tail.strong_count() > 0);
        // Two may come here at once: then each has its own.
        tails.insert(shop.clone(), Arc::downgrade(&tail));
        Ok(tail.follow())
    }

    fn tail(&self, shop: &Shop) -> Option<Arc<Tail>> {
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.get(shop)?.upgrade()
    }
}

impl Tail {
    fn start(reader: FeedReader, changes: ShopChanges) -> Self {
        let (sender, _) = broadcast::channel(MAX_STEPS_BEHIND);
        let steps = sender.downgrade();
        let read_to = Arc::new(Mutex::new(reader.read_to()));
        let reading = tokio::spawn(run(reader, changes, sender, read_to.clone()));
        Self { steps, read_to, _reading: AbortOnDropHandle::new(reading) }
    }

    fn follow(self: Arc<Self>) -> Option<Following> {
        // In this order: what was sent before the stream began to receive is up to `from`.
        let steps = self.steps.upgrade()?.subscribe();
        let from = self.read_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(Following { steps, from, _tail: self })
    }
}

/// Reads the tail until it cannot be read. Whoever follows then finds out why.
async fn run(
    mut reader: FeedReader,
    mut changes: ShopChanges,
    steps: broadcast::Sender<Arc<Step>>,
    read_to: Arc<Mutex<ReadTo>>,
) {
    let (mut pause, mut failures) = (Duration::ZERO, 0);
    loop {
        select! {
            () = changes.changed(), if !pause.is_zero() => {
                let streams = u32::try_from(steps.receiver_count()).unwrap_or(u32::MAX);
                sleep(GATHER_INTERVAL + GATHER_FOR_EACH.saturating_mul(streams)).await;
                pause = FIRST_LOOK;
            }
            () = sleep(pause) => pause = (pause.max(FIRST_LOOK) * 2).min(MAX_LOOK_INTERVAL),
        }
        let mut page = reader.page();
        match reader.read(&mut page, PAGE_LENGTH).await {
            Ok(()) => failures = 0,
            // Nothing was given out. All streams at once would make it worse.
            Err(FeedError::Log { .. }) if failures < MAX_FAILURES => {
                failures += 1;
                pause = FAILURE_PAUSE;
                continue;
            }
            Err(_) => return,
        }
        // What is no event has no type: each stream counts it by itself.
        if page.logs.values().any(|covered| covered.unreadable > 0) {
            return;
        }
        if !page.is_at_end {
            pause = Duration::ZERO;
        }
        if page.has_moved() {
            let step = Step::new(page.events, reader.read_to(), page.is_at_end);
            // First noted, then sent: see `Tail::follow`.
            read_to.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&step.read_to);
            steps.send(Arc::new(step)).ok();
        }
    }
}
