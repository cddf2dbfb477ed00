//! The feed of events: what one reader reads, and what a thousand cost that wait for events.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use engine::{Logged, plain_http};
use events::proto::{Event, event::Body};
use futures::{
    StreamExt,
    stream::{self, TryStreamExt},
};
use reqwest::{Client, Response, header::ACCEPT};
use serde::{Deserialize, de::IgnoredAny};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Options,
    figures::{Feed, FeedReaders, Measured, Processed},
    load::Load,
    memory::Memory,
    process::ticks_as_time,
    setup::{API_KEY, Environment, Installation, Setup},
};

/// The shop of the benchmark.
const SHOP: &str = "feed";
/// The service whose events are read.
const CATALOG: &str = "catalog";
/// The types of all of them.
const TYPES: &str = "catalog.*";
/// The most events of a page.
const PAGE_LENGTH: u32 = 1_000;
/// The readers that wait at the same time, and the events a second that each of them gets.
const READERS: u32 = 1_000;
const RATE: u32 = 100;
/// Readers that connect at the same time.
const CONNECTING: usize = 16;
/// Events that are published at the same time: a gateway takes 32 uploads of a shop at once.
const PUBLISHING: usize = 24;
/// How long nothing may come before what is missing counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two looks at what has come.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// As much is shown of what came last to a reader whose stream has ended.
const LAST_BYTES: usize = 200;
/// The pause before a figure, so that what was begun before is over.
const SETTLE_PAUSE: Duration = Duration::from_secs(2);

/// Measures the feed in an installation of its own.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Feed> {
    let progress = |what: &str| options.progress("feed", what);
    progress("starting");
    let installation = Installation::start(Setup::R1Sqlite, environment, "feed", &[]).await?;
    let load = installation.load(SHOP).await?;
    load.open().await?;
    let http = plain_http().no_proxy().build()?;
    let url = format!("http://{}/v1/shops/{SHOP}/events", installation.settings.listen);
    let bench = Bench { installation: &installation, load, http, url };

    progress("writing what is read");
    bench.load.change_products(0, options.deliveries.into()).await?;
    sleep(SETTLE_PAUSE).await;
    progress("reading the log, which is the limit");
    let limit = bench.log().await?;
    progress("one reader of pages");
    let pages = bench.timed(bench.pages(limit.count)).await?;
    progress("one reader of a stream");
    let stream = bench.timed(bench.stream(limit.count)).await?;
    progress("1,000 readers of 100 events/s");
    // What one reader reads is known all the same.
    let readers = match bench.readers(options.deliveries.into(), options.seconds).await {
        Ok(readers) => Measured::Figures(readers),
        Err(error) => Measured::Failed(format!("{error:#}")),
    };
    drop(bench);
    installation.stop().await?;
    Ok(Feed { limit, pages, stream, readers })
}

struct Bench<'a> {
    installation: &'a Installation,
    load: Load,
    http: Client,
    url: String,
}

/// A page, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<IgnoredAny>,
    next: String,
    at_end: bool,
    logs: BTreeMap<String, Covered>,
}

#[derive(Debug, Deserialize)]
struct Covered {
    returned: u64,
}

impl Bench<'_> {
    /// The events of the log, without the gateway.
    async fn log(&self) -> Result<Processed> {
        let started = Instant::now();
        let partition = self.load.partition;
        let mut count = 0;
        // What the engine records for itself is not in the feed.
        let is_public = |event: &Event| matches!(event.body, Some(Body::Catalog(_)));
        let each = |logged: Logged<Event>| {
            count += u64::from(logged.event.shop == SHOP && is_public(&logged.event));
        };
        self.load.engine.read_log(CATALOG, partition, each).await?;
        Ok(Processed::new(count, started.elapsed(), None))
    }

    async fn timed(&self, reading: impl Future<Output = Result<u64>>) -> Result<Processed> {
        let (cpu, started) = (self.installation.services.cpu_ticks(), Instant::now());
        let count = reading.await?;
        let took = started.elapsed();
        let after = self.installation.services.cpu_ticks();
        let cpu = after.zip(cpu).map(|(after, before)| ticks_as_time(after - before));
        Ok(Processed::new(count, took, cpu))
    }

    /// Reads all events of the catalogue by pages.
    async fn pages(&self, expected: u64) -> Result<u64> {
        let (mut count, mut after) = (0, String::new());
        loop {
            let begin = if after.is_empty() { String::new() } else { format!("&after={after}") };
            let url = format!("{}?types={TYPES}&limit={PAGE_LENGTH}{begin}", self.url);
            let request = self.http.get(url).bearer_auth(API_KEY);
            let page = request.send().await?.error_for_status()?.bytes().await?;
            let page: Page = serde_json::from_slice(&page).context("read a page")?;
            let covered: u64 = page.logs.values().map(|log| log.returned).sum();
            ensure!(covered == page.events.len() as u64, "a page says {covered} events");
            count += covered;
            after = page.next;
            if page.at_end {
                ensure!(count == expected, "{count} of {expected} events were read");
                return Ok(count);
            }
        }
    }

    /// Reads all events of the catalogue as a stream.
    async fn stream(&self, expected: u64) -> Result<u64> {
        let mut response = self.open("").await?;
        let mut lines = Lines::default();
        while lines.events < expected {
            let chunk = timeout(SILENCE_TIMEOUT, response.chunk()).await;
            let chunk = chunk.context("wait for events")??.context("the stream has ended")?;
            lines.add(&chunk);
        }
        Ok(lines.events)
    }

    async fn open(&self, after: &str) -> Result<Response> {
        let begin = if after.is_empty() { String::new() } else { format!("&after={after}") };
        let request = self.http.get(format!("{}?types={TYPES}{begin}", self.url));
        let request = request.bearer_auth(API_KEY);
        let response = request.header(ACCEPT, "text/event-stream").send().await?;
        Ok(response.error_for_status()?)
    }

    /// Many readers that wait for what is published at a fixed rate.
    async fn readers(&self, from: u64, seconds: u32) -> Result<FeedReaders> {
        let received: Arc<Received> = Arc::default();
        let opening = (0..READERS).map(|_| self.open("end"));
        let opened: Vec<_> = stream::iter(opening).buffered(CONNECTING).try_collect().await?;
        let reading = opened.into_iter().map(|response| {
            let received = received.clone();
            AbortOnDropHandle::new(tokio::spawn(read(response, received)))
        });
        let _reading: Vec<_> = reading.collect();
        sleep(SETTLE_PAUSE).await;
        let (cpu, started) = (self.installation.services.cpu_ticks(), Instant::now());
        let events = u64::from(RATE * seconds);
        let (mut publishing, permits) = (JoinSet::new(), Arc::new(Semaphore::new(PUBLISHING)));
        for number in 0..events {
            let meant = Duration::from_secs_f64(number as f64 / f64::from(RATE));
            sleep_until((started + meant).into()).await;
            let (load, permits) = (self.load.clone(), permits.clone());
            publishing.spawn(async move {
                let _permit = permits.acquire().await?;
                load.change_products(from + number, 1).await
            });
        }
        while let Some(published) = publishing.join_next().await {
            published.context("publish an event")??;
        }
        let last = wait_for(&received, events * u64::from(READERS)).await?;
        let took = last.saturating_duration_since(started);
        let after = self.installation.services.cpu_ticks();
        let cpu = after.zip(cpu).map(|(after, before)| ticks_as_time(after - before));
        let memory = Memory::read(&self.installation.processes());
        Ok(FeedReaders {
            readers: READERS,
            rate_per_s: RATE,
            read: Processed::new(events * u64::from(READERS), took, cpu),
            lag_s: took.as_secs_f64() - f64::from(seconds),
            memory_mb: memory.map(|memory| memory.services_mb),
        })
    }
}

/// What all readers have received.
#[derive(Debug, Default)]
struct Received {
    events: AtomicU64,
    /// The last that came to those whose streams have ended: it says why.
    ended: Mutex<Vec<String>>,
}

impl Received {
    /// Why some of the events do not come, as far as the readers were told.
    fn ends(&self) -> String {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.first() {
            Some(last) => format!("; {} streams have ended, the first with {last:?}", ended.len()),
            None => String::new(),
        }
    }
}

async fn read(mut response: Response, received: Arc<Received>) {
    let (mut lines, mut last) = (Lines::default(), Bytes::new());
    while let Ok(Some(chunk)) = response.chunk().await {
        let before = lines.events;
        lines.add(&chunk);
        received.events.fetch_add(lines.events - before, Ordering::Relaxed);
        last = chunk;
    }
    let end = &last[last.len().saturating_sub(LAST_BYTES)..];
    let end = String::from_utf8_lossy(end).into_owned();
    received.ended.lock().unwrap_or_else(PoisonError::into_inner).push(end);
}

/// Waits until so many events were received; returns when the last one was, to the interval.
async fn wait_for(received: &Received, count: u64) -> Result<Instant> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let now = received.events.load(Ordering::Relaxed);
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        if now >= count {
            return Ok(since);
        }
        ensure!(
            since.elapsed() < SILENCE_TIMEOUT,
            "{now} of {count} events came, and none for {SILENCE_TIMEOUT:?}{}",
            received.ends()
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// Counts events in the text of a stream: lines of data but for those that belong to a named event.
#[derive(Debug, Default)]
struct Lines {
    events: u64,
    /// Whether the event that has begun has a name, which comes before its data.
    is_named: bool,
    /// The beginning of the line that has not ended, as far as it is needed.
    begun: Vec<u8>,
}

impl Lines {
    const DATA: &[u8] = b"data:";
    const NAME: &[u8] = b"event:";

    fn add(&mut self, chunk: &[u8]) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let missing = Self::NAME.len() - self.begun.len();
            self.begun.extend_from_slice(&part[..part.len().min(missing)]);
            if part.ends_with(b"\n") {
                match &*self.begun {
                    b"\n" => self.is_named = false,
                    line if line.starts_with(Self::NAME) => self.is_named = true,
                    line if line.starts_with(Self::DATA) && !self.is_named => self.events += 1,
                    _ => {}
                }
                self.begun.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_chunks_end() {
        let text =
            b"retry: 1000\n: connected\n\nid: a\ndata: {\"event:\":1}\n\nevent: page\nid: b\n\
            data: {}\n\n: nothing\n\nid: c\ndata: {}\n\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            for chunk in text.chunks(size) {
                let before = lines.events;
                lines.add(chunk);
                assert!(lines.events >= before, "in chunks of {size}");
            }
            assert_eq!(lines.events, 2, "in chunks of {size}");
        }
    }
}
