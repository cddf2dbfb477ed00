//! What figures are made of: how many in what time, and how long each took.

use std::time::Duration;

use serde::Serialize;

use crate::figures::{Latencies, rate};

/// How many went through in what time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// So many.
    pub count: u64,
    /// In this time, in seconds.
    pub seconds: f64,
    /// For each second.
    pub per_s: f64,
    /// The durable messages that it took, for each second.
    pub messages_per_s: f64,
}

impl Throughput {
    /// So many in that time, with so many durable messages.
    pub(super) fn new(count: u64, took: Duration, messages: u64) -> Self {
        Self {
            count,
            seconds: took.as_secs_f64(),
            per_s: rate(count, took),
            messages_per_s: rate(messages, took),
        }
    }
}

/// How long orders took at a fixed rate, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Orders a second.
    pub rate_per_s: u32,
    /// Orders in all.
    pub count: u64,
    /// Until half of them were accepted.
    pub accepted_p50_ms: f64,
    /// Until 99 of 100 were accepted.
    pub accepted_p99_ms: f64,
    /// Until half of them were settled.
    pub settled_p50_ms: f64,
    /// Until 99 of 100 were settled.
    pub settled_p99_ms: f64,
}

impl Latency {
    /// From what was recorded.
    pub(super) fn new(rate_per_s: u32, accepted: &Latencies, settled: &Latencies) -> Self {
        Self {
            rate_per_s,
            count: accepted.len(),
            accepted_p50_ms: millis(accepted, 50.0),
            accepted_p99_ms: millis(accepted, 99.0),
            settled_p50_ms: millis(settled, 50.0),
            settled_p99_ms: millis(settled, 99.0),
        }
    }
}

/// Deliveries that were made, or events that were read, as fast as possible.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Processed {
    /// So many.
    pub count: u64,
    /// For each second.
    pub per_s: f64,
    /// Milliseconds of the processors for each, without those of the receiver and the broker; absent
    /// where the system does not say.
    pub cpu_ms: Option<f64>,
}

impl Processed {
    /// So many in that time, with that much time of the processors.
    pub(super) fn new(count: u64, took: Duration, cpu: Option<Duration>) -> Self {
        let cpu_ms = cpu.map(|cpu| cpu.as_secs_f64() * 1_000.0 / count as f64);
        Self { count, per_s: rate(count, took), cpu_ms }
    }
}

/// A percentile, in milliseconds.
pub(super) fn millis(latencies: &Latencies, percentile: f64) -> f64 {
    latencies.percentile(percentile).as_secs_f64() * 1000.0
}
