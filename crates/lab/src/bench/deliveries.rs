//! Webhooks from events to a receiver on this machine, through all services.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use client::Client;
use engine::Logged;
use events::proto::Event;
use futures::{TryStreamExt, stream, stream::StreamExt};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Options,
    figures::{Backlog, BesideOrders, FirstAttempts, Processed, Webhooks},
    load::Load,
    memory::Memory,
    process::ticks_as_time,
    receiver::Receiver,
    setup::{Environment, Installation, Setup},
    shop, webhooks,
};
use crate::figures::Latencies;

/// The shop of the benchmark.
const SHOP: &str = "webhooks";
/// The settings of the services that allow a receiver on this machine.
const FLAGS: [&str; 5] =
    ["--webhook-allow-http", "--webhook-ports", "1-65535", "--webhook-networks", "127.0.0.0/8"];
/// The service whose events are delivered, but for those of orders.
const CATALOG: &str = "catalog";
/// All of its events.
const CATALOG_EVENTS: &str = "catalog.*";
/// The events that settle orders: one for each.
const SETTLING_EVENTS: [&str; 2] = ["order.paid", "order.cancelled"];
/// The endpoints that share a backlog.
const SOME_ENDPOINTS: u32 = 10;
/// The deliveries of a backlog to one endpoint are so much fewer than those to several.
const ONE_DIVISOR: u32 = 4;
/// The most endpoints of a shop, and the events that each is sent.
const MANY_ENDPOINTS: u32 = 1_000;
const EVENTS_OF_MANY: u64 = 100;
/// Events a second at which the time to the first attempt is measured.
const RATE: u32 = 500;
/// Requests that are under way while endpoints are created, and how often each is repeated until it is
/// answered.
const CREATING: usize = 4;
const CREATE_ATTEMPTS: u32 = 5;
/// How long the log may take to show what was published.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a figure, so that what was begun before is over.
const SETTLE_PAUSE: Duration = Duration::from_secs(2);

/// Measures deliveries in an installation of their own, and in the same run what the sender does alone.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Webhooks> {
    let progress = |what: &str| options.progress("webhooks", what);
    let receiver = Receiver::start()?;
    progress("the sender alone, which is the limit");
    let limit = webhooks::alone(&receiver, options.deliveries).await?;
    progress("starting");
    let installation =
        Installation::start(Setup::R1Sqlite, environment, "webhooks", &FLAGS).await?;
    let load = installation.load(SHOP).await?;
    load.open().await?;
    let mut bench = Bench { installation: &installation, load, receiver, changed: 0, groups: 0 };

    progress("a backlog to one endpoint");
    let one = bench.backlog(1, options.deliveries / ONE_DIVISOR).await?;
    progress("a backlog to ten endpoints");
    let some = bench.backlog(SOME_ENDPOINTS, options.deliveries / SOME_ENDPOINTS).await?;
    progress("deliveries while orders settle");
    let beside_orders = bench.beside_orders(options.sagas).await?;
    let duration = Duration::from_secs(options.seconds.into());
    progress("500 events/s");
    let first_attempts = bench.first_attempts(duration, false).await?;
    progress("500 events/s beside an endpoint that hangs");
    let beside_hanging = bench.first_attempts(duration, true).await?;
    progress("100 events to 1,000 endpoints");
    let many = bench.many().await?;
    drop(bench);
    installation.stop().await?;
    Ok(Webhooks { limit, one, some, beside_orders, first_attempts, beside_hanging, many })
}

struct Bench<'a> {
    installation: &'a Installation,
    load: Load,
    receiver: Receiver,
    /// The changes of products so far.
    changed: u64,
    /// How often endpoints were created.
    groups: u32,
}

/// An endpoint, by its path.
struct Endpoint(String);

impl Bench<'_> {
    /// Lets events wait for endpoints that take one in a second, and then lets them go.
    async fn backlog(&mut self, endpoints: u32, events: u32) -> Result<Backlog> {
        let paths = (1..=endpoints).map(|number| format!("endpoints/{number}"));
        let paused = json!({"event_types": [CATALOG_EVENTS], "max_per_second": 1});
        let endpoints = self.create(paths, &paused).await?;
        let first = u64::from(events).div_ceil(4);
        self.publish(first).await?;
        let memory_of_quarter_mb = self.memory_mb();
        self.publish(u64::from(events) - first).await?;
        let memory_mb = self.memory_mb();

        let all = u64::from(events) * endpoints.len() as u64;
        let (sent_before, cpu) = (self.receiver.count(), self.installation.services.cpu_ticks());
        let started = Instant::now();
        for Endpoint(path) in &endpoints {
            send(&self.load.api, Method::PATCH, path, json!({"max_per_second": null})).await?;
        }
        let last = self.receiver.wait_for(all).await?;
        let cpu =
            self.installation.services.cpu_ticks().zip(cpu).map(|(after, before)| after - before);
        let took = last.saturating_duration_since(started);
        let deliveries = Processed::new(all - sent_before, took, cpu.map(ticks_as_time));
        self.delete(endpoints).await?;
        Ok(Backlog { deliveries, memory_of_quarter_mb, memory_mb })
    }

    /// Orders through the inbox, of each of which one event is delivered.
    async fn beside_orders(&mut self, orders: u32) -> Result<BesideOrders> {
        let wanted = json!({"event_types": SETTLING_EVENTS});
        let endpoints = self.create(["endpoints/1".to_owned()], &wanted).await?;
        let started = Instant::now();
        let settled = self.load.sagas("webhooks", orders).await?;
        let last = self.receiver.wait_for(orders.into()).await?;
        let took = last.saturating_duration_since(started);
        let deliveries = Processed::new(orders.into(), took, None);
        self.delete(endpoints).await?;
        Ok(BesideOrders { orders_per_s: settled.per_s, deliveries_per_s: deliveries.per_s })
    }

    /// From an event in its log to its first attempt, at a fixed rate.
    async fn first_attempts(
        &mut self,
        time: Duration,
        beside_hanging: bool,
    ) -> Result<FirstAttempts> {
        let wanted = json!({"event_types": [CATALOG_EVENTS]});
        let paths = beside_hanging.then_some("hang").into_iter().chain(["endpoints/1"]);
        let endpoints = self.create(paths.map(str::to_owned), &wanted).await?;
        let stored = self.follow().await?;
        self.receiver.note_arrivals();
        let count = (f64::from(RATE) * time.as_secs_f64()) as u32;
        let started = Instant::now();
        let mut changing = JoinSet::new();
        for number in 0..count {
            sleep_until((started + time.mul_f64(f64::from(number) / f64::from(count))).into())
                .await;
            let (sku, change) = shop::change(self.changed);
            self.changed += 1;
            let api = self.load.api.clone();
            changing.spawn(async move {
                send(&api, Method::PUT, &format!("products/{sku}"), change).await
            });
        }
        while let Some(changed) = changing.join_next().await {
            changed.context("change a product")??;
        }
        self.receiver.wait_for(count.into()).await?;
        let arrivals = self.receiver.take_arrivals();
        let latencies = stored.latencies(&arrivals).await?;
        ensure!(latencies.len() == u64::from(count), "{} of {count} events", latencies.len());
        self.delete(endpoints).await?;
        Ok(FirstAttempts::new(RATE, &latencies))
    }

    /// A few events to as many endpoints as a shop may have.
    async fn many(&mut self) -> Result<Processed> {
        let paths = (1..=MANY_ENDPOINTS).map(|number| format!("endpoints/{number}"));
        let wanted = json!({"event_types": [CATALOG_EVENTS]});
        let endpoints = self.create(paths, &wanted).await?;
        let cpu = self.installation.services.cpu_ticks();
        let started = Instant::now();
        self.load.change_products(self.changed, EVENTS_OF_MANY).await?;
        self.changed += EVENTS_OF_MANY;
        let all = u64::from(MANY_ENDPOINTS) * EVENTS_OF_MANY;
        let last = self.receiver.wait_for(all).await?;
        let cpu =
            self.installation.services.cpu_ticks().zip(cpu).map(|(after, before)| after - before);
        drop(endpoints);
        let took = last.saturating_duration_since(started);
        Ok(Processed::new(all, took, cpu.map(ticks_as_time)))
    }

    async fn create(
        &mut self,
        paths: impl IntoIterator<Item = String>,
        settings: &Value,
    ) -> Result<Vec<Endpoint>> {
        #[derive(Deserialize)]
        struct Created {
            id: String,
        }
        self.groups += 1;
        let group = self.groups;
        let creating = paths.into_iter().map(|path| {
            let mut settings = settings.clone();
            settings["url"] = self.receiver.url(&path).into();
            let (api, key) = (&self.load.api, format!("{group}-{path}"));
            async move {
                for _ in 0..CREATE_ATTEMPTS {
                    let request = api.request(Method::POST, "webhook-endpoints").json(&settings);
                    let answer = api.send(request.header("idempotency-key", &key)).await?;
                    // It is stored and not answered yet.
                    if answer.status == StatusCode::ACCEPTED {
                        continue;
                    }
                    let Created { id } = answer.succeeded()?.read()?;
                    return Ok(Endpoint(format!("webhook-endpoints/{id}")));
                }
                bail!("an endpoint was not created in {CREATE_ATTEMPTS} attempts")
            }
        });
        stream::iter(creating).buffered(CREATING).try_collect().await
    }

    /// Deletes endpoints, and forgets what they were sent.
    async fn delete(&self, endpoints: Vec<Endpoint>) -> Result<()> {
        for Endpoint(path) in endpoints {
            let deleted = self.load.api.send(self.load.api.request(Method::DELETE, &path)).await?;
            ensure!(deleted.status.is_success(), "{path} was answered {}", deleted.status);
        }
        sleep(SETTLE_PAUSE).await;
        self.receiver.clear();
        Ok(())
    }

    /// Changes products, as fast as possible; returns when the services have nothing more to do with it.
    async fn publish(&mut self, events: u64) -> Result<()> {
        self.load.change_products(self.changed, events).await?;
        self.changed += events;
        sleep(SETTLE_PAUSE).await;
        Ok(())
    }

    fn memory_mb(&self) -> Option<u64> {
        Memory::read(&self.installation.processes()).map(|memory| memory.services_mb)
    }

    /// Follows what is stored in the log of the catalogue from now on.
    async fn follow(&self) -> Result<Stored> {
        let Load { engine, partition, .. } = &self.load;
        let after = engine.log_end(CATALOG, *partition).await?;
        let stop = CancellationToken::new();
        let mut log = engine.follow_log::<Event>(CATALOG, *partition, &["*"], after, &stop);
        let times: Arc<Mutex<HashMap<u128, i64>>> = Arc::default();
        let noted = times.clone();
        tokio::spawn(async move {
            while let Some(Logged { event, stored_at_ms, .. }) = log.recv().await {
                if let (Ok(id), Some(at)) = (Uuid::parse_str(&event.id), stored_at_ms) {
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.insert(id.as_u128(), at);
                }
            }
        });
        Ok(Stored { times, _stop: stop.drop_guard() })
    }
}

/// When events were stored in their log, in milliseconds since 1970, by their ids.
struct Stored {
    times: Arc<Mutex<HashMap<u128, i64>>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Stored {
    /// How long after that each event arrived; with the part of a millisecond in which it was stored, so
    /// half of one too much on average.
    async fn latencies(&self, arrivals_us: &HashMap<u128, i64>) -> Result<Latencies> {
        let known = || self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = async {
            while known().len() < arrivals_us.len() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LOG_TIMEOUT, all).await.context("read the log of what was delivered")?;
        let known = known();
        let mut latencies = Latencies::default();
        for (id, arrived_us) in arrivals_us {
            if let Some(stored_ms) = known.get(id) {
                let latency = (arrived_us - stored_ms * 1_000).max(0);
                latencies.record(Duration::from_micros(latency as u64));
            }
        }
        Ok(latencies)
    }
}

async fn send(api: &Client, method: Method, path: &str, body: Value) -> Result<Value> {
    let answer = api.send(api.request(method, path).json(&body)).await?;
    ensure!(answer.status.is_success(), "{path} was answered {}: {}", answer.status, answer.body);
    Ok(answer.body)
}
