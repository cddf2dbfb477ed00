//! The load: orders through the inbox and over HTTP, stock lines over HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use client::Client;
use engine::{Engine, Outcome};
use events::shop::Settings;
use futures::{StreamExt, TryStreamExt, stream};
use node::services::NAMES;
use protocol::{
    command::OutgoingCommand,
    id::{CommandId, Shop},
    subject::Lane,
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    quantities::{Latency, Throughput},
    shop,
};
use crate::{figures::Latencies, random::Random, settlements::SettlementLatencies};

/// Commands that wait for their answers at the same time.
const MAX_IN_FLIGHT: usize = 1_000;
/// How long a command may wait for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Orders of [`Load::flood`] that wait for their answers at the same time; beyond that none is sent.
const MAX_FLOOD_IN_FLIGHT: usize = 500;
/// The interval between two looks at the logs, to see whether they still grow.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// Lines of one request.
const LINES_PER_REQUEST: usize = 5_000;
/// Requests with goods issues that are under way at the same time.
const GOODS_ISSUE_STREAMS: usize = 2;
/// The seed of all orders.
const SEED: u64 = 29;

/// Where the load goes.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) api: Client,
    pub(super) engine: Engine,
    pub(super) shop: Shop,
    pub(super) partition: u32,
}

impl Load {
    /// Creates the shop, and puts the catalogue and the stock there.
    pub(super) async fn open(&self) -> Result<()> {
        self.api.create_shop(&Settings::default()).await.context("create the shop")?;
        self.push("products", shop::products()).await.context("put the catalogue there")?;
        self.push("inventory", shop::stock()).await.context("put the stock there")?;
        self.quiet().await
    }

    /// Changes products, as fast as possible: each change is one event. No two calls may have a number in
    /// common.
    pub(super) async fn change_products(&self, from: u64, count: u64) -> Result<()> {
        let (mut next, end) = (from, from + count);
        while next < end {
            let count = (LINES_PER_REQUEST as u64).min(end - next);
            self.push("products", shop::changes(next, count)).await?;
            next += count;
        }
        Ok(())
    }

    /// Waits until nothing more is stored in the partition, by whatever shop.
    pub(super) async fn quiet(&self) -> Result<()> {
        self.stored().await.map(|_| ())
    }

    /// Orders through the inbox, without HTTP: all services work, nothing else. No two calls may have
    /// the same `name`; this goes for all kinds of orders.
    pub(super) async fn sagas(&self, name: &str, count: u32) -> Result<Throughput> {
        let (client, clock) = (self.engine.client(), &self.engine.config().clock);
        let before = self.stored().await?;
        let settlements = self.follow_settlements().await?;
        let mut random = Random::new(SEED);
        let started = Instant::now();
        let sending = stream::iter(0..count).map(|number| {
            let now = clock.now();
            let command = shop::command(&self.shop, name, number, &mut random, now);
            async {
                let command = OutgoingCommand::try_from(command)?;
                let outcome = client.send(Lane::Live, command, ANSWER_TIMEOUT).await;
                outcome.context("put an order into the inbox")
            }
        });
        let mut sent = sending.buffer_unordered(MAX_IN_FLIGHT);
        while let Some(outcome) = sent.next().await {
            match outcome? {
                Outcome::Answered(_) => {}
                Outcome::Pending => bail!("an order was not answered within {ANSWER_TIMEOUT:?}"),
            }
        }
        let last = settlements.wait_for(count.into()).await?;
        let messages = self.stored().await? - before;
        Ok(Throughput::new(count.into(), last.saturating_duration_since(started), messages))
    }

    /// Orders over HTTP, from clients that each send one after the other, until all are settled.
    pub(super) async fn orders(&self, name: &str, count: u32, clients: u16) -> Result<Throughput> {
        let before = self.stored().await?;
        let settlements = self.follow_settlements().await?;
        let next = Arc::new(AtomicU32::new(0));
        let started = Instant::now();
        let mut running = JoinSet::new();
        for client in 0..clients {
            let (load, next, name) = (self.clone(), next.clone(), name.to_owned());
            let mut random = Random::new(SEED + u64::from(client));
            running.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(());
                    }
                    load.place(&name, number, &mut random).await?;
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.context("be a client")??;
        }
        let last = settlements.wait_for(count.into()).await?;
        let messages = self.stored().await? - before;
        Ok(Throughput::new(count.into(), last.saturating_duration_since(started), messages))
    }

    /// Orders over HTTP at a fixed rate, whether the earlier ones are answered or not. What is
    /// late counts from when it was meant to begin.
    pub(super) async fn at_rate(&self, name: &str, rate: u32, time: Duration) -> Result<Latency> {
        let settlements = Arc::new(self.follow_settlements().await?);
        let count = (f64::from(rate) * time.as_secs_f64()) as u32;
        let mut random = Random::new(SEED);
        let mut placing = JoinSet::new();
        let mut accepted = Latencies::default();
        let started = Instant::now();
        for number in 0..count {
            let meant = started + time.mul_f64(f64::from(number) / f64::from(count));
            tokio::time::sleep_until(meant.into()).await;
            let body = shop::body(name, number, &mut random);
            let key = shop::key(name, number);
            let (load, settlements) = (self.clone(), settlements.clone());
            placing.spawn(async move {
                settlements.start(CommandId::from_key(&load.shop, &key).to_string(), meant);
                load.post(&body, &key).await.map(|()| meant.elapsed())
            });
            while let Some(placed) = placing.try_join_next() {
                accepted.record(placed.context("place an order")??);
            }
        }
        while let Some(placed) = placing.join_next().await {
            accepted.record(placed.context("place an order")??);
        }
        settlements.wait_for(count.into()).await?;
        Ok(Latency::new(rate, &accepted, &settlements.latencies()))
    }

    /// Orders over HTTP at a fixed rate, whatever is answered; returns how many were accepted.
    pub(super) async fn flood(&self, name: &str, rate: u32, time: Duration) -> Result<u64> {
        let mut random = Random::new(SEED);
        let mut next = interval(Duration::from_secs(1) / rate);
        next.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut placing = JoinSet::new();
        let mut accepted = 0;
        for number in 0..(f64::from(rate) * time.as_secs_f64()) as u32 {
            next.tick().await;
            while placing.len() >= MAX_FLOOD_IN_FLIGHT
                && let Some(placed) = placing.join_next().await
            {
                accepted += u64::from(placed.context("place an order")?);
            }
            let (body, key) = (shop::body(name, number, &mut random), shop::key(name, number));
            let api = self.api.clone();
            placing.spawn(async move {
                api.place(&body, &key, None).await.is_ok_and(|it| it.status.is_success())
            });
        }
        while let Some(placed) = placing.join_next().await {
            accepted += u64::from(placed.context("place an order")?);
        }
        Ok(accepted)
    }

    async fn follow_settlements(&self) -> Result<SettlementLatencies> {
        SettlementLatencies::follow(&self.engine, self.partition, &self.shop).await
    }

    async fn place(&self, name: &str, number: u32, random: &mut Random) -> Result<()> {
        let body = shop::body(name, number, random);
        self.post(&body, &shop::key(name, number)).await
    }

    async fn post(&self, body: &serde_json::Value, key: &str) -> Result<()> {
        let response = self.api.place(body, key, None).await?;
        if response.status != StatusCode::CREATED {
            bail!("order {key} was answered {}: {}", response.status, response.body);
        }
        Ok(())
    }

    /// Stock lines over HTTP, from two connectors at the same time.
    pub(super) async fn lines(&self, count: u32) -> Result<Throughput> {
        let each = count as usize / shop::CONNECTORS.len();
        let uploads: Vec<Vec<String>> = shop::CONNECTORS
            .iter()
            .map(|connector| {
                let starts = (0..each).step_by(LINES_PER_REQUEST);
                let length = |from| LINES_PER_REQUEST.min(each - from);
                starts.map(|from| shop::lines(connector, from, length(from))).collect()
            })
            .collect();
        let before = self.stored().await?;
        let started = Instant::now();
        let pushing = uploads.into_iter().map(async |uploads| {
            for upload in uploads {
                self.push("inventory", upload).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(pushing).await?;
        let took = started.elapsed();
        let messages = self.stored().await? - before;
        Ok(Throughput::new((each * shop::CONNECTORS.len()) as u64, took, messages))
    }

    /// What [`Load::sagas`] of that name and number ordered leaves by goods issues over HTTP, in two
    /// streams of requests.
    pub(super) async fn goods_issues(&self, name: &str, orders: u32) -> Result<Throughput> {
        let lines = shop::goods_issues(&self.shop, name, orders, &mut Random::new(SEED));
        let uploads: Vec<_> = lines.chunks(LINES_PER_REQUEST).map(<[_]>::concat).collect();
        let before = self.stored().await?;
        let started = Instant::now();
        let pushing = stream::iter(uploads).map(|upload| self.push("inventory", upload));
        pushing.buffer_unordered(GOODS_ISSUE_STREAMS).try_collect::<()>().await?;
        let took = started.elapsed();
        let messages = self.stored().await? - before;
        Ok(Throughput::new(lines.len() as u64, took, messages))
    }

    /// Stock lines over HTTP, one request after the other, until it is stopped; returns how many.
    pub(super) async fn lines_until(&self, mut stopped: oneshot::Receiver<()>) -> Result<u64> {
        let [connector, ..] = shop::CONNECTORS;
        let mut pushed = 0;
        while let Err(oneshot::error::TryRecvError::Empty) = stopped.try_recv() {
            self.push("inventory", shop::lines(connector, pushed, LINES_PER_REQUEST)).await?;
            pushed += LINES_PER_REQUEST;
        }
        Ok(pushed as u64)
    }

    /// The messages that are in the inbox and all logs, once none comes any more.
    async fn stored(&self) -> Result<u64> {
        let mut last = None;
        loop {
            let mut stored = self.engine.inbox_end(self.partition).await?;
            for service in NAMES {
                stored += self.engine.log_end(service, self.partition).await?;
            }
            if last == Some(stored) {
                return Ok(stored);
            }
            last = Some(stored);
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Pushes lines, and reads of the answer what they came to, not what became of each.
    pub(super) async fn push(&self, path: &str, lines: String) -> Result<()> {
        #[derive(Deserialize)]
        struct Counts {
            rejected: u64,
        }
        let request = self.api.request(Method::POST, path);
        let request = request.header("content-type", "application/x-ndjson").body(lines);
        let response = request.send().await.context("push lines to the gateway")?;
        let status = response.status();
        let body = response.bytes().await.context("read the gateway's answer")?;
        ensure!(
            status == StatusCode::OK,
            "lines were answered {status}: {}",
            String::from_utf8_lossy(&body[..body.len().min(500)])
        );
        let Counts { rejected } = serde_json::from_slice(&body)?;
        ensure!(rejected == 0, "{rejected} lines were rejected");
        Ok(())
    }
}
