//! An installation with the service, a receiver, and somebody who publishes events of orders.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::notify::Notify;
use engine::{Clock, Config, Engine, Outcome};
use events::proto::{
    self, AnswerBody, answer_body, command, event,
    notify::{self, change_webhooks::Request, notify_question::Question},
    order,
};
use person_keys::{MasterKeys, PersonKeys};
use prost::Message;
use protocol::{
    command::OutgoingCommand,
    id::{CommandId, Shop},
    subject::Lane,
    time::Timestamp,
};
use testkit::{Db, Receiver, TestServer, engine_config, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook_http::{Policy, Secret};

const SERVICES: &[&str] = &["shop", "catalog", "inventory", "order", "payment", "notify"];
const KEYS: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) server: TestServer,
    pub(crate) db: Db,
    pub(crate) receiver: Receiver,
    /// Another one, that always answers 204.
    pub(crate) other: Receiver,
    published: AtomicU64,
    /// How far the clock is ahead, in milliseconds.
    ahead: Arc<AtomicI64>,
}

/// The shop that a test is about where it says nothing of another.
const SHOP: &str = "acme";

fn keys() -> MasterKeys {
    MasterKeys::parse(KEYS).expect("they are keys")
}

/// A value of an endpoint as it is in a message.
pub(crate) fn sealed(id: &str, text: &str) -> notify::SealedValue {
    sealed_of(SHOP, id, text)
}

fn sealed_of(shop: &str, id: &str, text: &str) -> notify::SealedValue {
    let context = format!("{shop}/{id}");
    let (key_name, ciphertext) = keys().seal_value(&context, text.as_bytes());
    notify::SealedValue { key_name, ciphertext }
}

/// What may be sent where: anything on this machine.
pub(crate) fn policy() -> Policy {
    Policy {
        allow_http: true,
        allowed_ports: "1-65535".parse().expect("ports"),
        allowed_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        exchange_timeout: Duration::from_mins(2),
        ..Policy::default()
    }
}

/// Settings of an endpoint at the receiver.
pub(crate) fn settings(
    receiver: &Receiver,
    path: &str,
    filters: &[&str],
) -> notify::EndpointSettings {
    notify::EndpointSettings {
        url: receiver.url(path),
        event_types: filters.iter().map(|&filter| filter.to_owned()).collect(),
        ..Default::default()
    }
}

/// The number of a delivery.
pub(crate) fn seq_of(body: &[u8]) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(body).expect("is JSON");
    body["meta"]["endpoint_seq"].as_u64().expect("a number")
}

/// The numbers of what came at a path, in order.
pub(crate) fn delivered(receiver: &Receiver, path: &str) -> Vec<u64> {
    let requests = receiver.received().into_iter().filter(|request| request.path == path);
    requests.map(|request| seq_of(&request.body)).collect()
}

impl Rig {
    pub(crate) async fn start(db: Db) -> Self {
        let (receiver, other) = (Receiver::start().await, Receiver::start().await);
        let server = TestServer::start().await;
        Self { server, db, receiver, other, published: AtomicU64::new(0), ahead: Arc::default() }
    }

    /// Turns the clock.
    pub(crate) fn forward(&self, by: Duration) {
        self.ahead.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    /// What the clock says.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn clock(&self) -> Clock {
        let (ahead, system) = (self.ahead.clone(), testkit::system_clock());
        Clock::from(move || {
            Timestamp::from_millis(system.now().millis() + ahead.load(Ordering::Relaxed))
        })
    }

    fn config(&self) -> Config {
        Config { clock: self.clock(), ..engine_config(&self.server, &self.db, 1, SERVICES) }
    }

    pub(crate) async fn engine(&self) -> Engine {
        Engine::connect(self.config()).await.expect("it connects")
    }

    /// Publishes events of orders: the name of each, and its order.
    pub(crate) async fn publish(&self, events: &[(&str, &str)]) {
        self.publish_of(SHOP, events).await;
    }

    pub(crate) async fn publish_of(&self, shop: &str, events: &[(&str, &str)]) {
        let mut last = 0;
        let message = |(name, order_id): &(&str, &str)| {
            let (position, event) = self.next_event(shop, name, order_id);
            last = position;
            (format!("order.0.{shop}.{name}"), event)
        };
        let messages = events.iter().map(message).collect();
        assert_eq!(self.server.write_all(messages).await, last);
    }

    fn next_event(&self, shop: &str, name: &str, order_id: &str) -> (u64, Vec<u8>) {
        let position = self.published.fetch_add(1, Ordering::Relaxed) + 1;
        let kind = match name {
            "placed" => order::order_event::Kind::Placed(order::Placed::default()),
            _ => order::order_event::Kind::Paid(order::Paid::default()),
        };
        let body = order::OrderEvent { kind: Some(kind), summary: None };
        let event = proto::Event {
            id: uuid::Uuid::from_u128(position.into()).to_string(),
            shop: shop.to_owned(),
            aggregate_type: "order".to_owned(),
            aggregate_id: order_id.to_owned(),
            aggregate_version: position,
            position,
            time: Some(Timestamp::from_millis(1_700_000_000_000).into()),
            body: Some(event::Body::Order(body)),
            ..Default::default()
        };
        (position, event.encode_to_vec())
    }

    /// The projection is what the log says.
    pub(crate) async fn verify(&self) {
        let verified = self.engine().await.verify::<Notify>().await.expect("it can be verified");
        assert!(verified.mismatches.is_empty(), "{verified:?}");
    }
}

/// A process that runs the service. It is a client of the shop that the test is about.
pub(crate) struct Running {
    client: ShopClient,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Deref for Running {
    type Target = ShopClient;

    fn deref(&self) -> &ShopClient {
        &self.client
    }
}

/// Who asks the service about a shop.
pub(crate) struct ShopClient {
    engine: Engine,
    shop: Shop,
}

impl Running {
    pub(crate) async fn start(rig: &Rig) -> Self {
        Self::with_policy(rig, policy()).await
    }

    pub(crate) async fn with_policy(rig: &Rig, policy: Policy) -> Self {
        Self::with(rig.config(), policy).await
    }

    pub(crate) async fn start_elsewhere(rig: &Rig) -> Self {
        let database = rig.db.location_elsewhere();
        let instance = "elsewhere".to_owned();
        Self::with(Config { database, instance, ..rig.config() }, policy()).await
    }

    async fn with(config: Config, policy: Policy) -> Self {
        let engine = Engine::connect(config).await.expect("it connects");
        // No mail is sent here: the keys of persons are not looked at.
        let keys = Some(PersonKeys::new("unused", keys()));
        let retry_pauses_s = Vec::new();
        let settings = ::notify::Settings { policy, keys, mail_server: None, retry_pauses_s };
        let clock = engine.config().clock.clone();
        let service = ::notify::service(settings, engine.client(), clock).expect("it is a service");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let (engine, shutdown) = (engine.clone(), shutdown.clone());
            async move { engine.run(service, shutdown).await.expect("it runs") }
        });
        Self { client: ShopClient::new(engine, SHOP), shutdown, task }
    }

    /// A client of another shop.
    pub(crate) fn of(&self, shop: &str) -> ShopClient {
        ShopClient::new(self.engine.clone(), shop)
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("it stops");
    }

    /// Ends it without letting it finish anything.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }
}

impl ShopClient {
    fn new(engine: Engine, shop: &str) -> Self {
        Self { engine, shop: Shop::parse(shop).expect("valid") }
    }

    /// A secret of an endpoint, and how it is sealed.
    fn new_secret(&self, id: &str) -> (Secret, notify::SealedValue) {
        let secret = Secret::generate().expect("there is randomness");
        let value = sealed_of(self.shop.as_str(), id, secret.expose());
        (secret, value)
    }

    pub(crate) async fn ask(&self, id: &str, request: Request) -> notify::ChangeWebhooksAnswer {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let change = notify::ChangeWebhooks {
            endpoint_id: id.to_owned(),
            request: Some(request),
            expected_version: None,
        };
        let command = proto::Command {
            id: CommandId::from_key(&self.shop, &number.to_string()).to_string(),
            shop: self.shop.to_string(),
            fingerprint: "f".to_owned(),
            body: Some(command::Body::ChangeWebhooks(change)),
            ..Default::default()
        };
        let command = OutgoingCommand::try_from(command).expect("it has a body");
        let sent = self.engine.client().send(Lane::Live, command, ANSWER_TIMEOUT).await;
        let Outcome::Answered(answered) = sent.expect("it is sent") else { panic!("no answer") };
        let answer = AnswerBody::decode(&*answered.body).expect("it is an answer").answer;
        match answer {
            Some(answer_body::Answer::ChangeWebhooks(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Gives an endpoint a new secret, and yields that.
    pub(crate) async fn rotate(&self, id: &str, keep_old_s: u32) -> Secret {
        let (secret, sealed) = self.new_secret(id);
        let rotate =
            notify::RotateSecret { secret: Some(sealed), keep_old_s, public_key: String::new() };
        let answer = self.ask(id, Request::RotateSecret(rotate)).await;
        assert_eq!(answer.result(), notify::EndpointResult::Changed);
        secret
    }

    /// Creates an endpoint; yields its secret.
    pub(crate) async fn create(&self, id: &str, settings: notify::EndpointSettings) -> Secret {
        let (secret, sealed) = self.new_secret(id);
        let create = notify::CreateEndpoint {
            settings: Some(settings),
            secret: Some(sealed),
            public_key: String::new(),
        };
        let answer = self.ask(id, Request::Create(create)).await;
        assert_eq!(answer.result(), notify::EndpointResult::Created);
        secret
    }

    pub(crate) async fn endpoint(&self, id: &str) -> notify::Endpoint {
        let question = Question::GetEndpoint(notify::GetEndpoint { endpoint_id: id.to_owned() });
        let found = self.query(question).await.expect("it exists");
        notify::Endpoint::decode(&*found).expect("it is an endpoint")
    }

    /// Waits until the breaker of an endpoint at the receiver is open, everything is scheduled, and all attempts are noted.
    pub(crate) async fn await_open_breaker(&self, rig: &Rig, id: &str, events: u64) {
        eventually("the breaker is open", async || {
            let endpoint = self.endpoint(id).await;
            let is_noted = endpoint.retrying == rig.receiver.count() as u64;
            endpoint.paused_until.is_some() && endpoint.last_seq == events && is_noted
        })
        .await;
    }

    pub(crate) async fn deliveries(&self, id: &str, state: &str) -> Vec<notify::Delivery> {
        let question = Question::ListDeliveries(notify::ListDeliveries {
            endpoint_id: id.to_owned(),
            state: state.to_owned(),
            ..Default::default()
        });
        let found = self.query(question).await.expect("it exists");
        notify::Deliveries::decode(&*found).expect("they are deliveries").deliveries
    }

    /// What became of all deliveries to an endpoint.
    pub(crate) async fn proof(&self, id: &str) -> notify::Proof {
        let get = notify::GetProof { endpoint_id: id.to_owned(), from: 0, to: 0 };
        let found = self.query(Question::GetProof(get)).await.expect("it exists");
        notify::Proof::decode(&*found).expect("it is a proof")
    }

    /// A delivery with its attempts; empty while it is not scheduled.
    pub(crate) async fn delivery(&self, id: &str, seq: u64) -> notify::DeliveryWithAttempts {
        let get = notify::GetDelivery { endpoint_id: id.to_owned(), endpoint_seq: seq };
        let found = self.query(Question::GetDelivery(get)).await.unwrap_or_default();
        notify::DeliveryWithAttempts::decode(&*found).expect("it is a delivery")
    }

    async fn query(&self, question: Question) -> Option<Vec<u8>> {
        let question = notify::NotifyQuestion { question: Some(question) }.encode_to_vec();
        loop {
            // While another process takes the partition over, nobody answers.
            match self.engine.client().query("notify", &self.shop, question.clone(), 0).await {
                Ok(found) => return found.map(|found| found.to_vec()),
                Err(error) if error.is_unavailable() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
