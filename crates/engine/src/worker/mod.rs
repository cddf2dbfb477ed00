//! The worker of a partition: it reads, decides, appends, answers, projects.
//!
//! `run` starts the partitions of a service; a `supervisor` claims one, keeps its worker going and
//! does the `rebuilds` that operators ask for; `partition` is the loop of a worker;
//! `stream` reads the inputs ahead into a `window` by shop, `batch` says which of them come next, `plan`
//! what follows from them, `pipeline` what is done with the plan;
//! `timers` and `effects` turn deadlines and outcomes of operations into inputs; `spans` names the
//! spans of all these steps.

pub(crate) mod batch;
pub(crate) mod effects;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod inputs;
pub(crate) mod partition;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod projected;
pub(crate) mod query;
pub(crate) mod rebuilds;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod slots;
pub(crate) mod spans;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod supervisor;
pub(crate) mod timers;
pub(crate) mod window;
