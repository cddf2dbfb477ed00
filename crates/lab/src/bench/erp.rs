//! The lines of an ERP: one upload over HTTP whose results come while it runs, and the same lines in messages by
//! NATS. How much memory the services take is compared between the first quarter and the last one.

use std::{
    ops::RangeBounds,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client::upload::{Answered, Upload};
use engine::RawLimit;
use futures::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::{Deserialize, Serialize};

use super::{
    Options,
    load::Load,
    memory::{Memory, Processes},
    process::ticks_as_time,
    quantities::Processed,
    setup::{Environment, Installation, Setup},
    shop,
};
use crate::figures::rate;

/// The shop of the benchmark.
const SHOP: &str = "erp";
/// The subject of its stock lines, and what those of the answers begin with.
const SUBJECT: (&str, &str) = ("erp.v1.erp.stock", "erp.reply.bench");
/// The lines of a message by NATS, of which nats-server takes 1 MB.
const LINES_PER_MESSAGE: usize = 4_000;
/// Messages that are sent and not answered yet.
const MAX_IN_FLIGHT: usize = 4;
/// How long the answer to one may take.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The lines that are made and sent at once over HTTP.
const LINES_PER_FRAME: usize = 1_000;
/// So often during an upload it is read how much memory the services take.
const SAMPLES: usize = 40;
/// How long the limit is measured.
const LIMIT_DURATION: Duration = Duration::from_secs(3);
/// The least lines a second for which there is time.
const SLOWEST_PER_S: u64 = 2_000;

/// The lines of an ERP.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Erp {
    /// Raw batches of messages into JetStream a second: the limit.
    pub limit_per_s: f64,
    /// One upload over HTTP.
    pub http: Uploaded,
    /// Messages by NATS.
    pub nats: Uploaded,
}

/// Lines that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Uploaded {
    /// The lines.
    pub lines: Processed,
    /// The most memory of the services, in megabytes, while the first quarter of the lines was answered.
    pub memory_of_first_quarter_mb: Option<u64>,
    /// The same while the last quarter was.
    pub memory_of_last_quarter_mb: Option<u64>,
}

/// The time that so many lines may take, over HTTP and by NATS.
pub(super) fn time_for(lines: u32) -> Duration {
    Duration::from_secs(2 * u64::from(lines) / SLOWEST_PER_S)
}

/// Measures in an installation of its own.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Erp> {
    let progress = |what: &str| options.progress("erp", what);
    progress("starting");
    let installation = Installation::start(Setup::R1Sqlite, environment, "erp", &[]).await?;
    let load = installation.load(SHOP).await?;
    progress("raw batches, which are the limit");
    let limit = load.engine.raw_limit(LIMIT_DURATION).await;
    let RawLimit { messages, took } = limit.context("measure the limit of batches")?;
    load.open().await?;
    let [over_http, by_nats] = shop::CONNECTORS;
    let lines = options.erp_lines as usize;
    progress("lines in one upload over HTTP");
    let http = measure_one(&installation, lines, upload(&load, over_http, lines)).await?;
    load.quiet().await?;
    progress("lines in messages by NATS");
    let nats = measure_one(&installation, lines, send(&load, by_nats, lines)).await?;
    drop(load);
    installation.stop().await?;
    Ok(Erp { limit_per_s: rate(messages, took), http, nats })
}

/// Measures what `answered` counts: after each of its items so many lines have their result.
async fn measure_one(
    installation: &Installation,
    lines: usize,
    answered: impl Stream<Item = Result<usize>>,
) -> Result<Uploaded> {
    let mut memory = Samples { processes: installation.processes(), lines, taken: Vec::new() };
    let (cpu, started) = (installation.services.cpu_ticks(), Instant::now());
    let mut answered = std::pin::pin!(answered);
    let mut all = 0;
    while let Some(count) = answered.next().await {
        all += count?;
        memory.note(all);
    }
    ensure!(all == lines, "{all} of {lines} lines were answered");
    let took = started.elapsed();
    let after = installation.services.cpu_ticks();
    let cpu = after.zip(cpu).map(|(after, before)| ticks_as_time(after - before));
    Ok(Uploaded {
        lines: Processed::new(lines as u64, took, cpu),
        memory_of_first_quarter_mb: memory.most(..SAMPLES / 4),
        memory_of_last_quarter_mb: memory.most(SAMPLES * 3 / 4..),
    })
}

/// The memory of the services, each time that another part of the lines is answered.
struct Samples {
    processes: Processes,
    lines: usize,
    taken: Vec<Option<u64>>,
}

impl Samples {
    /// So many lines are answered.
    fn note(&mut self, answered: usize) {
        if answered * SAMPLES >= (self.taken.len() + 1) * self.lines {
            let memory = Memory::read(&self.processes);
            self.taken.push(memory.map(|memory| memory.services_mb));
        }
    }

    fn most(&self, part: impl RangeBounds<usize>) -> Option<u64> {
        let of_part = (0..).zip(&self.taken).filter(|(at, _)| part.contains(at));
        of_part.filter_map(|(_, memory)| *memory).max()
    }
}

/// Lines in one upload over HTTP, which are made while it runs.
fn upload(load: &Load, connector: &'static str, count: usize) -> impl Stream<Item = Result<usize>> {
    let frames = (0..count).step_by(LINES_PER_FRAME).map(move |from| {
        let lines = shop::lines(connector, from, LINES_PER_FRAME.min(count - from));
        Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(lines)))
    });
    let body = reqwest::Body::wrap(StreamBody::new(stream::iter(frames)));
    let api = load.api.clone();
    let results = async move { api.upload(Upload::ndjson("inventory"), body).await };
    let results = stream::once(results).flat_map(|results| {
        stream::unfold(Some(results), async |results| {
            let mut results = match results? {
                Ok(results) => results,
                Err(error) => return Some((Err(error), None)),
            };
            match results.next().await {
                Ok(answered) => answered.map(|answered| (Ok(answered), Some(Ok(results)))),
                Err(error) => Some((Err(error), None)),
            }
        })
    });
    results.map(|answered| match answered.context("upload lines")? {
        Answered::Line(line) if line.is_rejected() => {
            bail!("line {} was {}: {}", line.line, line.result, line.reason())
        }
        Answered::Line(_) => Ok(1),
        Answered::End(end) => {
            ensure!(end.status == "complete", "the upload ended {}", end.status);
            Ok(0)
        }
    })
}

/// Lines in messages by NATS.
fn send(load: &Load, connector: &'static str, count: usize) -> impl Stream<Item = Result<usize>> {
    #[derive(Deserialize)]
    struct Counts {
        rejected: u64,
    }
    let client = load.engine.client();
    let messages = (0..count).step_by(LINES_PER_MESSAGE).map(move |from| {
        let client = client.clone();
        let length = LINES_PER_MESSAGE.min(count - from);
        async move {
            let lines = shop::lines(connector, from, length).into();
            let headers = [("Content-Type", "application/x-ndjson")];
            let answer = client.request(SUBJECT, &headers, lines, ANSWER_TIMEOUT).await?;
            let status = answer.header("Tradewind-Status").unwrap_or_default();
            ensure!(status == "200", "lines were answered {status}");
            let Counts { rejected } = serde_json::from_slice(answer.payload())?;
            ensure!(rejected == 0, "{rejected} lines were rejected");
            Ok(length)
        }
    });
    stream::iter(messages).buffered(MAX_IN_FLIGHT)
}
