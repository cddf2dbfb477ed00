//! `GET /events`: all public events of a shop, of all services, from the beginning of time.
//!
//! | module | what it is for |
//! |---|---|
//! | `cursor` | where a reader is: a position in the log of each service |
//! | `types` | which types of events it wants |
//! | `merge` | one order of the events of several logs: none before its cause |
//! | `pace` | how often it is looked at, and how much is read at once |
//! | `reader` | reads the logs in parts, and counts what a page covers |
//! | `stream` | the same as Server-Sent Events |
//! | `shared` | what all readers share |
//! | `kept` | readers between two pages, with what they have read |
//! | `ahead` | the next page of a stream, read while the one before is sent |
//! | `write` | pages and events as they leave the system |
//! | `tail` | the end of a shop's feed, read once for all streams that have come there |
//!
//! Nothing that matters is kept between two requests: any gateway reads on from a cursor, whatever runs besides.
//! The services themselves are not asked, so the feed goes on while they do not.

mod ahead;
mod cursor;
mod kept;
mod merge;
mod pace;
mod reader;
pub(crate) mod shared;
mod stream;
mod tail;
pub(crate) mod types;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use engine::ShopChanges;
use protocol::id::{ParseError, Shop};
use tokio::time::{Instant, sleep_until};
use utoipa::{IntoParams, ToSchema};

use self::{
    cursor::{Begin, Cursor},
    pace::{FIRST_LOOK, MAX_LOOK_INTERVAL},
    reader::{Covered, FeedError, FeedReader, Page, changes},
    types::WantedTypes,
    write::write_page,
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

/// The part of the feed that a client asks for.
#[derive(Debug)]
pub(crate) struct FeedQuery {
    begin: Begin,
    types: WantedTypes,
    how: ReadMode,
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
    let kept = match &begin {
        Begin::End => None,
        Begin::After(cursor) => state.feeds.kept.take(&shop, &types, cursor),
    };
    let mut reader = match kept {
        Some(reader) => reader,
        None => FeedReader::open(client, shop.clone(), types.clone(), begin).await?,
    };
    reader.reach(&context.seen, began + wait).await?;
    let mut page = reader.page();
    state.feeds.read(&mut reader, &mut page, limit).await?;
    if let Some(changes) = changes {
        let deadline = began + wait;
        let waiting = read_when_changed(&state, &mut reader, &mut page, limit, changes, deadline);
        state.shutdown.run_until_cancelled(waiting).await.transpose()?;
    }
    let cursor = reader.cursor();
    let next = cursor.encode(&shop);
    state.feeds.kept.keep(shop, types, cursor, reader);
    let document = write_page(&page, &next).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
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
        state.feeds.read(reader, page, limit).await?;
    }
    Ok(())
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
