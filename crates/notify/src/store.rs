//! How the rows of the service are stored: their tables, columns and indexes.

use engine::{Column, Row, Table, Value};

use crate::domain::{
    Endpoint,
    rows::{EndpointRow, FailureRow, FailureState, QueueRow, RunRow, Schedule},
};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] =
    &[Schedule::TABLE, EndpointRow::TABLE, RunRow::TABLE, FailureRow::TABLE, QueueRow::TABLE];

impl Row for Schedule {
    const TABLE: Table = Table {
        name: "schedule",
        about: "The endpoints of a shop among which public events are distributed.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for EndpointRow {
    const TABLE: Table = Table {
        name: "endpoint",
        about: "An endpoint, or the mails of a shop, by its id, with how far its deliveries are.",
        columns: &[
            Column::text("operation"),
            Column::integer("due_at"),
            Column::text("status"),
            Column::integer("next_seq"),
            Column::integer("pending"),
            Column::integer("held"),
            Column::integer("retrying"),
            Column::integer("behind"),
            Column::integer("exhausted"),
            Column::integer("aborted"),
            Column::integer("is_mail"),
        ],
        indexes: &["(partition, operation) where operation is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        let Endpoint { ledger, .. } = &self.endpoint;
        let (waiting, held) = (ledger.fresh(), ledger.held.len());
        let is_active = self.endpoint.is_active();
        let (pending, held) = if is_active { (waiting, held) } else { (0, held + waiting) };
        let next = if pending > 0 { ledger.next_fresh() } else { None };
        let count = |count: u64| Value::from(count as i64);
        vec![
            self.endpoint.operation(&self.id).into(),
            self.endpoint.due().into(),
            self.endpoint.status().into(),
            Value::Integer(next.map(|seq| seq as i64)),
            count(pending),
            count(held),
            count(ledger.retrying()),
            count(ledger.behind),
            count(ledger.exhausted),
            count(ledger.aborted),
            i64::from(self.endpoint.settings.mail.is_some()).into(),
        ]
    }
}

impl Row for RunRow {
    const IS_LOOKED_FOR: bool = false;

    const TABLE: Table = Table {
        name: "run",
        about: "Deliveries to an endpoint that were scheduled at once, and where their events are.",
        columns: &[
            Column::text("endpoint"),
            Column::integer("last_seq"),
            Column::integer("scheduled_at"),
        ],
        indexes: &["(shop, endpoint, last_seq)"],
    };

    fn columns(&self) -> Vec<Value> {
        let last = self.run.last() as i64;
        vec![self.endpoint_id.as_str().into(), last.into(), Some(self.at).into()]
    }
}

impl Row for FailureRow {
    const TABLE: Table = Table {
        name: "failure",
        about: "A delivery that failed or waits behind one that did, by endpoint and number.",
        columns: &[
            Column::text("endpoint"),
            Column::integer("seq"),
            Column::text("state"),
            Column::integer("due_at"),
            Column::integer("is_sent"),
            Column::integer("was_delivered"),
        ],
        indexes: &["(shop, endpoint, seq)", "(shop, endpoint, due_at) where due_at is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        let due = match self.state {
            FailureState::Retry { due } => Some(due),
            FailureState::Behind | FailureState::Exhausted | FailureState::Aborted => None,
        };
        vec![
            self.endpoint_id.as_str().into(),
            (self.seq as i64).into(),
            self.state.as_str().into(),
            due.into(),
            i64::from(self.is_sent).into(),
            i64::from(self.was_delivered).into(),
        ]
    }
}

impl Row for QueueRow {
    const TABLE: Table = Table {
        name: "queue",
        about: "The deliveries of an aggregate that wait behind one that failed.",
        columns: &[Column::text("endpoint")],
        indexes: &["(shop, endpoint)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.endpoint_id.as_str().into()]
    }
}
