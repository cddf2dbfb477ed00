//! The worker of a partition: it reads, decides, publishes, projects, replies.

pub(crate) mod faults;
pub(crate) mod inputs;
pub(crate) mod partition;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod turn;
