//! What the tests have in common: an installation, a running ledger, and what must hold whatever
//! happened to them.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_nats::{HeaderMap, Request};
use engine::{
    Answered, Client, Config, Engine, Error, Faults, Outcome, ParkedInput, Redriving, Revision,
};
use futures::TryStreamExt;
use prost::Message;
use protocol::{
    id::{CommandId, Shop},
    proto::engine_event::Kind,
    subject::{AGGREGATE_HEADER, Lane},
};
use serde_json::Value;
use testkit::{Db, Entry, TestServer, engine_config, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    contract::{
        self, ACCOUNT, Body, Close, Command, Counted, Deposit, Event, FoundAccount, GetAccount,
        Line, PROGRAM, SERVICES, Task,
    },
    ledger::Ledger,
};

/// How long a command may take that is going to be answered.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages that are written at once.
const BATCH: usize = 500;
/// The ledger's log.
pub(crate) const LOG: &str = "ACCOUNT-0";
/// Where deposits go, live.
pub(crate) const LIVE: &str = "inbox.0.live.account.acme.deposit";

/// An installation with one partition.
pub(crate) struct Rig {
    pub(crate) server: TestServer,
    pub(crate) db: Db,
}

impl Rig {
    pub(crate) async fn start(db: Db) -> Self {
        Self { server: TestServer::start().await, db }
    }

    pub(crate) fn config(&self) -> Config {
        Config { program: &PROGRAM, ..engine_config(&self.server, &self.db, 1, SERVICES) }
    }

    pub(crate) async fn engine(&self) -> Engine {
        connect(self.config()).await
    }

    pub(crate) async fn engine_with(&self, faults: Faults) -> Engine {
        connect(Config { faults, ..self.config() }).await
    }

    /// An engine on another machine.
    pub(crate) async fn engine_elsewhere(&self) -> Engine {
        let instance = "elsewhere".to_owned();
        connect(Config { database: self.db.location_elsewhere(), instance, ..self.config() }).await
    }

    /// The ledger's log.
    pub(crate) async fn log(&self) -> Vec<Entry<Event>> {
        self.server.events(LOG).await
    }

    /// Deletes a stream and creates it as it was defined.
    pub(crate) async fn create_anew(&self, stream: &str) {
        let context = self.server.jetstream().await;
        let found = context.get_stream(stream).await.expect("it is there");
        let defined = found.cached_info().config.clone();
        context.delete_stream(stream).await.expect("it can be deleted");
        context.create_stream(defined).await.expect("it can be created");
    }

    /// Writes a message as no engine would: any bytes, no id.
    pub(crate) async fn write(&self, subject: &str, aggregate: &str, payload: Vec<u8>) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert(AGGREGATE_HEADER, aggregate);
        self.write_with(subject, headers, payload).await
    }

    pub(crate) async fn write_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Vec<u8>,
    ) -> u64 {
        let context = self.server.jetstream().await;
        let stored =
            context.publish_with_headers(subject.to_owned(), headers, payload.into()).await;
        stored.expect("it is published").await.expect("it is stored").sequence
    }

    /// Writes what another service would.
    pub(crate) async fn write_event(&self, aggregate: &str, body: Body) -> u64 {
        self.write_events([(shop().as_str(), aggregate, body)]).await
    }

    /// Writes what another service would for shops, in order; returns the sequence of the last.
    pub(crate) async fn write_events<'a>(
        &self,
        events: impl IntoIterator<Item = (&'a str, &'a str, Body)>,
    ) -> u64 {
        // Atomic batches: one by one, thousands take a minute on a busy disk.
        let nats = self.server.jetstream().await.client();
        let events: Vec<_> = events.into_iter().collect();
        let mut last = 0;
        for batch in events.chunks(BATCH) {
            let batch_id = id();
            for (number, (shop, aggregate, body)) in (1..).zip(batch) {
                let (subject, event) = foreign(shop, aggregate, body.clone());
                let mut headers = HeaderMap::new();
                headers.insert(AGGREGATE_HEADER, *aggregate);
                headers.insert("Nats-Batch-Id", batch_id.as_str());
                headers.insert("Nats-Batch-Sequence", number.to_string());
                let payload = event.encode_to_vec().into();
                if number < batch.len() {
                    let published = nats.publish_with_headers(subject, headers, payload).await;
                    published.expect("it is published");
                    continue;
                }
                headers.insert("Nats-Batch-Commit", "1");
                let request = Request::new().headers(headers).payload(payload);
                let request = request.timeout(Some(ANSWER_TIMEOUT));
                let stored = nats.send_request(subject, request).await.expect("it is answered");
                let stored: Value = serde_json::from_slice(&stored.payload).expect("it is JSON");
                last = stored["seq"].as_u64().expect("it is stored");
            }
        }
        last
    }

    /// Waits until a worker has received all that a stream holds for it.
    pub(crate) async fn await_read(&self, stream: &str) {
        let stream = self.server.jetstream().await.get_stream(stream).await.expect("it is there");
        eventually("everything is read", async || {
            let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap_or_default();
            !consumers.is_empty() && consumers.iter().all(|consumer| consumer.num_pending == 0)
        })
        .await;
    }

    /// What must hold whatever happened: the log has no gap, each aggregate's versions count from
    /// 1, no command has been answered twice, and the projection is what the log says. Returns the
    /// log.
    pub(crate) async fn check(&self, engine: &Engine) -> Vec<Entry<Event>> {
        let log = self.log().await;
        let mut revisions: HashMap<_, Revision> = HashMap::new();
        let mut answers: HashMap<_, u64> = HashMap::new();
        for (index, entry) in log.iter().enumerate() {
            assert_eq!(entry.sequence, index as u64 + 1, "the log has a gap");
            let event = &entry.event;
            let revision = revisions.entry((&event.shop, &event.aggregate_id)).or_default();
            assert_eq!(event.aggregate_version, revision.version + 1, "{event:?}");
            assert_eq!(event.position, entry.sequence, "{event:?}");
            if !entry.subject.starts_with("engine.") {
                assert_eq!(event.previous_position, revision.position, "{event:?}");
            }
            *revision = Revision { version: event.aggregate_version, position: event.position };
            if let Some(command) = settled_command(event) {
                let times = answers.entry((&event.shop, command)).or_default();
                *times += 1;
                assert_eq!(*times, 1, "answered twice: {event:?}");
            }
        }
        let verified = engine.verify::<Ledger>().await.expect("it can be verified");
        assert_eq!(verified.mismatches, []);
        log
    }
}

/// What another service would write for a shop, and its subject.
fn foreign(shop: &str, aggregate: &str, body: Body) -> (String, Event) {
    let (service, kind) = body.name();
    let event = Event {
        id: id(),
        shop: shop.to_owned(),
        aggregate_id: aggregate.to_owned(),
        aggregate_version: 1,
        body: Some(body),
        ..Default::default()
    };
    (format!("{service}.0.{shop}.{kind}"), event)
}

/// A ledger that runs.
pub(crate) struct Running {
    task: JoinHandle<Result<(), Error>>,
    shutdown: CancellationToken,
}

impl Running {
    /// Runs the ledger without a claim, so that a failure is returned.
    pub(crate) fn start(engine: &Engine, ledger: &Ledger) -> Self {
        let (engine, ledger) = (engine.clone(), ledger.clone());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        Self {
            task: tokio::spawn(
                async move { engine.run_unclaimed(ledger.definition(), stop).await },
            ),
            shutdown,
        }
    }

    /// Runs it as a process does.
    pub(crate) fn start_claimed(engine: &Engine, ledger: &Ledger) -> Self {
        let (engine, ledger) = (engine.clone(), ledger.clone());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        Self {
            task: tokio::spawn(async move { engine.run(ledger.definition(), stop).await }),
            shutdown,
        }
    }

    /// Stops it as SIGTERM would.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.expect("it does not panic").expect("it stops without an error");
    }

    /// Stops it as SIGKILL would.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        (&mut self.task).await.expect_err("it was aborted");
    }

    /// Waits until it fails.
    pub(crate) async fn fails(mut self) -> Error {
        (&mut self.task).await.expect("it does not panic").expect_err("it fails")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn connect(config: Config) -> Engine {
    Engine::connect(config).await.expect("the engine connects")
}

pub(crate) fn shop() -> Shop {
    Shop::parse("acme").expect("it is one")
}

/// The command as that shop would send it.
pub(crate) fn of(shop: &str, command: Command) -> Command {
    Command { shop: shop.to_owned(), ..command }
}

/// A deposit of one line.
pub(crate) fn deposit(account: &str, amount: i64) -> Command {
    deposit_lines(account, &[("any", amount)])
}

/// A deposit of a line of one unit for each item and price.
pub(crate) fn deposit_lines(account: &str, lines: &[(&str, i64)]) -> Command {
    let lines = lines
        .iter()
        .map(|(item, price)| Line { item: (*item).to_owned(), quantity: 1, price: Some(*price) })
        .collect();
    command(Task::Deposit(Deposit { account: account.to_owned(), lines, then: String::new() }))
}

/// A deposit that leads to more: `promise` or `charge`.
pub(crate) fn deposit_then(account: &str, amount: i64, then: &str) -> Command {
    change_deposit(deposit(account, amount), |deposit| then.clone_into(&mut deposit.then))
}

/// Changes what is deposited.
pub(crate) fn change_deposit(mut command: Command, change: impl FnOnce(&mut Deposit)) -> Command {
    let Some(Task::Deposit(deposit)) = &mut command.task else { panic!("it is no deposit") };
    change(deposit);
    command
}

/// An event of the intake that is deposited that many times.
pub(crate) fn counted(amount: i64, times: i64) -> Body {
    Body::Counted(Counted { amount, times })
}

/// Digits that do not repeat: Postgres would compress others, and then an index may hold them.
pub(crate) fn digits(count: usize) -> String {
    let digits = (1..).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string());
    digits.flat_map(String::into_bytes).map(char::from).take(count).collect()
}

/// Closes an account.
pub(crate) fn close(account: &str) -> Command {
    command(Task::Close(Close { account: account.to_owned() }))
}

fn command(task: Task) -> Command {
    Command {
        id: id(),
        shop: shop().to_string(),
        fingerprint: "f".to_owned(),
        task: Some(task),
        ..Default::default()
    }
}

/// An id that no other message of this process has.
fn id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    CommandId::from_key(&shop(), &number.to_string()).to_string()
}

/// Sends a command that is going to be answered.
pub(crate) async fn send(client: &Client, command: Command) -> Answered {
    match client.send(Lane::Live, command.into(), ANSWER_TIMEOUT).await.expect("it is sent") {
        Outcome::Answered(answered) => answered,
        Outcome::Pending => panic!("it was not answered within {ANSWER_TIMEOUT:?}"),
    }
}

/// What a command was answered.
pub(crate) fn answer(answered: &Answered) -> contract::AccountAnswer {
    contract::AccountAnswer::decode(&*answered.body).expect("it is an answer")
}

/// Asks for an account; what is found holds the log up to `at_least`.
pub(crate) async fn account(client: &Client, name: &str, at_least: u64) -> Option<FoundAccount> {
    let question = GetAccount { account: name.to_owned(), padding: 0 }.encode_to_vec();
    let found = client.query(ACCOUNT, &shop(), question, at_least).await.expect("it is answered");
    found.map(|found| FoundAccount::decode(found).expect("it is an account"))
}

/// Stores a command in the inbox and does not wait for an answer.
pub(crate) async fn store(client: &Client, lane: Lane, command: Command) {
    client.write(lane, command.into(), ANSWER_TIMEOUT).await.expect("it is stored");
}

/// The amounts that were deposited into an account, in order.
pub(crate) fn deposits(log: &[Entry<Event>], account: &str) -> Vec<i64> {
    log.iter()
        .filter(|entry| entry.event.aggregate_id == account)
        .filter_map(|entry| match entry.event.body.as_ref()? {
            Body::Deposited(deposited) => Some(deposited.amount),
            _ => None,
        })
        .collect()
}

/// The names of the events of an aggregate, in order.
pub(crate) fn kinds(log: &[Entry<Event>], aggregate: &str) -> Vec<&'static str> {
    log.iter()
        .filter(|entry| entry.event.aggregate_id == aggregate)
        .filter_map(|entry| Some(entry.event.body.as_ref()?.name().1))
        .collect()
}

/// The command that an event answers for good.
fn settled_command(event: &Event) -> Option<&str> {
    if let Some(Body::Engine(engine)) = &event.body
        && let Some(Kind::Answered(answered)) = &engine.kind
    {
        return answered.has_effect.then_some(&answered.command_id);
    }
    let cause = event.cause.as_ref().filter(|cause| !cause.fingerprint.is_empty())?;
    Some(&cause.id)
}

/// A page of what is parked, as soon as there are that many on it.
pub(crate) async fn parked(client: &Client, count: usize) -> Vec<ParkedInput> {
    let page = async || client.parked(ACCOUNT, 0, None).await;
    eventually("the inputs are parked", async || {
        page().await.is_ok_and(|page| page.parked.len() == count)
    })
    .await;
    page().await.expect("it is answered").parked
}

/// Lets what is parked for the aggregate of that row be handled again, the first with other bytes.
pub(crate) async fn redrive(
    client: &Client,
    parked: &ParkedInput,
    edited: Option<Vec<u8>>,
) -> Redriving {
    let redriven = client.redrive(ACCOUNT, 0, &parked.id, edited.as_deref()).await;
    redriven.expect("it can be redriven")
}
