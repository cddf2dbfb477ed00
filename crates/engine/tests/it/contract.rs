//! The contract of the services in these tests: accounts that take deposits, what is counted for
//! them, and what things cost. Written as Rust types, since nobody else reads it.

use std::collections::HashMap;

use engine::Program;
use prost::{Message, Oneof};
use prost_types::Timestamp;
use protocol::{
    command::OutgoingCommand,
    proto::{Actor, Cause, CommandEnvelope, EngineEvent},
};

/// The service that the tests run: [`crate::ledger`].
pub(crate) const ACCOUNT: &str = "account";
/// The service whose counts are deposited: [`crate::other`].
pub(crate) const INTAKE: &str = "intake";
/// The service of which accounts keep a replica; nobody runs it.
pub(crate) const TARIFF: &str = "tariff";
/// A service that nobody here reads.
pub(crate) const STRANGER: &str = "stranger";
/// The services whose streams there are.
pub(crate) const SERVICES: &[&str] = &[ACCOUNT, INTAKE, TARIFF, STRANGER];

/// The program that runs them. A remedy is shown as it is.
pub(crate) static PROGRAM: Program = Program {
    name: "test",
    streams: include_str!("../streams.toml"),
    remedy: |remedy| format!("{remedy:?}"),
};

/// An event: the fields of the engine's envelope, and the fact.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) shop: String,
    #[prost(string, tag = "3")]
    pub(crate) aggregate_id: String,
    #[prost(uint64, tag = "4")]
    pub(crate) aggregate_version: u64,
    #[prost(message, optional, tag = "5")]
    pub(crate) time: Option<Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub(crate) cause: Option<Cause>,
    #[prost(string, tag = "7")]
    pub(crate) correlation_id: String,
    #[prost(string, tag = "8")]
    pub(crate) traceparent: String,
    #[prost(string, tag = "9")]
    pub(crate) aggregate_type: String,
    #[prost(uint64, tag = "10")]
    pub(crate) position: u64,
    #[prost(message, optional, tag = "11")]
    pub(crate) occurred_at: Option<Timestamp>,
    #[prost(message, optional, tag = "12")]
    pub(crate) actor: Option<Actor>,
    #[prost(uint64, tag = "14")]
    pub(crate) previous_position: u64,
    #[prost(oneof = "Body", tags = "15, 16, 17, 18, 19, 20, 21, 22, 30, 40, 41, 42")]
    pub(crate) body: Option<Body>,
}

/// What an event says.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Body {
    #[prost(message, tag = "15")]
    Engine(EngineEvent),
    #[prost(message, tag = "16")]
    Deposited(Amount),
    #[prost(message, tag = "17")]
    Promised(Promised),
    #[prost(message, tag = "18")]
    Lapsed(Nothing),
    #[prost(message, tag = "19")]
    ChargePending(Amount),
    #[prost(message, tag = "20")]
    Charged(Amount),
    #[prost(message, tag = "21")]
    Closed(Nothing),
    #[prost(message, tag = "22")]
    Noted(Noted),
    #[prost(message, tag = "30")]
    Counted(Counted),
    #[prost(message, tag = "40")]
    Priced(Price),
    #[prost(message, tag = "41")]
    Repriced(Price),
    #[prost(message, tag = "42")]
    Dropped(Price),
}

/// An amount, and what makes its event longer.
#[derive(Clone, PartialEq, Message)]
#[expect(clippy::struct_field_names, reason = "an amount beside what goes with it")]
pub(crate) struct Amount {
    #[prost(int64, tag = "1")]
    pub(crate) amount: i64,
    #[prost(string, tag = "2")]
    pub(crate) padding: String,
    /// Of a deposit: the balance after it.
    #[prost(int64, tag = "3")]
    pub(crate) balance: i64,
}

/// Something is promised until then.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Promised {
    #[prost(message, optional, tag = "1")]
    pub(crate) until: Option<Timestamp>,
}

/// A note about an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Noted {
    #[prost(string, tag = "1")]
    pub(crate) note: String,
}

/// Says nothing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Nothing {}

/// An amount was counted, and that often.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Counted {
    #[prost(int64, tag = "1")]
    pub(crate) amount: i64,
    #[prost(int64, tag = "2")]
    pub(crate) times: i64,
}

/// What an item costs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Price {
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(int64, tag = "2")]
    pub(crate) price: i64,
}

impl Body {
    /// The service that writes it, and its name.
    pub(crate) fn name(&self) -> (&'static str, &'static str) {
        match self {
            Self::Engine(engine) => {
                let kind = engine.kind.as_ref().expect("it has a kind");
                ("", kind.name())
            }
            Self::Deposited(_) => (ACCOUNT, "deposited"),
            Self::Promised(_) => (ACCOUNT, "promised"),
            Self::Lapsed(_) => (ACCOUNT, "lapsed"),
            Self::ChargePending(_) => (ACCOUNT, "charge_pending"),
            Self::Charged(_) => (ACCOUNT, "charged"),
            Self::Closed(_) => (ACCOUNT, "closed"),
            Self::Noted(_) => (ACCOUNT, "noted"),
            Self::Counted(_) => (INTAKE, "counted"),
            Self::Priced(_) => (TARIFF, "priced"),
            Self::Repriced(_) => (TARIFF, "repriced"),
            Self::Dropped(_) => (TARIFF, "dropped"),
        }
    }
}

/// A command: the fields of the engine's envelope, and what is to be done.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Command {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) shop: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) time: Option<Timestamp>,
    #[prost(string, tag = "4")]
    pub(crate) fingerprint: String,
    #[prost(string, tag = "5")]
    pub(crate) traceparent: String,
    #[prost(map = "string, uint64", tag = "6")]
    pub(crate) after: HashMap<String, u64>,
    #[prost(message, optional, tag = "7")]
    pub(crate) actor: Option<Actor>,
    #[prost(oneof = "Task", tags = "16, 17, 18")]
    pub(crate) task: Option<Task>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Task {
    #[prost(message, tag = "16")]
    Deposit(Deposit),
    #[prost(message, tag = "17")]
    Close(Close),
    #[prost(message, tag = "18")]
    Count(Nothing),
}

/// Deposits each line into an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Deposit {
    #[prost(string, tag = "1")]
    pub(crate) account: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) lines: Vec<Line>,
    /// What it leads to: `promise`, `charge`, a note (`note:…`), or nothing more.
    #[prost(string, tag = "3")]
    pub(crate) then: String,
}

/// A line of a deposit.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Line {
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(int64, tag = "2")]
    pub(crate) quantity: i64,
    /// Absent: the tariff's.
    #[prost(int64, optional, tag = "3")]
    pub(crate) price: Option<i64>,
}

/// Closes an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Close {
    #[prost(string, tag = "1")]
    pub(crate) account: String,
}

/// The answer to a command.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AccountAnswer {
    /// To a deposit: the balance after it.
    #[prost(int64, optional, tag = "1")]
    pub(crate) balance: Option<i64>,
    /// To one that closes an account: whether it did.
    #[prost(bool, optional, tag = "2")]
    pub(crate) is_closed: Option<bool>,
}

impl AccountAnswer {
    pub(crate) fn of_deposit(balance: i64) -> Self {
        Self { balance: Some(balance), is_closed: None }
    }

    pub(crate) fn of_closing(is_closed: bool) -> Self {
        Self { balance: None, is_closed: Some(is_closed) }
    }
}

/// Asks for an account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetAccount {
    #[prost(string, tag = "1")]
    pub(crate) account: String,
    /// Makes what is found longer, by as many bytes.
    #[prost(uint32, tag = "2")]
    pub(crate) padding: u32,
}

/// An account as it is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FoundAccount {
    #[prost(int64, tag = "1")]
    pub(crate) balance: i64,
    #[prost(int64, tag = "2")]
    pub(crate) deposits: i64,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
    #[prost(string, tag = "4")]
    pub(crate) padding: String,
}

impl From<Command> for OutgoingCommand {
    fn from(command: Command) -> Self {
        let Command { id, shop, time, fingerprint, traceparent, after, actor, task } = command;
        let (service, name, aggregate) = match task.as_ref().expect("there is a task") {
            Task::Deposit(deposit) => (ACCOUNT, "deposit", deposit.account.clone()),
            Task::Close(close) => (ACCOUNT, "close", close.account.clone()),
            Task::Count(_) => (INTAKE, "count", id.clone()),
        };
        let body = Command { task, ..Default::default() }.encode_to_vec();
        let tracestate = String::new();
        let envelope =
            CommandEnvelope { id, shop, time, fingerprint, traceparent, after, actor, tracestate };
        Self { service, name, aggregate, envelope, body }
    }
}
