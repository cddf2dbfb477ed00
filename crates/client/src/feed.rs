//! The event feed of a shop: reads on after a failure, keeps its position, and checks each page for gaps.
//!
//! ```no_run
//! # async fn read(key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Client, feed::{Feed, PositionFile}};
//!
//! let client = Client::new("http://127.0.0.1:8080", key, "acme")?;
//! let file = PositionFile::new("orders.position");
//! let mut feed = Feed::new(client, file.load()?).of_types("order.*");
//! loop {
//!     for event in feed.next().await? {
//!         println!("{} {}", event["type"], event["id"]);
//!     }
//!     // After a crash before this line the same events come again: handle each id once.
//!     file.save(feed.position())?;
//! }
//! # }
//! ```

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Client, Error,
    client::{MAX_RETRY_DELAY, MIN_RETRY_DELAY},
};

/// How long a page waits for an event, in seconds.
const WAIT_S: &str = "30";
/// The length of a page.
const PAGE_LENGTH: &str = "1000";

/// Where a reader of the feed is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// The `next` of the last page; none at the beginning. `end` stands for the end of the feed.
    pub after: Option<String>,
    /// By service: up to where its log was looked at.
    pub logs: BTreeMap<String, u64>,
}

/// The feed cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The gateway refuses the request, or does not answer.
    #[error(transparent)]
    Gateway(#[from] Error),
    /// A page is not what it says that it is, or does not follow the one before.
    #[error("a gap in the feed, in the log of {service}: {problem}")]
    Gap {
        /// The log in which it is.
        service: String,
        /// What does not fit.
        problem: String,
    },
}

/// What a page says of a log: docs/http.md, "Events".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Covered {
    /// The page begins behind this position.
    pub from: u64,
    /// And ends with this one.
    pub to: u64,
    /// Events of the log in the page.
    pub returned: u64,
    /// Events that the types left out.
    pub filtered: u64,
    /// Messages that are no events.
    pub unreadable: u64,
    /// Events of other shops, and what the engine records for itself.
    pub others: u64,
}

/// A page of the feed.
#[derive(Debug, Clone, Deserialize)]
pub struct FeedPage {
    /// The events: CloudEvents 1.0.
    pub events: Vec<Value>,
    /// The cursor behind them.
    pub next: String,
    /// Whether nothing followed.
    pub at_end: bool,
    /// By service: what the page covers.
    pub logs: BTreeMap<String, Covered>,
}

/// A reader of the feed.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    types: Option<String>,
    position: FeedPosition,
}

impl Feed {
    /// A reader that begins at a position.
    pub fn new(client: Client, position: FeedPosition) -> Self {
        Self { client, types: None, position }
    }

    /// The same reader of some types of events, such as `order.*,payment.captured`.
    #[must_use]
    pub fn of_types(self, types: &str) -> Self {
        Self { types: Some(types.to_owned()), ..self }
    }

    /// Behind all events that were returned.
    pub fn position(&self) -> &FeedPosition {
        &self.position
    }

    /// The next events, at least one: waits until there are some, however long the gateway is out of
    /// reach.
    pub async fn next(&mut self) -> Result<Vec<Value>, FeedError> {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            match self.page(WAIT_S).await {
                Ok(page) if !page.events.is_empty() => return Ok(page.events),
                Ok(_) => delay = MIN_RETRY_DELAY,
                // A client without retries has not waited before, and a connection is refused at once.
                Err(FeedError::Gateway(error)) if error.is_transient() => {
                    tracing::warn!(%error, ?delay, "the feed is read on when the gateway answers");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next page, as it is now: it may have no events.
    pub async fn next_page(&mut self) -> Result<FeedPage, FeedError> {
        self.page("0").await
    }

    async fn page(&mut self, wait: &str) -> Result<FeedPage, FeedError> {
        let mut parameters = vec![("limit", PAGE_LENGTH), ("wait", wait)];
        parameters.extend(self.types.as_deref().map(|types| ("types", types)));
        parameters.extend(self.position.after.as_deref().map(|after| ("after", after)));
        let page: FeedPage = self.client.query("events", &parameters).await?;
        check(&self.position, &page, self.types.is_none())?;
        self.position.after = Some(page.next.clone());
        let reached = page.logs.iter().map(|(service, covered)| (service.clone(), covered.to));
        self.position.logs.extend(reached);
        Ok(page)
    }
}

/// Checks that a page follows a position, and is as complete as it says.
fn check(position: &FeedPosition, page: &FeedPage, has_all: bool) -> Result<(), FeedError> {
    for (service, covered) in &page.logs {
        let gap = |problem: String| FeedError::Gap { service: service.clone(), problem };
        // Where a cursor is that came from elsewhere is not known before its first page.
        let expected = match (position.logs.get(service), &position.after) {
            (Some(before), _) => *before,
            (None, None) => 0,
            (None, Some(_)) => covered.from,
        };
        if expected != covered.from {
            return Err(gap(format!("the page begins at {}, expected {expected}", covered.from)));
        }
        let Covered { from, to, returned, filtered, unreadable, others } = *covered;
        let counted =
            [returned, filtered, unreadable, others].into_iter().try_fold(from, u64::checked_add);
        if counted != Some(to) {
            return Err(gap(format!("what it counts from {from} to {to} does not add up")));
        }
        check_events(service, covered, page, has_all).map_err(gap)?;
    }
    Ok(())
}

/// Checks the events of a log in a page.
fn check_events(
    service: &str,
    covered: &Covered,
    page: &FeedPage,
    has_all: bool,
) -> Result<(), String> {
    let number = |event: &Value, name: &str| event[name].as_str()?.parse::<u64>().ok();
    let is_of_log = |event: &&Value| {
        event["source"].as_str().and_then(|source| source.rsplit('/').next()) == Some(service)
    };
    let mut positions = Vec::new();
    for event in page.events.iter().filter(is_of_log) {
        let position = number(event, "position").ok_or("an event has no position")?;
        let last = positions.last().copied().unwrap_or(covered.from);
        if position <= last || position > covered.to {
            return Err(format!("{position} came after {last}, in a page up to {}", covered.to));
        }
        // The event before it of the same aggregate is in this page or an earlier one.
        let previous = number(event, "previousposition").unwrap_or(0);
        if has_all && previous > covered.from && positions.binary_search(&previous).is_err() {
            return Err(format!("{position} came without {previous}"));
        }
        positions.push(position);
    }
    if positions.len() as u64 != covered.returned {
        let count = positions.len();
        return Err(format!("it has {count} events and says that it has {}", covered.returned));
    }
    Ok(())
}

/// A position in a file of its own, replaced as a whole.
#[derive(Debug, Clone)]
pub struct PositionFile(PathBuf);

impl PositionFile {
    /// The file of that name.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The position in it; the beginning when there is no such file.
    pub fn load(&self) -> io::Result<FeedPosition> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FeedPosition::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the position in it.
    pub fn save(&self, position: &FeedPosition) -> io::Result<()> {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let file = fs::File::create(&beside)?;
        serde_json::to_writer(&file, position)?;
        file.sync_all()?;
        fs::rename(&beside, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(events: &[(u64, u64)], covered: (u64, u64, u64, u64)) -> FeedPage {
        let event = |(position, previous): &(u64, u64)| {
            json!({"source": "/shops/acme/order", "position": position.to_string(),
                "previousposition": previous.to_string()})
        };
        let (from, to, returned, others) = covered;
        let covered = Covered { from, to, returned, filtered: 0, unreadable: 0, others };
        FeedPage {
            events: events.iter().map(event).collect(),
            next: "next".to_owned(),
            at_end: true,
            logs: [("order".to_owned(), covered)].into(),
        }
    }

    #[track_caller]
    fn refused(page: &FeedPage, expected: &str) {
        let position = FeedPosition {
            after: Some("before".to_owned()),
            logs: [("order".to_owned(), 3)].into(),
        };
        match check(&position, page, true) {
            Ok(()) => assert_eq!(expected, ""),
            Err(error) => assert!(error.to_string().ends_with(expected), "{error}"),
        }
    }

    #[test]
    fn a_page_that_follows_and_adds_up_is_taken() {
        refused(&page(&[(5, 2), (8, 5)], (3, 9, 2, 4)), "");
    }

    #[test]
    fn each_gap_is_found() {
        let from = page(&[(5, 2), (8, 5)], (4, 9, 2, 3));
        refused(&from, "the page begins at 4, expected 3");
        let sum = page(&[(5, 2), (8, 5)], (3, 9, 2, 3));
        refused(&sum, "what it counts from 3 to 9 does not add up");
        refused(&page(&[(8, 2)], (3, 9, 2, 4)), "it has 1 events and says that it has 2");
        refused(&page(&[(8, 2), (5, 2)], (3, 9, 2, 4)), "5 came after 8, in a page up to 9");
        refused(&page(&[(5, 2), (8, 4)], (3, 9, 2, 4)), "8 came without 4");
        refused(&page(&[(5, 2), (10, 5)], (3, 9, 2, 4)), "10 came after 5, in a page up to 9");
    }
}
