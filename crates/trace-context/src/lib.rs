//! W3C trace context of messages, in and out of the spans of `tracing`.
//!
//! A message carries the trace that it belongs to as a `traceparent`: a text such as
//! `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01` (version, trace, span, flags). Who
//! handles the message makes a span, [`attach`]es the text to it, and gives what follows from the
//! message the [`traceparent_of`] that span; so everything that follows from one request is one
//! trace. What handles many messages at once is no child of any: it [`link`]s to them.
//!
//! ```
//! # let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let span = tracing::info_span!("order.decide");
//! trace_context::attach(&span, incoming, "");
//! let outgoing = span.in_scope(|| {
//!     // Without an exporter there is no span that others could refer to: pass on what came.
//!     trace_context::traceparent_of(&span).unwrap_or_else(|| incoming.to_owned())
//! });
//! # assert_eq!(outgoing, incoming);
//! ```
//!
//! The crate knows the interface of OpenTelemetry and nothing of its exporters, so that a library
//! can depend on it. While a process exports nothing, each function returns at once.

use std::str::FromStr;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The most traces that one span links to; a batch of more names only the first of them.
pub const MAX_LINKS: usize = 32;

/// The only version of `traceparent` that is defined today. Later ones begin with the same fields.
const VERSION: &str = "00";

/// Makes `span` a child of the span that `traceparent` names, with its `tracestate` (empty if none).
///
/// Returns whether it did: not if the text is malformed, the span is disabled, nothing is exported,
/// or the span has started. A span starts when a child of it is made or its `traceparent` is asked
/// for, so attach first.
pub fn attach(span: &Span, traceparent: &str, tracestate: &str) -> bool {
    if span.is_disabled() {
        return false;
    }
    parse(traceparent, tracestate).is_some_and(|parent| {
        span.set_parent(Context::new().with_remote_span_context(parent)).is_ok()
    })
}

/// Links `span` to the traces of what it handles: to each trace once, to [`MAX_LINKS`] at most.
///
/// Malformed texts are left out. Returns the number of links.
pub fn link<'a>(span: &Span, traceparents: impl IntoIterator<Item = &'a str>) -> usize {
    if span.is_disabled() {
        return 0;
    }
    let mut linked: Vec<TraceId> = Vec::new();
    for context in traceparents.into_iter().filter_map(|text| parse(text, "")) {
        if linked.len() == MAX_LINKS {
            break;
        }
        if !linked.contains(&context.trace_id()) {
            linked.push(context.trace_id());
            span.add_link(context);
        }
    }
    linked.len()
}

/// The `traceparent` for what follows from `span`; nothing if it is disabled or nothing is exported.
pub fn traceparent_of(span: &Span) -> Option<String> {
    with_context(span, |context| {
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        format!("{VERSION}-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags.to_u8())
    })
}

/// The `tracestate` for what follows from `span`: empty if it has none.
pub fn tracestate_of(span: &Span) -> Option<String> {
    with_context(span, |context| context.trace_state().header())
}

/// Tells whether the sender of `traceparent` records its trace, so that it is worth a span here.
pub fn is_sampled(traceparent: &str) -> bool {
    // Asked of every message, also where nothing is exported: the flag alone rules most out.
    fields(traceparent).is_some_and(|fields| fields.flags.is_sampled() && fields.is_identified())
}

/// Tells whether `traceparent` can be attached.
pub fn is_valid(traceparent: &str) -> bool {
    fields(traceparent).is_some_and(|fields| fields.is_identified())
}

fn with_context<T>(span: &Span, read: impl FnOnce(&SpanContext) -> T) -> Option<T> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| read(context))
}

/// The fields of a `traceparent`, of the right length and form.
struct Fields<'a> {
    trace: &'a str,
    span: &'a str,
    flags: TraceFlags,
}

impl Fields<'_> {
    /// Whether both ids name something: zeros do not.
    fn is_identified(&self) -> bool {
        [self.trace, self.span].iter().all(|id| id.bytes().any(|digit| digit != b'0'))
    }
}

/// Reads a `traceparent` as the recommendation of the W3C has it.
fn fields(traceparent: &str) -> Option<Fields<'_>> {
    let mut fields = traceparent.split('-');
    let [version, trace, span, flags] = std::array::from_fn(|_| fields.next().unwrap_or(""));
    let may_have_more = version != VERSION;
    if !is_hex(version, 2) || version == "ff" || (fields.next().is_some() && !may_have_more) {
        return None;
    }
    if !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some(Fields { trace, span, flags })
}

/// Reads both texts. A malformed `tracestate` is dropped, and the `traceparent` counts all the same.
fn parse(traceparent: &str, tracestate: &str) -> Option<SpanContext> {
    let Fields { trace, span, flags } = fields(traceparent)?;
    let state = TraceState::from_str(tracestate).unwrap_or_default();
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
