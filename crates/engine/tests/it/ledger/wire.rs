//! The ledger's inputs and events as messages of the contract.

use engine::WireError;
use protocol::time::Timestamp;

use super::{Event, Fact, FollowUp, HUGE_AMOUNT, Input, Line};
use crate::contract::{self, Amount, Body, Noted, Nothing, Promised, Task};

pub(super) fn command(command: contract::Command) -> Result<Input, WireError> {
    match command.task.ok_or(WireError::Missing("task"))? {
        Task::Deposit(deposit) => Ok(Input::Deposit {
            account: deposit.account,
            then: match deposit.then.as_str() {
                "promise" => FollowUp::Promise,
                "charge" => FollowUp::Charge,
                then => match then.strip_prefix("note:") {
                    Some(note) => FollowUp::Note(note.to_owned()),
                    None => FollowUp::Nothing,
                },
            },
            lines: deposit
                .lines
                .into_iter()
                .map(|line| Line { item: line.item, quantity: line.quantity, price: line.price })
                .collect(),
        }),
        Task::Close(close) => Ok(Input::Close { account: close.account }),
        Task::Count(_) => Err(WireError::Unexpected("count")),
    }
}

pub(super) fn foreign(event: contract::Event) -> Result<Input, WireError> {
    match event.body {
        Some(Body::Counted(counted)) => Ok(Input::Counted {
            account: event.aggregate_id,
            units: counted.amount,
            times: counted.times as usize,
        }),
        Some(Body::Priced(price) | Body::Repriced(price)) => {
            Ok(Input::Priced { item: price.item, price: price.price })
        }
        _ => Err(WireError::Unexpected("the event")),
    }
}

pub(super) fn encode(event: &Event) -> Body {
    let amount = |amount| {
        let padding = if amount == HUGE_AMOUNT { "G".repeat(1_100_000) } else { String::new() };
        Amount { amount, padding, balance: 0 }
    };
    match event.fact {
        Fact::Deposited { amount: it, balance } => {
            Body::Deposited(Amount { balance, ..amount(it) })
        }
        Fact::Promised { until } => Body::Promised(Promised { until: Some(until.into()) }),
        Fact::Lapsed => Body::Lapsed(Nothing {}),
        Fact::ChargePending { amount: it } => Body::ChargePending(amount(it)),
        Fact::Charged { amount: it } => Body::Charged(amount(it)),
        Fact::Closed => Body::Closed(Nothing {}),
        Fact::Noted { ref note } => Body::Noted(Noted { note: note.clone() }),
    }
}

pub(super) fn decode(aggregate: &str, body: Body) -> Result<Event, WireError> {
    let fact = match body {
        Body::Deposited(Amount { amount, balance, .. }) => Fact::Deposited { amount, balance },
        Body::Promised(promised) => {
            Fact::Promised { until: Timestamp::parse(promised.until.as_ref())? }
        }
        Body::Lapsed(_) => Fact::Lapsed,
        Body::ChargePending(Amount { amount, .. }) => Fact::ChargePending { amount },
        Body::Charged(Amount { amount, .. }) => Fact::Charged { amount },
        Body::Closed(_) => Fact::Closed,
        Body::Noted(Noted { note }) => Fact::Noted { note },
        _ => return Err(WireError::Unexpected("the event")),
    };
    Ok(Event { account: aggregate.to_owned(), fact })
}
