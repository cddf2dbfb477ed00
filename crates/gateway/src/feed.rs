//! `GET /events`: all public events of a shop, of all services, from the beginning of time.
//!
//! | module | what it is for |
//! |---|---|
//! | `cursor` | where a reader is: a position in the log of each service |
//! | `types` | which types of events it wants |
//! | `merge` | one order of the events of several logs: none before its cause |
//! | `reader` | reads the logs in parts, and counts what a page covers |
//! | `stream` | the same as Server-Sent Events |
//! | `tail` | the end of a shop's feed, read once for all streams that have come there |
//!
//! Nothing is kept between two requests: any gateway reads on from a cursor, whatever runs besides.
//! The services themselves are not asked, so the feed goes on while they do not.

mod cursor;
mod merge;
mod reader;
mod stream;
mod tail;
mod types;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use engine::{Client, ShopChanges};
use events::cloud_events;
use protocol::id::{ParseError, Shop};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use utoipa::{IntoParams, ToSchema};

use self::{
    cursor::Cursor,
    reader::{Covered, FeedError, FeedReader, Found, Page},
    tail::Tails,
    types::WantedTypes,
};
use crate::{
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::text,
    openapi::messages::CloudEvent,
    problem::{Code, FieldError, Problem},
    state::AppState,
};

/// The longest wait for an event.
const MAX_WAIT_S: u64 = 30;
/// The most pages that are read at once: what is in memory of them is bounded.
const MAX_READING: usize = 64;
/// How long a page waits for its turn to be read.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a notice it is looked again, at first and then at twice the pause each time: what is
/// noticed may not be stored yet.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// How often it is looked at least while a reader waits: a notice may have been lost.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long it is waited after a notice, so that what happens at once is read at once.
const GATHER_INTERVAL: Duration = Duration::from_millis(10);
/// Events that are read at once for a stream.
const PAGE_LENGTH: usize = 256;
/// Events that are written before others get their turn: about a millisecond.
const MAX_WRITTEN_AT_ONCE: usize = 256;

/// What the readers of the feed share.
#[derive(Debug)]
pub(crate) struct Feeds {
    /// The pages that may be read at once.
    reading: Semaphore,
    tails: Tails,
}

impl Default for Feeds {
    fn default() -> Self {
        Self { reading: Semaphore::new(MAX_READING), tails: Tails::default() }
    }
}

/// The part of the feed that a client asks for.
#[derive(Debug)]
pub(crate) struct FeedQuery {
    begin: Begin,
    types: WantedTypes,
    how: ReadMode,
}

/// Where a client begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Behind what is there now.
    End,
    /// Behind what it has read.
    After(Cursor),
}

impl Begin {
    fn parse(text: &str, shop: &Shop) -> Result<Self, ParseError> {
        if text == "end" { Ok(Self::End) } else { Cursor::parse(text, shop).map(Self::After) }
    }
}

/// How a client reads.
#[derive(Debug)]
enum ReadMode {
    /// One page.
    Page { limit: usize, wait: Duration },
    /// Server-Sent Events.
    Stream,
}

impl FromRequestParts<Arc<AppState>> for FeedQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<AppState>) -> Result<Self, Problem> {
        let shop = parts.extensions.get::<Shop>().cloned().unwrap_or_else(Shop::unknown);
        let is_stream = stream::is_wanted(&parts.headers);
        let mut read = query(&parts.uri, |fields| {
            let after = fields.optional("after", text(|text| Begin::parse(text, &shop)));
            let types = fields.optional("types", text(WantedTypes::parse));
            // A stream has no pages: with these parameters it is refused.
            let how = if is_stream {
                ReadMode::Stream
            } else {
                let limit = fields.optional("limit", text(page_length));
                let wait = fields.optional("wait", text(wait));
                let limit = limit.unwrap_or(DEFAULT_PAGE_LENGTH) as usize;
                ReadMode::Page { limit, wait: wait.unwrap_or_default() }
            };
            let begin = after.unwrap_or_else(|| Begin::After(Cursor::default()));
            Some(Self { begin, types: types.unwrap_or_default(), how })
        })?;
        if let Some(id) = stream::last_event_id(&parts.headers).filter(|_| is_stream) {
            let cursor = Cursor::parse(id, &shop).map_err(|error| {
                let detail = format!("Last-Event-ID: {error}");
                let field = FieldError::named("Last-Event-ID", &*detail);
                Problem::new(Code::InvalidHeader, detail).naming(vec![field])
            })?;
            read.begin = Begin::After(cursor);
        }
        Ok(read)
    }
}

fn wait(text: &str) -> Result<Duration, ParseError> {
    let error = || ParseError::new("wait", "must be 0 to 30 seconds", text);
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_S);
    seconds.map(Duration::from_secs).ok_or_else(error)
}

/// The parameters of the feed, as they are described; [`FeedQuery`] is what is read of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct FeedParameters {
    /// The `next` of a page of the same shop, or `end`: what happens from now on. Without it, from the first event.
    after: Option<String>,
    /// Types between commas: `order.paid`, `order.*`, `*`. All unless it is given.
    #[param(example = "order.*,payment.captured")]
    types: Option<String>,
    /// The most events of a page; not for a stream.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// The seconds to wait for an event when there is none; not for a stream.
    #[param(minimum = 0, maximum = 30, default = 0)]
    wait: Option<u32>,
}

/// A page of the feed.
// `write_page` writes it, from the bytes of the events.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is a description")]
pub(crate) struct EventPage {
    /// The events, in an order in which none comes before its cause.
    events: Vec<CloudEvent>,
    /// The `after` of the next page.
    next: String,
    /// Whether no event followed when the gateway looked.
    at_end: bool,
    /// What the page covers of each log that it looked at, by service.
    logs: BTreeMap<String, Covered>,
}

/// Lists all public events of the shop, of all services, from the beginning of time.
///
/// With `Accept: text/event-stream` the same as Server-Sent Events: an event without a name is an event of the shop, and
/// its id the cursor behind it; `page` says what was looked at, `end` why the stream ends. Each page says from where to
/// where of each log it looked, so that a reader can prove that it missed nothing.
#[utoipa::path(
    get,
    path = "/shops/{shop}/events",
    operation_id = "list_events",
    tag = "Events",
    params(
        FeedParameters,
        ("Last-Event-ID" = Option<String>, Header,
            description = "Of a stream: the id of the last event that was received. It stands for `after`."),
    ),
    responses((status = 200, description = "A page of the events, or a stream of them.", content(
        (EventPage = "application/json"),
        (String = "text/event-stream"),
    ))),
    extensions(("x-problems" = json!(["cursor_lost", "log_unavailable", "newer_event"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    query: FeedQuery,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let FeedQuery { begin, types, how } = query;
    let (client, shop) = (state.services.client(), context.shop.clone());
    let (limit, wait) = match how {
        ReadMode::Page { limit, wait } => (limit, wait),
        ReadMode::Stream => {
            // Before the first look: what is published after it is noticed.
            let changes = changes(&client, &shop).await?;
            let mut reader = FeedReader::open(client, shop, types.clone(), begin).await?;
            reader.reach(&context.seen, began).await?;
            return Ok(stream::respond(state, context, types, reader, changes));
        }
    };
    let changes = match wait {
        Duration::ZERO => None,
        _ => Some(changes(&client, &shop).await?),
    };
    let mut reader = FeedReader::open(client, shop.clone(), types, begin).await?;
    reader.reach(&context.seen, began + wait).await?;
    let mut page = reader.page();
    read(&state, &mut reader, &mut page, limit).await?;
    if let Some(changes) = changes {
        let deadline = began + wait;
        let waiting = read_when_changed(&state, &mut reader, &mut page, limit, changes, deadline);
        state.shutdown.run_until_cancelled(waiting).await.transpose()?;
    }
    let next = reader.cursor().encode(&shop);
    let document = write_page(&page, &next).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

async fn changes(client: &Client, shop: &Shop) -> Result<ShopChanges, Problem> {
    client.shop_changes(shop).await.map_err(|error| Problem::unavailable(&error))
}

/// A page without its events.
fn body(logs: &BTreeMap<&'static str, Covered>, is_at_end: bool, next: &str) -> Value {
    json!({"next": next, "at_end": is_at_end, "logs": logs})
}

/// Reads until there is an event, or the deadline is over.
async fn read_when_changed(
    state: &AppState,
    reader: &mut FeedReader,
    page: &mut Page,
    limit: usize,
    mut changes: ShopChanges,
    deadline: Instant,
) -> Result<(), Problem> {
    let mut pause = MAX_LOOK_INTERVAL;
    while page.events.is_empty() && Instant::now() < deadline {
        if page.is_at_end {
            let look_at = (Instant::now() + pause).min(deadline);
            pause = tokio::select! {
                () = changes.changed() => FIRST_LOOK,
                () = sleep_until(look_at) => (pause * 2).min(MAX_LOOK_INTERVAL),
            };
        }
        read(state, reader, page, limit).await?;
    }
    Ok(())
}

/// Reads on when it is its turn.
async fn read(
    state: &AppState,
    reader: &mut FeedReader,
    page: &mut Page,
    limit: usize,
) -> Result<(), Problem> {
    let turn = timeout(TURN_TIMEOUT, state.feeds.reading.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        let detail = "too many pages of events are read at once: send it again in a moment";
        return Err(Problem::new(Code::Overloaded, detail));
    };
    Ok(reader.read(page, limit).await?)
}

/// A page as it leaves the system.
async fn write_page(page: &Page, next: &str) -> Result<Vec<u8>, Problem> {
    let mut text = b"{\"events\":[".to_vec();
    for (index, found) in page.events.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_event(found, &mut text)?;
        if index % MAX_WRITTEN_AT_ONCE == MAX_WRITTEN_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    text.extend_from_slice(b"],");
    // The rest of the object without its first brace.
    text.extend_from_slice(&body(&page.logs, page.is_at_end, next).to_string().as_bytes()[1..]);
    Ok(text)
}

/// Appends an event as it leaves the system.
fn write_event(found: &Found, text: &mut Vec<u8>) -> Result<(), Problem> {
    cloud_events::write(&found.bytes, text).map_err(|error| Problem::internal(&error))
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match &error {
            FeedError::Log { service, .. } => {
                let detail = format!(
                    "the log of the service {service} cannot be read now: send the request again"
                );
                Self::new(Code::LogUnavailable, detail)
                    .with("service", service.as_str())
                    .caused_by(&error)
            }
            FeedError::BeyondEnd { service, .. } | FeedError::Replaced { service } => {
                let detail = format!(
                    "{error}: the installation was restored or created anew; begin without `after`, \
                     and take no event for handled by its position"
                );
                let field = FieldError::named("after", &*detail);
                Self::new(Code::CursorLost, detail)
                    .with("service", service.as_str())
                    .naming(vec![field])
            }
            FeedError::NewerEvent { service, position } => {
                let detail = format!("{error}: read on through a gateway of the newer version");
                Self::new(Code::NewerEvent, detail)
                    .with("service", service.as_str())
                    .with("position", *position)
                    .caused_by(&error)
            }
        }
    }
}
