//! A service's database: its tables, and how the log is folded into them.

mod connections;
pub(crate) mod database;
pub mod documents;
pub(crate) mod engine_rows;
pub(crate) mod fold;
pub(crate) mod in_time;
pub(crate) mod merge;
pub(crate) mod positions;
pub(crate) mod recover;
pub(crate) mod replace;
pub(crate) mod store;
pub(crate) mod voided;
