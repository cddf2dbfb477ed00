//! A small but honest service for the tests: accounts that take deposits.
//!
//! It goes by the name, the commands and the events of the order service, whose streams exist:
//! `PlaceOrder` is a deposit of each of its lines, `CancelOrder` closes an account. It has one of
//! everything that the engine knows: a stream that it decides on (what the inventory counts is
//! deposited, once for each unit on hand), a copy (the catalogue's prices), a deadline (a promise lapses), and an operation
//! (a charge).

mod store;
mod wire;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{
    Cause, Context, Decision, Local, QueryError, Recorded, Rows, Service, Source, StoreError,
    Table, WireError,
};
use events::{id::Shop, proto, time::Timestamp};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};
use tokio::sync::Semaphore;

/// A line of this SKU makes a rule panic while the ledger is broken.
pub(crate) const UNLUCKY: &str = "thirteen";
/// A line of this SKU counts as ten when a batch is cut.
pub(crate) const HEAVY: &str = "heavy";
/// How long a promise holds.
const PROMISE_HOLDS: Duration = Duration::from_millis(300);

static MIGRATIONS: Migrator = sqlx::migrate!("tests/it/migrations");

/// The service. Its clones share what a test sets and looks at.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Whether the rule for unlucky lines has a bug.
    pub(crate) broken: Arc<AtomicBool>,
    /// How often it has decided.
    pub(crate) decided: Arc<AtomicU64>,
    /// The charges that were asked of the provider: of which account, and whether resumed.
    pub(crate) charges: Arc<Mutex<Vec<(String, bool)>>>,
    /// The provider answers a charge for each permit.
    pub(crate) provider: Arc<Semaphore>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            broken: Arc::default(),
            decided: Arc::default(),
            charges: Arc::default(),
            provider: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }
}

impl Ledger {
    /// A ledger whose provider does not answer yet.
    pub(crate) fn with_silent_provider() -> Self {
        Self { provider: Arc::new(Semaphore::new(0)), ..Self::default() }
    }

    pub(crate) fn charges(&self) -> Vec<(String, bool)> {
        self.charges.lock().expect("nobody panics with it").clone()
    }
}

/// What the ledger decides on.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Deposit { account: String, lines: Vec<Line>, then: Then },
    Close { account: String },
    Counted { account: String, units: i64, times: usize },
    Priced { sku: String, price: i64 },
    PromiseDue { account: String, until: Timestamp },
    ChargeDone { account: String, amount: i64 },
}

/// A line of a deposit.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    sku: String,
    quantity: i64,
    /// Absent: the catalogue's.
    unit_price: Option<i64>,
}

/// What a deposit leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Nothing,
    Promise,
    Charge,
}

/// A fact about an account.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    account: String,
    fact: Fact,
}

#[derive(Debug, Clone)]
enum Fact {
    Deposited { amount: i64 },
    Promised { until: Timestamp },
    Lapsed,
    ChargePending { amount: i64 },
    Charged { amount: i64 },
    Closed,
}

#[derive(Debug, Clone, Default)]
struct Account {
    version: u64,
    balance: i64,
    deposits: i64,
    deadline: Option<Timestamp>,
    charge: Option<i64>,
    closed: bool,
    context: Context,
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    accounts: BTreeSet<String>,
    prices: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    accounts: Rows<String, Account>,
    prices: Rows<String, i64>,
}

/// A charge that is asked of the provider.
#[derive(Debug)]
pub(crate) struct Charge {
    shop: Shop,
    account: String,
    amount: i64,
    context: Context,
}

impl Service for Ledger {
    const NAME: &'static str = "order";
    const SOURCES: &'static [Source] = &[
        Source { service: "inventory", events: &["counted"], copy: false },
        Source { service: "catalog", events: &["created", "updated"], copy: true },
    ];
    const TABLES: &'static [Table] = &[
        Table { name: "ledger_account", key: "shop, id" },
        Table { name: "ledger_price", key: "shop, sku" },
    ];
    const MIGRATIONS: &'static Migrator = &MIGRATIONS;

    type Input = Input;
    type Event = Event;
    type Keys = Keys;
    type State = State;
    type Operation = Charge;

    fn command(command: proto::Command) -> Result<Input, WireError> {
        wire::command(command)
    }

    fn foreign(event: proto::Event) -> Result<Input, WireError> {
        wire::foreign(event)
    }

    fn encode(event: &Event) -> proto::event::Body {
        wire::encode(event)
    }

    fn decode(aggregate: &str, body: proto::event::Body) -> Result<Event, WireError> {
        wire::decode(aggregate, body)
    }

    fn aggregate(event: &Event) -> String {
        event.account.clone()
    }

    fn version(state: &State, event: &Event) -> u64 {
        state.accounts.get(&event.account).map_or(0, |account| account.version)
    }

    fn keys(input: &Input, keys: &mut Keys) {
        match input {
            Input::Deposit { account, lines, .. } => {
                keys.accounts.insert(account.clone());
                keys.prices.extend(lines.iter().map(|line| line.sku.clone()));
            }
            Input::Priced { sku, .. } => {
                keys.prices.insert(sku.clone());
            }
            Input::Close { account }
            | Input::Counted { account, .. }
            | Input::PromiseDue { account, .. }
            | Input::ChargeDone { account, .. } => {
                keys.accounts.insert(account.clone());
            }
        }
    }

    fn event_keys(event: &Event, keys: &mut Keys) {
        keys.accounts.insert(event.account.clone());
    }

    fn weight(input: &Input) -> usize {
        match input {
            Input::Deposit { lines, .. } => {
                lines.iter().map(|line| if line.sku == HEAVY { 10 } else { 1 }).sum()
            }
            Input::Close { .. }
            | Input::Counted { .. }
            | Input::Priced { .. }
            | Input::PromiseDue { .. }
            | Input::ChargeDone { .. } => 1,
        }
    }

    fn decide(&self, state: &State, input: &Input, now: Timestamp) -> Decision<Event> {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        decide(state, input, now, broken)
    }

    fn apply(state: &mut State, event: &Recorded<Event>) {
        let account = state.accounts.change_or_default(&event.event.account);
        account.version = event.version;
        match event.event.fact {
            Fact::Deposited { amount } => {
                account.balance += amount;
                account.deposits += 1;
            }
            Fact::Promised { until } => {
                account.deadline = Some(until);
                account.context = event.context.clone();
            }
            Fact::Lapsed => account.deadline = None,
            Fact::ChargePending { amount } => {
                account.charge = Some(amount);
                account.context = event.context.clone();
            }
            Fact::Charged { amount } => {
                account.balance -= amount;
                account.charge = None;
            }
            Fact::Closed => account.closed = true,
        }
    }

    fn copy(state: &mut State, input: &Input) {
        if let Input::Priced { sku, price } = input {
            state.prices.put(sku.clone(), *price);
        }
    }

    async fn load(
        db: &mut AnyConnection,
        keys: &HashMap<Shop, Keys>,
    ) -> Result<HashMap<Shop, State>, StoreError> {
        store::load(db, keys).await
    }

    async fn save(
        db: &mut AnyConnection,
        partition: u32,
        states: &HashMap<Shop, State>,
    ) -> Result<(), StoreError> {
        store::save(db, partition, states).await
    }

    async fn due(
        db: &mut AnyConnection,
        partition: u32,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Local<Input>>, StoreError> {
        store::due(db, partition, now, limit).await
    }

    fn operation(event: &Recorded<Event>) -> Option<Charge> {
        let Fact::ChargePending { amount } = event.event.fact else { return None };
        let account = event.event.account.clone();
        Some(Charge { shop: event.shop.clone(), account, amount, context: event.context.clone() })
    }

    async fn pending(db: &mut AnyConnection, partition: u32) -> Result<Vec<Charge>, StoreError> {
        store::pending(db, partition).await
    }

    async fn execute(&self, charge: Charge, resumed: bool) -> Local<Input> {
        let Charge { shop, account, amount, context } = charge;
        self.charges.lock().expect("nobody panics with it").push((account.clone(), resumed));
        self.provider.acquire().await.expect("it is never closed").forget();
        Local {
            shop,
            aggregate: account.clone(),
            cause: Cause { id: account.clone(), kind: "provider.charged".to_owned() },
            context,
            input: Input::ChargeDone { account, amount },
        }
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        match name {
            "account" => {
                Ok(store::account(db, shop, &serde_json::from_value::<String>(parameters)?).await?)
            }
            name => Err(QueryError::Unknown { service: Self::NAME, name: name.to_owned() }),
        }
    }
}

fn decide(state: &State, input: &Input, now: Timestamp, broken: bool) -> Decision<Event> {
    match input {
        Input::Deposit { account, lines, then } => {
            assert!(!broken || lines.iter().all(|line| line.sku != UNLUCKY), "an unlucky line");
            let amounts: Vec<_> = lines.iter().map(|line| amount(state, line)).collect();
            let total = amounts.iter().sum();
            let mut facts: Vec<_> =
                amounts.into_iter().map(|amount| Fact::Deposited { amount }).collect();
            match then {
                Then::Nothing => {}
                Then::Promise => facts.push(Fact::Promised { until: now + PROMISE_HOLDS }),
                Then::Charge => facts.push(Fact::ChargePending { amount: total }),
            }
            let known = state.accounts.get(account).map_or(0, |account| account.balance);
            Decision::answered(of(account, facts), &json!({ "balance": known + total }))
        }
        Input::Close { account } => match state.accounts.get(account) {
            Some(known) if !known.closed => {
                Decision::answered(of(account, vec![Fact::Closed]), &json!({ "closed": true }))
            }
            _ => Decision::answered(Vec::new(), &json!({ "closed": false })),
        },
        Input::Counted { account, units, times } => {
            Decision::events(of(account, vec![Fact::Deposited { amount: *units }; *times]))
        }
        Input::PromiseDue { account, until } => match state.accounts.get(account) {
            Some(known) if known.deadline == Some(*until) => {
                Decision::events(of(account, vec![Fact::Lapsed]))
            }
            _ => Decision::nothing(),
        },
        Input::ChargeDone { account, amount } => match state.accounts.get(account) {
            Some(known) if known.charge == Some(*amount) => {
                Decision::events(of(account, vec![Fact::Charged { amount: *amount }]))
            }
            _ => Decision::nothing(),
        },
        Input::Priced { .. } => Decision::nothing(),
    }
}

fn amount(state: &State, line: &Line) -> i64 {
    let price = line.unit_price.or_else(|| state.prices.get(&line.sku).copied());
    line.quantity * price.unwrap_or(0)
}

fn of(account: &str, facts: Vec<Fact>) -> Vec<Event> {
    facts.into_iter().map(|fact| Event { account: account.to_owned(), fact }).collect()
}
