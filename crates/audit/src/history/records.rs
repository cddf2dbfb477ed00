//! The records of the history, as they wait in temporary files.

use crate::record::{PackedPosition, Reader, Writer};

/// The version of an aggregate after an event.
#[derive(Debug)]
pub(super) struct VersionRecord {
    pub(super) aggregate: u64,
    pub(super) version: u32,
    pub(super) at: PackedPosition,
}

impl VersionRecord {
    pub(super) const SIZE: usize = 12 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { aggregate, version, at } = *self;
        Writer::new().u64(aggregate).u32(version).position(at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { aggregate: from.u64(), version: from.u32(), at: from.position() }
    }
}

/// An event: what it is of, and the version after it.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) id: u64,
    pub(super) aggregate: u64,
    pub(super) version: u32,
    pub(super) at: PackedPosition,
}

impl Fact {
    pub(super) const SIZE: usize = 20 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { id, aggregate, version, at } = *self;
        Writer::new().u64(id).u64(aggregate).u32(version).position(at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { id: from.u64(), aggregate: from.u64(), version: from.u32(), at: from.position() }
    }
}

/// An event that follows from another, or from the outcome of an operation.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) cause: u64,
    /// The same for the same event kind of the same aggregate, from the same cause.
    pub(super) outcome: u64,
    /// Counts the events that services handled, in their order; 0 for the outcome of an operation.
    pub(super) handled: u64,
    pub(super) at: PackedPosition,
}

impl Effect {
    pub(super) const SIZE: usize = 24 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { cause, outcome, handled, at } = *self;
        Writer::new().u64(cause).u64(outcome).u64(handled).position(at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { cause: from.u64(), outcome: from.u64(), handled: from.u64(), at: from.position() }
    }
}

/// An event of another service that a service handled.
#[derive(Debug)]
pub(super) struct Handling {
    /// The same for the same service and aggregate.
    pub(super) of: u64,
    pub(super) handled: u64,
    pub(super) version: u32,
    pub(super) at: PackedPosition,
}

impl Handling {
    pub(super) const SIZE: usize = 20 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { of, handled, version, at } = *self;
        Writer::new().u64(of).u64(handled).u32(version).position(at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { of: from.u64(), handled: from.u64(), version: from.u32(), at: from.position() }
    }
}

/// A command, or its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: u64,
    pub(super) kind: RequestKind,
    pub(super) at: PackedPosition,
}

/// Whether it is a command or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RequestKind {
    /// A command.
    Command,
    /// An answer to one from which events followed.
    Effect,
    /// An answer to one from which nothing followed.
    NoEffect,
}

impl Request {
    pub(super) const SIZE: usize = 9 + PackedPosition::SIZE;

    pub(super) fn write(&self) -> [u8; Self::SIZE] {
        let Self { command, kind, at } = *self;
        Writer::new().u64(command).u8(kind as u8).position(at).finish()
    }

    pub(super) fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        let command = from.u64();
        let kind = match from.u8() {
            0 => RequestKind::Command,
            1 => RequestKind::Effect,
            _ => RequestKind::NoEffect,
        };
        Self { command, kind, at: from.position() }
    }
}
