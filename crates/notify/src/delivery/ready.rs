//! The deliveries to an endpoint that are ready to be sent, by why they are sent.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use protocol::time::Timestamp;

use crate::domain::Rendering;

/// A delivery that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) seq: u64,
    pub(super) service: Arc<str>,
    pub(super) event: Bytes,
    /// How its body is made.
    pub(super) rendering: Rendering,
    /// The aggregate of the event, for an endpoint that is sent events of an aggregate in order; empty for others.
    pub(super) key: String,
    /// The attempts that are in the log.
    pub(super) attempts: u32,
    /// When it was due, if it is tried again.
    pub(super) due: Option<Timestamp>,
    /// Whether it has failed or waited before.
    pub(super) is_open: bool,
    /// Whether it was delivered before: if it fails, nothing waits for it.
    pub(super) was_delivered: bool,
    /// Whether it was never attempted: it waits behind an earlier one of its aggregate that failed.
    pub(super) is_new: bool,
    /// The replay that asks for it, and the most that this one sends in a second.
    pub(super) replay: Option<(Arc<str>, Option<u32>)>,
    /// The replay whose attempt has failed, if it is one that is tried again.
    pub(super) retry_of: Option<Arc<str>>,
}

/// Why a delivery is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has failed or waited, and is due.
    Retry,
    /// It waits for its first attempt.
    Fresh,
    /// A replay asks for it.
    Replay,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Retry, Self::Fresh, Self::Replay];

    /// The one whose turn is next.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Retry => Self::Fresh,
            Self::Fresh => Self::Replay,
            Self::Replay => Self::Retry,
        }
    }
}

impl Ready {
    /// Whether a replay sends what is over, delivered or given up.
    pub(super) fn begins_anew(&self) -> bool {
        self.replay.is_some() && !self.is_open && !self.is_new
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self { replay: Some(_), .. } => Kind::Replay,
            Self { is_open: true, .. } => Kind::Retry,
            Self { .. } => Kind::Fresh,
        }
    }
}

/// What is ready to be sent to an endpoint: of each kind, in order.
#[derive(Debug, Default)]
pub(super) struct ReadyQueues {
    retries: VecDeque<Ready>,
    fresh: VecDeque<Ready>,
    replays: VecDeque<Ready>,
    /// Whose turn it is.
    pub(super) turn: Option<Kind>,
    /// Whether a replay may not send more in this second.
    pub(super) is_replay_limited: bool,
}

impl ReadyQueues {
    pub(super) fn of(&self, kind: Kind) -> &VecDeque<Ready> {
        match kind {
            Kind::Retry => &self.retries,
            Kind::Fresh => &self.fresh,
            Kind::Replay => &self.replays,
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut VecDeque<Ready> {
        match kind {
            Kind::Retry => &mut self.retries,
            Kind::Fresh => &mut self.fresh,
            Kind::Replay => &mut self.replays,
        }
    }

    /// Adds what was read, in order.
    pub(super) fn extend(&mut self, ready: impl IntoIterator<Item = Ready>) {
        for ready in ready {
            self.of_mut(ready.kind()).push_back(ready);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ready> {
        Kind::ALL.into_iter().flat_map(|kind| self.of(kind))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Ready> {
        self.retries.iter_mut().chain(&mut self.fresh).chain(&mut self.replays)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Ready) -> bool) {
        for kind in Kind::ALL {
            self.of_mut(kind).retain(&keep);
        }
    }
}
