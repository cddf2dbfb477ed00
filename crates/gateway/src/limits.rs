//! How much the gateway does at once, and how long it waits for a client.
//!
//! Requests are counted by class, each class with a limit of its own: a class that has reached it
//! is answered with 503, and takes nothing from the others.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Limits and timeouts. The defaults suit one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections; further clients wait until one is closed.
    pub max_connections: usize,
    /// The most reads at once.
    pub max_reads: usize,
    /// The most commands at once: orders, cancellations, single products and stock documents.
    pub max_commands: usize,
    /// The most uploads of many lines at once. Each may have 2,000 lines in memory, and its report.
    pub max_uploads: usize,
    /// The most requests at once that wait for the end of an order (`Prefer: wait`).
    pub max_waits: usize,
    /// The most requests for totals at once. Each scans tables.
    pub max_totals: usize,
    /// How long the head of a request may take: of the first one from the beginning of the connection,
    /// of a later one from its first byte.
    pub header_read_timeout: Duration,
    /// How long a connection may be idle between two requests. Longer than proxies keep an idle
    /// connection, which is 60 s with many.
    pub keep_alive_timeout: Duration,
    /// How long the gateway waits for the next bytes of a body.
    pub body_read_timeout: Duration,
    /// How long a client may take to receive 64 KiB of a response.
    pub write_timeout: Duration,
    /// How long a request may take, from its head to the beginning of the response.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_reads: 1024,
            max_commands: 2048,
            max_uploads: 64,
            max_waits: 2048,
            max_totals: 4,
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(90),
        }
    }
}

/// What is limited separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestClass {
    Read,
    Command,
    Upload,
    Wait,
    Totals,
}

impl RequestClass {
    /// The class of a request by its head.
    pub(crate) fn of(method: &Method, is_ndjson: bool, waits: bool) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Read,
            _ if is_ndjson => Self::Upload,
            _ if waits => Self::Wait,
            _ => Self::Command,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Command => "commands",
            Self::Upload => "uploads",
            Self::Wait => "requests that wait for the end of an order",
            Self::Totals => "requests for totals",
        }
    }
}

/// A semaphore for each class of requests.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimits {
    reads: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    totals: Arc<Semaphore>,
}

impl ConcurrencyLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            reads: semaphore(limits.max_reads),
            commands: semaphore(limits.max_commands),
            uploads: semaphore(limits.max_uploads),
            waits: semaphore(limits.max_waits),
            totals: semaphore(limits.max_totals),
        }
    }

    /// Counts a request until the permit is dropped; refuses it when its class is at its limit.
    pub(crate) fn try_acquire(&self, class: RequestClass) -> Result<OwnedSemaphorePermit, Problem> {
        let semaphore = match class {
            RequestClass::Read => &self.reads,
            RequestClass::Command => &self.commands,
            RequestClass::Upload => &self.uploads,
            RequestClass::Wait => &self.waits,
            RequestClass::Totals => &self.totals,
        };
        semaphore.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("too many {} at once: send it again in a moment", class.name());
            Problem::new(Code::Overloaded, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_request_names_its_class() {
        let of = |method, is_ndjson, waits| RequestClass::of(&method, is_ndjson, waits);
        assert_eq!(of(Method::GET, false, true), RequestClass::Read);
        assert_eq!(of(Method::POST, false, false), RequestClass::Command);
        assert_eq!(of(Method::PUT, false, false), RequestClass::Command);
        assert_eq!(of(Method::POST, true, true), RequestClass::Upload);
        assert_eq!(of(Method::POST, false, true), RequestClass::Wait);
    }

    #[test]
    fn a_class_at_its_limit_leaves_the_others_theirs() {
        use RequestClass::{Command, Read, Totals, Upload, Wait};
        let classes = [Read, Command, Upload, Wait, Totals];
        for full in classes {
            let limits = Limits {
                max_reads: 1,
                max_commands: 1,
                max_uploads: 1,
                max_waits: 1,
                max_totals: 1,
                ..Limits::default()
            };
            let limits = ConcurrencyLimits::new(&limits);
            let permit = limits.try_acquire(full).expect("is the first");
            for class in classes {
                assert_eq!(limits.try_acquire(class).is_ok(), class != full, "{class:?}");
            }
            drop(permit);
            assert!(limits.try_acquire(full).is_ok(), "{full:?} is counted for ever");
        }
    }
}
