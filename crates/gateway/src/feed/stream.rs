//! The feed as Server-Sent Events: a page after the other, as long as the reader takes them.
//!
//! | event | means |
//! |---|---|
//! | without a name | an event of the shop, in the form of CloudEvents; its id is the cursor behind it |
//! | `page` | what was looked at for the events since the one before: `logs`, `next` and `at_end` of a page |
//! | `end` | the stream ends, and why; the reader may go on from the last id |
//! | a comment | nothing has happened for a while |
//!
//! Nothing is read ahead of the reader but one page. hyper asks for the next event when it has sent
//! enough of those before it: a reader for which that takes long is cut off.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

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

use super::{FIRST_LOOK, MAX_LOOK_INTERVAL, body, read, reader::FeedReader, write_event};
use crate::{problem::Problem, state::AppState};

/// Events that are read at once.
const PAGE_LENGTH: usize = 256;
/// After how long without an event a comment says that the stream is alive. Shorter than proxies wait.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// After how long a reader that lost its connection is to come back, in milliseconds.
const RETRY: Duration = Duration::from_secs(1);
/// How long it is waited after a notice, so that what happens at once is read at once.
const GATHER: Duration = Duration::from_millis(10);

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
    shop: Shop,
    reader: FeedReader,
    changes: ShopChanges,
) -> Response {
    let feed = FeedStream::new(state, shop, reader, changes);
    let mut response = Sse::new(feed.events()).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    response
}

/// A reader's stream.
struct FeedStream {
    state: Arc<AppState>,
    shop: Shop,
    reader: FeedReader,
    changes: ShopChanges,
    /// What is ready to be sent.
    ready: VecDeque<Event>,
    /// When the last event was handed over.
    handed_over: Instant,
    /// When a comment is due.
    heartbeat: Instant,
    /// The pause before the next look.
    pause: Duration,
    has_ended: bool,
}

impl FeedStream {
    fn new(state: Arc<AppState>, shop: Shop, reader: FeedReader, changes: ShopChanges) -> Self {
        let now = Instant::now();
        Self {
            state,
            shop,
            reader,
            changes,
            // The first bytes go out at once: the client then knows that it is connected.
            ready: [Event::default().retry(RETRY).comment("connected")].into(),
            handed_over: now,
            heartbeat: now + HEARTBEAT_INTERVAL,
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
        if self.handed_over.elapsed() > self.state.limits.stream_stall_timeout {
            return Some(self.end("slow_reader", "the events were not received fast enough"));
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                return Some(event);
            }
            select! {
                () = self.state.shutdown.cancelled() => {
                    return Some(self.end("shutdown", "the gateway stops: connect again"));
                }
                () = sleep_until(self.heartbeat) => {
                    self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                    if let Err(problem) = self.state.shops.require(&self.state.services, &self.shop).await {
                        return Some(self.fail(&problem));
                    }
                    return Some(Event::default().comment("nothing has happened"));
                }
                () = self.changes.changed(), if !self.pause.is_zero() => {
                    sleep(GATHER).await;
                    self.pause = FIRST_LOOK;
                }
                () = sleep(self.pause) => {
                    self.pause = (self.pause.max(FIRST_LOOK) * 2).min(MAX_LOOK_INTERVAL);
                }
            }
            if let Err(problem) = self.look().await {
                return Some(self.fail(&problem));
            }
        }
    }

    /// Makes the next page ready.
    async fn look(&mut self) -> Result<(), Problem> {
        let mut cursor = self.reader.cursor();
        let mut page = self.reader.page();
        read(&self.state, &mut self.reader, &mut page, PAGE_LENGTH).await?;
        if page.logs.values().all(|covered| covered.from == covered.to) {
            return Ok(());
        }
        let mut text = Vec::new();
        for found in &page.events {
            cursor.advance(found.service, found.position);
            text.clear();
            write_event(found, &mut text)?;
            let data = str::from_utf8(&text).map_err(|error| Problem::internal(&error))?;
            self.ready.push_back(Event::default().id(cursor.encode(&self.shop)).data(data));
        }
        let next = self.reader.cursor().encode(&self.shop);
        let covered = body(&page, &next).to_string();
        self.ready.push_back(Event::default().event("page").id(next).data(covered));
        if !page.is_at_end {
            self.pause = Duration::ZERO;
        }
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
