//! A small but honest service for the tests: accounts that take deposits.
//!
//! It has one of everything that the engine knows: a stream that it decides on (what the intake
//! counts is deposited, that many times), a replica (the prices of the tariff), a deadline (a
//! promise lapses), and an operation (a charge).

mod note;
mod wire;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{
    Aggregate, Attempt, Attempted, Cause, Column, Context, Decision, Definition, Effects, Encoded,
    InternalInput, Operation, OperationColumn, Queries, QueryError, Recorded, Revision, Row, Rows,
    Rules, Service, Source, Table, Timer, TimerInput, Value as Cell, Wire, WireError, documents,
};
use metrics::Gauge;
use prost::Message;
use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;
use tokio::{runtime::Handle, sync::Semaphore, task::block_in_place};

use self::note::Note;
use crate::contract::{self, ACCOUNT, AccountAnswer, FoundAccount, GetAccount, INTAKE, TARIFF};

/// A line of this item makes a rule panic while the ledger is broken.
pub(crate) const UNLUCKY: &str = "thirteen";
/// A line of this item counts as ten when a batch is cut.
pub(crate) const HEAVY: &str = "heavy";
/// A deposit of this amount makes `apply` panic, and a charge of it `execute`.
pub(crate) const UNLUCKY_AMOUNT: i64 = 13_013;
/// An answer that names this balance makes `encode_answer` panic.
pub(crate) const UNLUCKY_BALANCE: i64 = 13_131;
/// A charge of this amount is never carried out: each attempt says that it is to be tried again.
pub(crate) const REFUSED_AMOUNT: i64 = 4_040;
/// An event of this amount takes more than a message of the server may have.
pub(crate) const HUGE_AMOUNT: i64 = 1_000_001;
/// What is counted for this account is deposited at once, as far as it comes at once.
pub(crate) const POOLED: &str = "pooled";
/// What is counted for this account right after [`POOLED`] is deposited together with that.
pub(crate) const POOL: &str = "pool";
/// A question about this account waits for somebody else than the database.
pub(crate) const SLOW: &str = "slow";
/// A question about this account keeps its connection to the database for a while.
pub(crate) const SLOW_TO_READ: &str = "slow-to-read";
/// What concerns this account is decided on while it holds a permit.
pub(crate) const SLOW_TO_DECIDE: &str = "slow-to-decide";
/// How long a promise holds.
const PROMISE_HOLDS: Duration = Duration::from_millis(300);

/// The accounts of the inputs that workers of this process have read.
static READ_OF: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The service. Its clones share what a test sets and looks at.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Whether the rule for unlucky lines has a bug.
    pub(crate) broken: Arc<AtomicBool>,
    /// How often it has decided.
    pub(crate) decided: Arc<AtomicU64>,
    /// The charges that were asked of the provider: of which account, and whether it may have known.
    pub(crate) charges: Arc<Mutex<Vec<(String, bool)>>>,
    /// Whether it panics when it is to count, and how often it was to.
    pub(crate) miscounts: Arc<AtomicBool>,
    pub(crate) counted: Arc<AtomicU64>,
    /// The provider answers a charge for each permit.
    pub(crate) provider: Arc<Semaphore>,
    /// A question about [`SLOW`] is answered while it holds a permit, and one about [`SLOW_TO_READ`] waits
    /// for it with a connection to the database.
    pub(crate) questions: Arc<Semaphore>,
    /// What concerns [`SLOW_TO_DECIDE`] is decided on while it holds a permit.
    pub(crate) deciding: Arc<Semaphore>,
    /// How many questions have come to where they need a permit.
    pub(crate) answering: Arc<AtomicU64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            broken: Arc::default(),
            decided: Arc::default(),
            charges: Arc::default(),
            miscounts: Arc::default(),
            counted: Arc::default(),
            provider: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            questions: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            deciding: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            answering: Arc::default(),
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
    Deposit { account: String, lines: Vec<Line>, then: FollowUp },
    Close { account: String },
    Counted { account: String, units: i64, times: usize },
    Priced { item: String, price: i64 },
    PromiseDue { account: String, until: Timestamp },
    ChargeDone { account: String, amount: i64 },
}

impl Input {
    fn account(&self) -> &str {
        match self {
            Self::Deposit { account, .. }
            | Self::Close { account }
            | Self::Counted { account, .. }
            | Self::PromiseDue { account, .. }
            | Self::ChargeDone { account, .. } => account,
            Self::Priced { .. } => "",
        }
    }
}

/// What concerns an account of that name makes a function of the service panic.
pub(crate) fn account_that_panics_in(function: &str) -> String {
    format!("panics-in-{function}")
}

/// Whether a worker has taken an input about this account into its window.
pub(crate) fn was_read_of(account: &str) -> bool {
    READ_OF.lock().expect("nobody panics with it").contains(account)
}

fn panic_where(account: &str, function: &str) {
    assert!(account != account_that_panics_in(function), "an unlucky {function}");
}

/// A line of a deposit.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    item: String,
    quantity: i64,
    /// Absent: the tariff's.
    price: Option<i64>,
}

/// What a deposit leads to.
#[derive(Debug, Clone)]
pub(crate) enum FollowUp {
    Nothing,
    Promise,
    Charge,
    Note(String),
}

/// A fact about an account.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    account: String,
    fact: Fact,
}

#[derive(Debug, Clone)]
enum Fact {
    Deposited { amount: i64, balance: i64 },
    Promised { until: Timestamp },
    Lapsed,
    ChargePending { amount: i64 },
    Charged { amount: i64 },
    Closed,
    Noted { note: String },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    revision: Revision,
    balance: i64,
    deposits: i64,
    deadline: Option<Timestamp>,
    charge: Option<i64>,
    /// The id of the charge that is pending.
    charge_id: Option<String>,
    closed: bool,
    context: Context,
    /// The last note: looked for by what it says.
    note: Note,
}

impl Row for Account {
    const TABLE: Table = Table {
        name: "account",
        about: "An account.",
        columns: &[Column::integer("deadline"), Column::text("charge"), Column::text("note")],
        indexes: &[
            "(partition, deadline) where deadline is not null",
            "(shop, note) where note is not null",
        ],
    };

    fn columns(&self) -> Vec<Cell> {
        panic_where(self.note.text(), "columns");
        // Who has nothing is not charged for the time being.
        let charge_id = self.charge_id.clone().filter(|_| self.balance > 0);
        vec![self.deadline.into(), charge_id.into(), self.note.0.clone().into()]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Price(i64);

impl Row for Price {
    const TABLE: Table =
        Table { name: "price", about: "What something costs.", columns: &[], indexes: &[] };
}

#[derive(Debug, Default)]
pub(crate) struct State {
    accounts: Rows<String, Account>,
    prices: Rows<String, Price>,
}

impl engine::State for State {
    fn tables(&mut self) -> Vec<&mut dyn engine::AnyRows> {
        vec![&mut self.accounts, &mut self.prices]
    }
}

impl Service for Ledger {
    const NAME: &'static str = ACCOUNT;
    const SOURCES: &'static [Source] = &[
        Source { service: INTAKE, events: &["counted"], replica: false },
        Source { service: TARIFF, events: &["priced", "repriced"], replica: true },
    ];
    const TABLES: &'static [Table] = &[Account::TABLE, Price::TABLE];
    const FORMAT: u32 = 1;
    const TIMERS: &'static [Timer<Input>] =
        &[Timer { table: "account", column: "deadline", input: promise_due }];
}

fn promise_due(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    panic_where(key, "timer");
    let account: Account = serde_json::from_str(document)?;
    let until = account.deadline.unwrap_or_default();
    let input = Input::PromiseDue { account: key.to_owned(), until };
    Ok(TimerInput { kind: "timer.promise", context: account.context, input })
}

impl Wire for Ledger {
    type Input = Input;
    type Event = Event;
    type Answer = AccountAnswer;
    type Question = GetAccount;
    type Found = FoundAccount;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        let input = wire::command(contract::Command::decode(payload)?)?;
        panic_where(input.account(), "command");
        Ok(input)
    }

    fn foreign(payload: &[u8]) -> Result<Input, WireError> {
        let input = wire::foreign(contract::Event::decode(payload)?)?;
        panic_where(input.account(), "foreign");
        Ok(input)
    }

    fn encode(event: &Event) -> Encoded {
        panic_where(&event.account, "encode");
        let body = wire::encode(event);
        let (_, name) = body.name();
        let body = contract::Event { body: Some(body), ..Default::default() }.encode_to_vec();
        Encoded::new(name, body)
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let event = contract::Event::decode(payload)?;
        panic_where(&event.aggregate_id, "decode");
        wire::decode(&event.aggregate_id, event.body.ok_or(WireError::Missing("body"))?)
    }

    fn encode_answer(answer: &AccountAnswer) -> Vec<u8> {
        assert!(answer.balance != Some(UNLUCKY_BALANCE), "an unlucky balance");
        answer.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<GetAccount, WireError> {
        Ok(GetAccount::decode(payload)?)
    }

    fn encode_found(found: FoundAccount) -> Vec<u8> {
        found.encode_to_vec()
    }
}

impl Rules for Ledger {
    type State = State;

    fn aggregate(event: &Event) -> Aggregate {
        panic_where(&event.account, "aggregate");
        Aggregate::new("account", &event.account)
    }

    fn revision(state: &State, event: &Event) -> Revision {
        panic_where(&event.account, "revision");
        state.accounts.get(&event.account).map(|account| account.revision).unwrap_or_default()
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<AccountAnswer> {
        match recorded.event.fact {
            Fact::Deposited { balance, .. } => Some(AccountAnswer::of_deposit(balance)),
            Fact::Closed => Some(AccountAnswer::of_closing(true)),
            Fact::Promised { .. }
            | Fact::Lapsed
            | Fact::ChargePending { .. }
            | Fact::Charged { .. }
            | Fact::Noted { .. } => None,
        }
    }

    fn weight(input: &Input) -> usize {
        panic_where(input.account(), "weight");
        READ_OF.lock().expect("nobody panics with it").insert(input.account().to_owned());
        match input {
            Input::Deposit { lines, .. } => {
                lines.iter().map(|line| if line.item == HEAVY { 10 } else { 1 }).sum()
            }
            Input::Close { .. }
            | Input::Counted { .. }
            | Input::Priced { .. }
            | Input::PromiseDue { .. }
            | Input::ChargeDone { .. } => 1,
        }
    }

    fn merge(input: &mut Input, next: &Input) -> bool {
        panic_where(next.account(), "merge");
        let (
            Input::Counted { account, units, times: 1 },
            Input::Counted { account: same, units: more, times: 1 },
        ) = (input, next)
        else {
            return false;
        };
        let is_merged = account == POOLED && [POOLED, POOL].contains(&&**same);
        if is_merged {
            account.clone_from(same);
            // One that fails makes all of them fail.
            let is_unlucky = *units == UNLUCKY_AMOUNT || *more == UNLUCKY_AMOUNT;
            *units = if is_unlucky { UNLUCKY_AMOUNT } else { *units + more };
        }
        is_merged
    }

    fn decide(
        &self,
        state: &State,
        input: &Input,
        now: Timestamp,
    ) -> Decision<Event, AccountAnswer> {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        panic_where(input.account(), "decide");
        let _permit = (input.account() == SLOW_TO_DECIDE).then(|| {
            block_in_place(|| Handle::current().block_on(self.deciding.acquire()))
                .expect("nobody closes it")
        });
        decide(state, input, now, broken)
    }

    fn apply(state: &mut State, event: &Recorded<Event>) {
        let account = state.accounts.change_or_default(&event.event.account);
        account.revision = event.revision();
        match event.event.fact {
            Fact::Deposited { amount, .. } => {
                assert!(amount != UNLUCKY_AMOUNT, "an unlucky amount");
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
                account.charge_id = Some(event.id.to_string());
                account.context = event.context.clone();
            }
            Fact::Charged { amount } => {
                account.balance -= amount;
                account.charge = None;
                account.charge_id = None;
            }
            Fact::Closed => account.closed = true,
            Fact::Noted { ref note } => account.note = Note(Some(note.clone())),
        }
    }

    fn replicate(state: &mut State, input: &Input) {
        if let Input::Priced { item, price } = input {
            assert!(item != UNLUCKY, "an unlucky price");
            state.prices.put(item.clone(), Price(*price));
        }
    }
}

impl Effects for Ledger {
    const OPERATION: OperationColumn =
        OperationColumn { table: "account", column: "charge", due: None };

    fn destination(&self, operation: &Operation) -> String {
        panic_where(&operation.key, "destination");
        "provider".to_owned()
    }

    fn context(operation: &Operation) -> Context {
        panic_where(&operation.key, "context");
        Context::default()
    }

    async fn execute(&self, operation: &Operation, attempt: Attempt) -> Attempted<Input> {
        let account: Account = serde_json::from_str(&operation.document).expect("it is an account");
        let amount = account.charge.expect("it is charged");
        let key = operation.key.clone();
        if amount == REFUSED_AMOUNT {
            return Attempted::RetryAt(attempt.now + Duration::from_millis(10));
        }
        assert!(amount != UNLUCKY_AMOUNT, "an unlucky charge");
        self.charges
            .lock()
            .expect("nobody panics with it")
            .push((key.clone(), attempt.may_be_known));
        self.provider.acquire().await.expect("it is never closed").forget();
        Attempted::Done(InternalInput {
            shop: operation.shop.clone(),
            aggregate: key.clone(),
            cause: Cause { id: key.clone(), kind: "provider.charged".to_owned() },
            context: account.context,
            input: Input::ChargeDone { account: key, amount },
        })
    }
}

impl Queries for Ledger {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let account = documents::get::<Account>(db, shop, id).await?;
        Ok(account.map(|account| account.revision))
    }

    async fn count(&self, _db: &AnyPool, _partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        self.counted.fetch_add(1, Ordering::SeqCst);
        assert!(!self.miscounts.load(Ordering::SeqCst), "an unlucky count");
        Ok(Vec::new())
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: GetAccount,
    ) -> Result<Option<FoundAccount>, QueryError> {
        panic_where(&question.account, "query");
        if let SLOW | SLOW_TO_READ = &*question.account {
            let reads = question.account == SLOW_TO_READ;
            let connection = if reads { Some(db.acquire().await?) } else { None };
            self.answering.fetch_add(1, Ordering::SeqCst);
            let permit = self.questions.acquire().await;
            drop((permit, connection));
        }
        let account = documents::get::<Account>(db, shop, question.account).await?;
        Ok(account.map(|Account { balance, deposits, revision, .. }| FoundAccount {
            balance,
            deposits,
            version: revision.version,
            padding: "x".repeat(question.padding as usize),
        }))
    }
}

impl Ledger {
    /// The service as it is registered.
    pub(crate) fn definition(&self) -> Definition<Self> {
        Definition::new(self.clone()).with_effects()
    }
}

fn decide(
    state: &State,
    input: &Input,
    now: Timestamp,
    broken: bool,
) -> Decision<Event, AccountAnswer> {
    match input {
        Input::Deposit { account, lines, then } => {
            assert!(!broken || lines.iter().all(|line| line.item != UNLUCKY), "an unlucky line");
            let amounts: Vec<_> = lines.iter().map(|line| amount(state, line)).collect();
            let total: i64 = amounts.iter().sum();
            let mut facts = deposited(state, account, amounts);
            match then {
                FollowUp::Nothing => {}
                FollowUp::Promise => facts.push(Fact::Promised { until: now + PROMISE_HOLDS }),
                FollowUp::Charge => facts.push(Fact::ChargePending { amount: total }),
                FollowUp::Note(note) => facts.push(Fact::Noted { note: note.clone() }),
            }
            let known = state.accounts.get(account).map_or(0, |account| account.balance);
            Decision::answered(of(account, facts), AccountAnswer::of_deposit(known + total))
        }
        Input::Close { account } => match state.accounts.get(account) {
            Some(known) if !known.closed => {
                Decision::answered(of(account, vec![Fact::Closed]), AccountAnswer::of_closing(true))
            }
            _ => Decision::answered(Vec::new(), AccountAnswer::of_closing(false)),
        },
        Input::Counted { account, units, times } => {
            Decision::events(of(account, deposited(state, account, vec![*units; *times])))
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

/// The deposits of these amounts, one after the other.
fn deposited(state: &State, account: &String, amounts: Vec<i64>) -> Vec<Fact> {
    let mut balance = state.accounts.get(account).map_or(0, |account| account.balance);
    let deposited = |amount| {
        balance += amount;
        Fact::Deposited { amount, balance }
    };
    amounts.into_iter().map(deposited).collect()
}

fn amount(state: &State, line: &Line) -> i64 {
    let price = line.price.or_else(|| state.prices.get(&line.item).map(|price| price.0));
    line.quantity * price.unwrap_or(0)
}

fn of(account: &str, facts: Vec<Fact>) -> Vec<Event> {
    facts.into_iter().map(|fact| Event { account: account.to_owned(), fact }).collect()
}
