//! The values of labels: few, and known beforehand.

/// A step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStep {
    /// Reading the states that the batch touches.
    Load,
    /// Deciding on all its inputs.
    Decide,
    /// Publishing its events, until the server has acknowledged them.
    Publish,
    /// Committing the projection.
    Project,
}

impl BatchStep {
    pub(super) const ALL: [Self; 4] = [Self::Load, Self::Decide, Self::Publish, Self::Project];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Decide => "decide",
            Self::Publish => "publish",
            Self::Project => "project",
        }
    }
}

/// What a process does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// It has the lease and handles inputs.
    Held,
    /// It has the lease and reads the log.
    Recovering,
    /// It cannot go on and tries again after a while.
    Failing,
    /// Another process has the lease.
    Waiting,
}

impl PartitionState {
    pub(super) const ALL: [Self; 4] = [Self::Held, Self::Recovering, Self::Failing, Self::Waiting];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Recovering => "recovering",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
        }
    }
}

/// Why a partition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartCause {
    /// The connection or JetStream failed or did not answer in time.
    Broker,
    /// The disk of the broker, or what it may store, is full.
    StorageFull,
    /// The database failed.
    Database,
    /// The lease was lost.
    LeaseLost,
    /// Somebody else wrote to the log.
    Fenced,
    /// The log holds what this version cannot read.
    UnreadableLog,
    /// A position lies before the beginning or beyond the end of its stream.
    Position,
    /// The code panicked.
    Panic,
}

impl RestartCause {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::StorageFull => "storage_full",
            Self::Database => "database",
            Self::LeaseLost => "lease_lost",
            Self::Fenced => "fenced",
            Self::UnreadableLog => "unreadable_log",
            Self::Position => "position",
            Self::Panic => "panic",
        }
    }
}

/// What becomes of an operation that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// It can be tried as soon as there is a slot.
    Pending,
    /// It is being tried.
    Running,
    /// It is tried again later.
    Waiting,
}

impl OperationState {
    pub(super) const ALL: [Self; 3] = [Self::Pending, Self::Running, Self::Waiting];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}
