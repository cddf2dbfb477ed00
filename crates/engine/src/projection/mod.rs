//! A service's database: its tables, and how the log is folded into them.

pub(crate) mod database;
pub(crate) mod fold;
pub(crate) mod positions;
pub mod sql;
pub(crate) mod store;
