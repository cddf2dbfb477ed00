//! Reads the feed of a shop: the logs of the services, in parts, in one order.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use engine::{Client, LogEnd, PartLimits, ShopChanges};
use events::{
    names::event_name,
    proto::{self, event::Body},
};
use futures::future::try_join_all;
use prost::Message;
use protocol::id::Shop;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    cursor::{Begin, Cursor, LogPosition},
    merge::{Content, Facts, Log, LogEvent, Merge},
    types::{SERVICES, WantedTypes},
};
use crate::{position::SeenPositions, problem::Problem};

/// What is read of a log at once. All logs together are what a reader has in memory.
const PART: PartLimits = PartLimits { events: 1_000, bytes: 1 << 20 };
/// A log is read on when so few of its events are left.
const MIN_EVENTS_LEFT: usize = PART.events / 2;
/// The bytes of events, as they are in the logs, after which a page ends.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// The most events that are looked at for a page, wanted or not.
const MAX_LOOKED_AT: u64 = 50_000;
/// How long a log may seem to end before the position of a reader: a server that no longer leads a
/// stream may answer for it for a moment.
const BEYOND_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it is waited at least for what a client has seen of the logs: as long as services wait for theirs.
const SEEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause between two looks meanwhile.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How often nothing may be given out, though there is something, until causes are disregarded.
const MAX_HELD_BACK: u32 = 5;

/// The feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error("the log of {service} cannot be read")]
    Log { service: String, source: Box<engine::Error> },
    #[error("the log of {service} ends at {last}, before the cursor's {position}")]
    BeyondEnd { service: String, position: u64, last: u64 },
    #[error("the log of {service} was created anew since the cursor was given out")]
    Replaced { service: String },
    #[error("the event at {position} of {service} is of a type that this version does not know")]
    NewerEvent { service: String, position: u64 },
}

/// An event that is wanted.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) service: &'static str,
    pub(crate) position: u64,
    /// `<service>.<event>`.
    pub(crate) event_type: String,
    /// As it is in the log.
    pub(crate) bytes: Bytes,
}

/// What a page covers of a log: `to - from = returned + filtered + unreadable + others`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Covered {
    /// The page begins behind this position.
    pub(crate) from: u64,
    /// And ends with this one.
    pub(crate) to: u64,
    /// Events in the page.
    pub(crate) returned: u64,
    /// Public events of the shop that the filter left out.
    pub(crate) filtered: u64,
    /// Messages that are no events of this log, though their subjects say so.
    pub(crate) unreadable: u64,
    /// What else is in the log: events of other shops, and what the engine records for itself.
    pub(crate) others: u64,
}

/// A part of the feed.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) events: Vec<Found>,
    pub(crate) logs: BTreeMap<&'static str, Covered>,
    /// Whether no event followed when the logs were looked at.
    pub(crate) is_at_end: bool,
    bytes: usize,
    looked_at: u64,
}

impl Page {
    /// Whether anything was looked at for it.
    pub(crate) fn has_moved(&self) -> bool {
        self.logs.values().any(|covered| covered.from < covered.to)
    }

    fn is_full(&self, limit: usize) -> bool {
        self.events.len() >= limit
            || self.bytes >= MAX_PAGE_BYTES
            || self.looked_at >= MAX_LOOKED_AT
    }
}

/// Reads the feed of a shop from a cursor on.
pub(crate) struct FeedReader {
    client: Client,
    shop: Shop,
    filter: WantedTypes,
    merge: Merge,
    /// Where the reader is in logs that it does not read.
    others: Cursor,
    created_ms: BTreeMap<&'static str, i64>,
    /// How often in turn nothing was given out though there was something.
    held_back: u32,
}

impl FeedReader {
    /// A reader of the logs that have events of the wanted types. Fails when they are not those that the
    /// cursor is of.
    pub(crate) async fn open(
        client: Client,
        shop: Shop,
        filter: WantedTypes,
        begin: Begin,
    ) -> Result<Self, FeedError> {
        let is_at_end = begin == Begin::End;
        let cursor = match begin {
            Begin::End => Cursor::default(),
            Begin::After(cursor) => cursor,
        };
        let wanted = filter.services();
        let log = |service: &&'static str| {
            Log::new(service, cursor.0.get(*service).map_or(0, |at| at.position))
        };
        let merge = Merge::new(wanted.iter().map(log).collect());
        let mut reader = Self {
            client,
            shop,
            filter,
            merge,
            others: Cursor::default(),
            created_ms: BTreeMap::new(),
            held_back: 0,
        };
        let ends = reader.check(&cursor).await?;
        if is_at_end {
            let logs = wanted.iter().zip(ends).map(|(service, end)| Log::new(service, end.last));
            reader.merge = Merge::new(logs.collect());
        }
        reader.others = cursor;
        Ok(reader)
    }

    /// Waits until each log that is read has reached what its client has seen of it: until the deadline, and for
    /// [`SEEN_TIMEOUT`] at least. Then it is read as it is.
    pub(crate) async fn reach(
        &mut self,
        seen: &SeenPositions,
        deadline: Instant,
    ) -> Result<(), FeedError> {
        let wanted: Vec<_> =
            self.merge.logs.iter().map(|log| seen.of_service(log.service)).collect();
        let deadline = deadline.max(Instant::now() + SEEN_TIMEOUT);
        while wanted.iter().any(|position| *position > 0) && Instant::now() < deadline {
            let ends = self.ends().await?;
            if wanted.iter().zip(ends).all(|(position, end)| *position <= end.last) {
                break;
            }
            sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// The cursor behind all that was given out.
    pub(crate) fn cursor(&self) -> Cursor {
        let mut cursor = self.others.clone();
        for log in &self.merge.logs {
            let created_ms = self.created_ms.get(log.service).copied().unwrap_or_default();
            let at = LogPosition { position: log.position(), created_ms };
            cursor.0.insert(log.service.to_owned(), at);
        }
        cursor
    }

    /// By service: the position up to which all was given out.
    pub(crate) fn read_to(&self) -> BTreeMap<&'static str, u64> {
        self.merge.logs.iter().map(|log| (log.service, log.position())).collect()
    }

    /// The bytes of the events that were read and not given out.
    pub(crate) fn bytes_ahead(&self) -> usize {
        self.merge.bytes()
    }

    /// An empty page, which begins where the reader is.
    pub(crate) fn page(&self) -> Page {
        let covered = |log: &Log| {
            let at = log.position();
            (log.service, Covered { from: at, to: at, ..Covered::default() })
        };
        Page { logs: self.merge.logs.iter().map(covered).collect(), ..Page::default() }
    }

    /// Adds to a page what follows, up to `limit` events in all; looks once whether there is more.
    pub(crate) async fn read(&mut self, page: &mut Page, limit: usize) -> Result<(), FeedError> {
        let (mut has_looked, looked_at_before) = (false, page.looked_at);
        let result = loop {
            match self.give_out(page, limit) {
                Ok(()) if page.is_full(limit) => break Ok(()),
                Ok(()) => {}
                Err(error) => break Err(error),
            }
            // The page keeps what it has, whatever fails: the merge will not give it out again.
            let read = if self.merge.needs_more() {
                self.read_on().await
            } else if has_looked || !page.events.is_empty() {
                break Ok(());
            } else {
                has_looked = true;
                self.look_and_read_on().await
            };
            if let Err(error) = read {
                break Err(error);
            }
        };
        page.is_at_end = self.merge.is_at_end();
        for log in &self.merge.logs {
            if let Some(covered) = page.logs.get_mut(log.service) {
                covered.to = log.position();
                covered.others = (covered.to - covered.from)
                    .saturating_sub(covered.returned + covered.filtered + covered.unreadable);
            }
        }
        // What comes before an event that cannot be read or given out is. The next page fails.
        if page.looked_at > looked_at_before { Ok(()) } else { result }
    }

    /// Moves events that are read into the page, in their order.
    fn give_out(&mut self, page: &mut Page, limit: usize) -> Result<(), FeedError> {
        while !page.is_full(limit) {
            let is_stuck = self.held_back >= MAX_HELD_BACK && !self.merge.needs_more();
            let next = self.merge.next();
            let next = next.or_else(|| self.merge.next_in_spite_of_causes().filter(|_| is_stuck));
            let Some(log) = next else { return Ok(()) };
            let service = self.merge.logs[log].service;
            if self.merge.peek(log) == Some(&Content::Newer) {
                let position = self.merge.logs[log].position() + 1;
                return Err(FeedError::NewerEvent { service: service.to_owned(), position });
            }
            let Some(event) = self.merge.take(log) else { return Ok(()) };
            self.held_back = 0;
            page.looked_at += 1;
            let Some(covered) = page.logs.get_mut(service) else { continue };
            match event.content {
                Content::Event(facts, bytes) if self.filter.matches(&facts.event_type) => {
                    covered.returned += 1;
                    page.bytes += bytes.len();
                    let (position, event_type) = (event.position, facts.event_type);
                    page.events.push(Found { service, position, event_type, bytes });
                }
                Content::Event(..) => covered.filtered += 1,
                Content::Unreadable | Content::Newer => covered.unreadable += 1,
            }
        }
        Ok(())
    }

    async fn look_and_read_on(&mut self) -> Result<(), FeedError> {
        self.look().await?;
        self.read_on().await
    }

    /// Looks where the logs end, twice if there is something new: see [`super::merge`].
    async fn look(&mut self) -> Result<(), FeedError> {
        let ends = self.ends().await?;
        let is_new = |(log, end): (&Log, &LogEnd)| end.last > log.position();
        if !self.merge.logs.iter().zip(&ends).any(is_new) {
            return Ok(());
        }
        self.held_back += 1;
        let known_ends = self.ends().await?;
        for (log, (end, known)) in self.merge.logs.iter_mut().zip(ends.iter().zip(known_ends)) {
            log.note_ends(end.last, known.last);
        }
        Ok(())
    }

    /// Where the logs end; fails when one is another one by now.
    async fn ends(&mut self) -> Result<Vec<LogEnd>, FeedError> {
        let ends = self.merge.logs.iter().map(|log| async {
            let end = self.client.log_end(log.service, &self.shop).await;
            end.map_err(|error| unreadable(log.service, error))
        });
        let ends = try_join_all(ends).await?;
        for (log, end) in self.merge.logs.iter().zip(&ends) {
            let known = *self.created_ms.entry(log.service).or_insert(end.created_ms);
            if known != end.created_ms {
                return Err(FeedError::Replaced { service: log.service.to_owned() });
            }
        }
        Ok(ends)
    }

    /// Checks that the logs are those of the cursor, and reach as far; returns their ends.
    async fn check(&mut self, cursor: &Cursor) -> Result<Vec<LogEnd>, FeedError> {
        for log in &self.merge.logs {
            if let Some(at) = cursor.0.get(log.service).filter(|at| at.position > 0) {
                self.created_ms.insert(log.service, at.created_ms);
            }
        }
        let deadline = Instant::now() + BEYOND_END_TIMEOUT;
        loop {
            let ends = self.ends().await?;
            let mut logs = self.merge.logs.iter().zip(&ends);
            let Some((log, end)) = logs.find(|(log, end)| end.last < log.position()) else {
                return Ok(ends);
            };
            if Instant::now() >= deadline {
                let (service, position) = (log.service.to_owned(), log.position());
                return Err(FeedError::BeyondEnd { service, position, last: end.last });
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Reads on in the logs of which few events are left.
    async fn read_on(&mut self) -> Result<(), FeedError> {
        let parts = self.merge.logs.iter().enumerate().filter_map(|(index, log)| {
            let part = log.unread(MIN_EVENTS_LEFT)?;
            let (client, shop, service) = (&self.client, &self.shop, log.service);
            Some(async move {
                let read = client.log_part(service, shop, part, PART).await;
                Ok((index, service, read.map_err(|error| unreadable(service, error))?))
            })
        });
        for (index, service, part) in try_join_all(parts).await? {
            let read = |(position, bytes)| read_event(service, &self.shop, position, bytes);
            self.merge.add(index, part.events.into_iter().map(read).collect(), part.to);
        }
        Ok(())
    }
}

fn unreadable(service: &str, error: engine::Error) -> FeedError {
    FeedError::Log { service: service.to_owned(), source: Box::new(error) }
}

/// Reads what is at a position of a log.
fn read_event(service: &str, shop: &Shop, position: u64, bytes: Bytes) -> LogEvent {
    let content = match proto::Event::decode(bytes.clone()) {
        Ok(event) if event.position == position && event.shop == shop.as_str() => {
            facts(service, event).map_or(Content::Newer, |facts| Content::Event(facts, bytes))
        }
        Ok(_) | Err(_) => {
            tracing::warn!(service, position, "the log has a message that is no event of it");
            Content::Unreadable
        }
    };
    LogEvent { position, content }
}

/// What the feed must know of an event; `None` when this version does not know its type.
fn facts(service: &str, event: proto::Event) -> Option<Facts> {
    let name = event_name(event.body.as_ref()?)?;
    if matches!(event.body, Some(Body::Engine(_) | Body::Notify(_) | Body::Key(_))) {
        return None;
    }
    let time = event.time.unwrap_or_default();
    let cause = event.cause.unwrap_or_default();
    let of = cause.kind.split_once('.').map(|(service, _)| service);
    let of = of.filter(|service| SERVICES.contains(service));
    Some(Facts {
        id: Uuid::try_parse(&event.id).unwrap_or_default(),
        event_type: format!("{service}.{name}"),
        time: (time.seconds, time.nanos),
        cause: Uuid::try_parse(&cause.id).ok().zip(of.map(str::to_owned)),
    })
}

/// Tells when something happens in a shop.
pub(super) async fn changes(client: &Client, shop: &Shop) -> Result<ShopChanges, Problem> {
    client.shop_changes(shop).await.map_err(|error| Problem::unavailable(&error))
}

#[cfg(test)]
pub(super) mod tests {
    use engine::Engine;
    use testkit::{Db, TestServer, engine_config};

    use super::*;

    /// A reader of the logs of orders and stock that has read the first two of three orders. There are no
    /// logs: it cannot read on.
    pub(in super::super) async fn reader(server: &TestServer) -> FeedReader {
        let config = engine_config(server, &Db::sqlite(), 1, &["order"]);
        let engine = Engine::connect_only(config).await.expect("it connects");
        let logs = vec![Log::new("inventory", 0), Log::new("order", 0)];
        let mut reader = FeedReader {
            client: engine.client(),
            shop: Shop::parse("acme").expect("a name"),
            filter: WantedTypes::default(),
            merge: Merge::new(logs),
            others: Cursor::default(),
            created_ms: BTreeMap::new(),
            held_back: 0,
        };
        reader.merge.logs[1].note_ends(3, 3);
        reader.merge.add(1, vec![order(1), order(2)], 2);
        reader
    }

    fn order(position: u64) -> LogEvent {
        let facts = Facts {
            id: Uuid::from_u64_pair(position, 0),
            event_type: "order.placed".to_owned(),
            time: (0, 0),
            cause: None,
        };
        LogEvent { position, content: Content::Event(facts, Bytes::from_static(b"an event")) }
    }

    fn positions(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.position).collect()
    }

    #[tokio::test]
    async fn a_page_keeps_its_events_when_the_log_cannot_be_read_on() {
        let server = TestServer::start().await;
        let mut reader = reader(&server).await;
        let mut page = reader.page();
        reader.read(&mut page, 100).await.expect("what was read is given out");
        assert_eq!(positions(&page), [1, 2]);
        let covered = Covered { to: 2, returned: 2, ..Covered::default() };
        assert_eq!((page.logs["order"], page.is_at_end), (covered, false));

        let mut page = reader.page();
        let failed = reader.read(&mut page, 100).await.expect_err("there is no log");
        assert!(matches!(failed, FeedError::Log { .. }), "{failed}");
        assert_eq!((positions(&page), page.has_moved()), (vec![], false));

        reader.merge.add(1, vec![order(3)], 3);
        let mut page = reader.page();
        reader.read(&mut page, 100).await.expect("the rest was read");
        assert_eq!((positions(&page), page.is_at_end), (vec![3], true));
    }
}
