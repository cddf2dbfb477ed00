//! The worker of a partition: it reads, decides, appends, answers, projects.
//!
//! `run` claims partitions and keeps their workers going; `partition` is the loop of one of them;
//! `stream` reads the inputs ahead into a `window` by shop, `batch` says which of them come next, `plan`
//! what follows from them, `pipeline` what is done with the plan;
//! `timers` and `effects` turn deadlines and outcomes of operations into inputs; `spans` names the
//! spans of all these steps.

pub(crate) mod batch;
pub(crate) mod effects;
pub(crate) mod faults;
pub(crate) mod inputs;
pub(crate) mod partition;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod projected;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod slots;
pub(crate) mod spans;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod timers;
pub(crate) mod window;
