//! The spans of a worker, named `service.verb` as `docs/observability.md` lists them.
//!
//! A span is made only where an input belongs to a trace that is recorded; otherwise all of these
//! are disabled and cost nothing. A rebuild or a recovery makes none for what it folds.

use tracing::{Span, field::Empty, info_span};

use crate::{Attempt, Operation, Service, worker::inputs::Input};

/// Where the identity of the trace stands in a `traceparent`.
const TRACE_ID: std::ops::Range<usize> = 3..35;

/// The span of a batch; by default none.
#[derive(Debug, Clone)]
pub(crate) struct BatchSpan(Span);

impl Default for BatchSpan {
    fn default() -> Self {
        Self(Span::none())
    }
}

impl BatchSpan {
    /// The span of a batch. It continues the trace of its inputs if they have one in common, and
    /// links to their traces otherwise.
    pub(crate) fn new<S: Service>(partition: u32, inputs: &[Input<S>]) -> Self {
        let traceparents = || {
            let texts = inputs.iter().map(|input| &*input.context.traceparent);
            texts.filter(|text| trace_context::is_sampled(text))
        };
        let Some(first) = traceparents().next() else { return Self::default() };
        let span = info_span!(
            parent: None,
            "batch",
            otel.name = format!("{}.batch", S::NAME),
            partition.number = partition,
            messaging.system = "nats",
            messaging.operation.type = "process",
            messaging.batch.message_count = inputs.len(),
        );
        if traceparents().all(|text| text[TRACE_ID] == first[TRACE_ID]) {
            trace_context::attach(&span, first, "");
        }
        trace_context::link(&span, traceparents());
        Self(span)
    }

    /// This span, or the other when this one belongs to no trace.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.0.is_none() { other } else { self }
    }

    /// The span in which rows are fetched.
    pub(crate) fn load<S: Service>(&self, aggregates: usize) -> Span {
        if self.0.is_none() {
            return Span::none();
        }
        let name = format!("{}.load", S::NAME);
        info_span!(parent: &self.0, "load", otel.name = name, batch.aggregates = aggregates)
    }

    /// The span in which events are appended to a log.
    pub(crate) fn publish<S: Service>(&self, stream: &str, events: usize) -> Span {
        if self.0.is_none() {
            return Span::none();
        }
        info_span!(
            parent: &self.0,
            "publish",
            otel.name = format!("{}.publish", S::NAME),
            messaging.system = "nats",
            messaging.operation.type = "send",
            messaging.destination.name = stream,
            messaging.batch.message_count = events,
        )
    }

    /// The span in which rows are written.
    pub(crate) fn project<S: Service>(&self, rows: usize) -> Span {
        if self.0.is_none() {
            return Span::none();
        }
        let name = format!("{}.project", S::NAME);
        info_span!(parent: &self.0, "project", otel.name = name, batch.rows = rows)
    }
}

/// The span of one input, in the input's own trace.
pub(crate) fn decide<S: Service>(input: &Input<S>) -> Span {
    if !trace_context::is_sampled(&input.context.traceparent) {
        return Span::none();
    }
    let span = info_span!(
        parent: None,
        "decide",
        otel.name = format!("{}.decide", S::NAME),
        input.kind = input.cause.kind,
        input.source = input.source,
        input.sequence = input.sequence,
        aggregate.id = input.aggregate,
        event.count = Empty,
    );
    trace_context::attach(&span, &input.context.traceparent, "");
    span
}

/// The span in which a partition is brought up to its log.
pub(crate) fn recover<S: Service>(partition: u32) -> Span {
    info_span!(
        parent: None,
        "recover",
        otel.name = format!("{}.recover", S::NAME),
        partition.number = partition,
        event.count = Empty,
    )
}

/// The span of an attempt, in the trace of the event that asked for the operation.
pub(crate) fn effect<S: Service>(
    operation: &Operation,
    attempt: Attempt,
    traceparent: &str,
) -> Span {
    if !trace_context::is_sampled(traceparent) {
        return Span::none();
    }
    let span = info_span!(
        parent: None,
        "effect",
        otel.name = format!("{}.effect", S::NAME),
        operation.id = operation.id,
        operation.kind = Empty,
        operation.attempt = attempt.number,
        operation.outcome = Empty,
    );
    trace_context::attach(&span, traceparent, "");
    span
}
