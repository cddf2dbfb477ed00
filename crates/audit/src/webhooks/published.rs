//! The public events that are still to be compared, as they wait in a temporary file.

use std::collections::HashMap;

use crate::{
    Findings,
    queue::Queue,
    record::{Reader, Writer},
};

/// A public event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// Its sequence in the log of its service.
    pub(super) position: u64,
    /// The number of its type.
    pub(super) event_type: u32,
    /// A number for its aggregate.
    pub(super) aggregate: u64,
}

impl Published {
    const SIZE: usize = 20;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { position, event_type, aggregate } = *self;
        Writer::new().u64(position).u32(event_type).u64(aggregate).finish()
    }

    fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { position: from.u64(), event_type: from.u32(), aggregate: from.u64() }
    }
}

/// The public events of a shop in the log of one service, from the first that was not handled.
#[derive(Debug, Default)]
pub(super) struct PublishedLog {
    events: Queue<{ Published::SIZE }>,
    /// The sequence through which it was handled, and the sequence of the log of deliveries that says so.
    handled: (u64, u64),
}

impl PublishedLog {
    pub(super) fn push(&mut self, event: &Published) {
        self.events.push(&event.write());
    }

    /// Takes the next event up to that sequence.
    pub(super) fn next_through(&mut self, last: u64, findings: &mut Findings) -> Option<Published> {
        let first = self.events.first().unwrap_or_else(|error| {
            findings.add(format!("nothing could be compared: a temporary file failed: {error}"));
            None
        });
        let event = first.map(|record| Published::read(&record))?;
        if event.position > last {
            return None;
        }
        self.events.take_first();
        Some(event)
    }

    /// Notes that everything up to the sequence `through` was handled, by the sequence `at` of the log of
    /// deliveries.
    pub(super) fn handled_through(&mut self, through: u64, at: u64) {
        if through >= self.handled.0 {
            self.handled = (through, at);
        }
    }

    /// The sequence of the log of deliveries after which the next event was handled.
    pub(super) fn handled_at(&self) -> u64 {
        self.handled.1
    }
}

/// The types of events by number.
#[derive(Debug, Default)]
pub(super) struct EventTypes {
    numbers: HashMap<(&'static str, &'static str), u32>,
    names: Vec<String>,
}

impl EventTypes {
    /// The number of the type of an event, by its service and its name.
    pub(super) fn number(&mut self, service: &'static str, name: &'static str) -> u32 {
        *self.numbers.entry((service, name)).or_insert_with(|| {
            self.names.push(format!("{service}.{name}"));
            self.names.len() as u32 - 1
        })
    }

    /// The type with that number, such as `order.paid`.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}
