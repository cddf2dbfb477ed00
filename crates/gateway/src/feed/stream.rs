//! The feed as Server-Sent Events: a page after the other, as long as the reader takes them.
//!
//! | event | means |
//! |---|---|
//! | without a name | an event of the shop, in the form of CloudEvents; its id is the cursor behind it |
//! | `page` | what was looked at for the events since the one before: `logs`, `next` and `at_end` of a page |
//! | `end` | the stream ends, and why; the reader may go on from the last id |
//! | a comment | nothing has happened for a while |
//!
//! One page is read ahead of the one that is sent, and no more. hyper asks for the next event when it has sent
//! enough of those before it: a reader for which that takes long is cut off. Who has come to the end
//! follows the [`tail`](super::tail) with the others.

use std::{collections::BTreeMap, convert::Infallible, future, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use engine::ShopChanges;
use futures::Stream;
use protocol::id::Shop;
use serde_json::json;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ahead::ReadAhead,
    cursor::{Begin, Cursor},
    pace::{FIRST_LOOK, GATHER_INTERVAL, MAX_LOOK_INTERVAL},
    reader::{Covered, FeedReader},
    tail::{Following, ReadTo, Step},
    types::WantedTypes,
    write::body,
};
use crate::{
    api_key::Caller, managed_keys::STREAM_CHECK_INTERVAL, problem::Problem,
    request::RequestContext, state::AppState,
};

/// After how long without an event a comment says that the stream is alive. Shorter than proxies wait.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// After how long a reader that lost its connection is to come back, in milliseconds.
const RETRY: Duration = Duration::from_secs(1);

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks proxies such as nginx not to hold events back.
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether a client asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let mut types = accepted.flat_map(|accepted| accepted.split(','));
    types.any(|it| it.split(';').next().is_some_and(|it| it.trim() == "text/event-stream"))
}

/// The cursor with which a client comes back, if it does.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(&LAST_EVENT_ID)?.to_str().ok().filter(|id| !id.is_empty())
}

/// Streams what the reader reads.
pub(super) fn respond(
    state: Arc<AppState>,
    context: RequestContext,
    types: WantedTypes,
    reader: FeedReader,
    changes: ShopChanges,
) -> Response {
    let feed = FeedStream::new(state, context, types, reader, changes);
    let mut response = Sse::new(feed.events()).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    response
}

/// A reader's stream.
struct FeedStream {
    state: Arc<AppState>,
    shop: Shop,
    caller: Caller,
    types: WantedTypes,
    /// Where the client is.
    cursor: Cursor,
    /// Reads until the end is reached.
    pages: ReadAhead,
    /// What it has read of the logs.
    read_to: ReadTo,
    changes: ShopChanges,
    /// The tail, which the reader has not reached yet.
    joining: Option<Following>,
    /// The tail, from when the reader has reached it.
    following: Option<Following>,
    sending: Option<Sending>,
    greeting: Option<Event>,
    /// When the last event was handed over.
    handed_over: Instant,
    /// When a comment is due.
    heartbeat: Instant,
    /// When it is looked next whether the key is still accepted, and the shop still good.
    key_check: Instant,
    /// The pause before the next look.
    pause: Duration,
    has_ended: bool,
}

/// What was read, on its way to the client.
struct Sending {
    step: Arc<Step>,
    /// The next of its events.
    next: usize,
    logs: BTreeMap<&'static str, Covered>,
}

impl FeedStream {
    fn new(
        state: Arc<AppState>,
        context: RequestContext,
        types: WantedTypes,
        reader: FeedReader,
        changes: ShopChanges,
    ) -> Self {
        let now = Instant::now();
        Self {
            state: state.clone(),
            shop: context.shop,
            caller: context.caller,
            types,
            cursor: reader.cursor(),
            read_to: reader.read_to(),
            pages: ReadAhead::new(state, reader),
            changes,
            joining: None,
            following: None,
            sending: None,
            // The first bytes go out at once: the client then knows that it is connected.
            greeting: Some(Event::default().retry(RETRY).comment("connected")),
            handed_over: now,
            heartbeat: now + HEARTBEAT_INTERVAL,
            key_check: now + STREAM_CHECK_INTERVAL,
            pause: Duration::ZERO,
            has_ended: false,
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut feed| {
            let event = feed.next().await?;
            feed.handed_over = Instant::now();
            Some((Ok(event), feed))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        if self.handed_over.elapsed() > self.state.limits.stream_stall_timeout {
            return Some(self.end("slow_reader", "the events were not received fast enough"));
        }
        match self.next_event().await {
            Ok(event) => Some(event),
            Err(problem) => Some(self.fail(&problem)),
        }
    }

    async fn next_event(&mut self) -> Result<Event, Problem> {
        loop {
            if self.caller.has_expired(self.state.clock.now()) {
                return Ok(self.end("unauthorized", "the API key has expired: use another one"));
            }
            if self.key_check <= Instant::now() {
                self.key_check = Instant::now() + STREAM_CHECK_INTERVAL;
                let AppState { services, managed_keys, clock, .. } = &*self.state;
                managed_keys.check(services, &self.caller, clock.now()).await?;
                self.state.shops.require(services, &self.shop, 0).await?;
            }
            if let Some(event) = self.send()? {
                self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                return Ok(event);
            }
            let reads_alone = self.following.is_none();
            select! {
                () = self.state.shutdown.cancelled() => {
                    return Ok(self.end("shutdown", "the gateway stops: connect again"));
                }
                () = sleep_until(self.key_check) => continue,
                () = sleep_until(self.heartbeat) => {
                    self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                    return Ok(Event::default().comment("nothing has happened"));
                }
                step = next_step(&mut self.following) => {
                    match step {
                        Some(step) => self.take(step),
                        None => self.read_alone().await?,
                    }
                    continue;
                }
                () = self.changes.changed(), if reads_alone && !self.pause.is_zero() => {
                    sleep(GATHER_INTERVAL).await;
                    self.pause = FIRST_LOOK;
                }
                () = sleep(self.pause), if reads_alone => {
                    self.pause = (self.pause.max(FIRST_LOOK) * 2).min(MAX_LOOK_INTERVAL);
                }
            }
            self.look().await?;
        }
    }

    /// The next event of what is on its way, and the page behind the last one.
    fn send(&mut self) -> Result<Option<Event>, Problem> {
        let Some(sending) = &mut self.sending else { return Ok(None) };
        while let Some(event) = sending.step.events.get(sending.next) {
            sending.next += 1;
            let (service, position) = (event.service(), event.position());
            let is_new = sending.logs.get(service).is_some_and(|it| position > it.from);
            if is_new && self.types.matches(event.event_type()) {
                self.cursor.advance(service, position);
                let id = self.cursor.encode(&self.shop);
                return Ok(Some(Event::default().id(id).data(event.text()?)));
            }
        }
        for (service, covered) in &sending.logs {
            self.cursor.advance(service, covered.to);
        }
        let next = self.cursor.encode(&self.shop);
        let page = body(&sending.logs, sending.step.is_at_end, &next).to_string();
        self.sending = None;
        Ok(Some(Event::default().event("page").id(next).data(page)))
    }

    /// Reads the next page.
    async fn look(&mut self) -> Result<(), Problem> {
        let page = self.pages.page().await?;
        self.read_to = page.logs.iter().map(|(service, covered)| (*service, covered.to)).collect();
        if page.is_at_end {
            self.join().await;
        } else {
            self.pause = Duration::ZERO;
        }
        if page.has_moved() {
            let step = Step::new(page.events, self.read_to.clone(), page.is_at_end);
            self.sending = Some(Sending { step: Arc::new(step), next: 0, logs: page.logs });
        }
        Ok(())
    }

    /// Follows the tail from when everything that it was read up to is read here as well.
    async fn join(&mut self) {
        if self.joining.is_none() {
            let client = self.state.services.client();
            match self.state.feeds.tails.follow(client, &self.shop).await {
                Ok(tail) => self.joining = tail,
                // This stream reads on by itself, and ends when that fails.
                Err(problem) => tracing::debug!(shop = %self.shop, ?problem, "no tail to follow"),
            }
        }
        let reaches = |tail: &mut Following| {
            self.read_to
                .iter()
                .all(|(service, to)| tail.from.get(service).is_none_or(|it| it <= to))
        };
        self.following = self.joining.take_if(reaches);
        if self.joining.is_some() {
            self.pause = FIRST_LOOK;
        }
    }

    /// Takes of a step of the tail what the client does not have.
    fn take(&mut self, step: Arc<Step>) {
        let log = |service: &&'static str| {
            let from = self.cursor.0.get(*service)?.position;
            let to = step.read_to.get(service).copied()?.max(from);
            Some((*service, Covered { from, to, ..Covered::default() }))
        };
        let mut logs: BTreeMap<_, _> = self.read_to.keys().filter_map(log).collect();
        for event in &step.events {
            match logs.get_mut(event.service()) {
                Some(log) if event.position() > log.from => {
                    let is_wanted = self.types.matches(event.event_type());
                    *(if is_wanted { &mut log.returned } else { &mut log.filtered }) += 1;
                }
                _ => {}
            }
        }
        for log in logs.values_mut() {
            log.others = (log.to - log.from).saturating_sub(log.returned + log.filtered);
        }
        if logs.values().any(|log| log.from < log.to) {
            self.sending = Some(Sending { step, next: 0, logs });
        }
    }

    /// Reads by itself from where the client is.
    async fn read_alone(&mut self) -> Result<(), Problem> {
        self.following = None;
        self.pause = Duration::ZERO;
        let begin = Begin::After(self.cursor.clone());
        let (client, types) = (self.state.services.client(), self.types.clone());
        let reader = FeedReader::open(client, self.shop.clone(), types, begin).await?;
        self.read_to = reader.read_to();
        self.pages = ReadAhead::new(self.state.clone(), reader);
        Ok(())
    }

    /// Ends the stream because of a failure.
    fn fail(&mut self, problem: &Problem) -> Event {
        let (code, detail) = problem.code_and_detail();
        tracing::warn!(shop = %self.shop, code, "a stream of events ends: {detail}");
        self.end(code, &detail)
    }

    fn end(&mut self, reason: &str, detail: &str) -> Event {
        self.has_ended = true;
        let data = json!({"reason": reason, "detail": detail});
        Event::default().event("end").data(data.to_string())
    }
}

/// The next step of the tail, if one is followed; `None` when it can be followed no more.
async fn next_step(following: &mut Option<Following>) -> Option<Arc<Step>> {
    match following {
        Some(tail) => tail.next().await,
        None => future::pending().await,
    }
}
