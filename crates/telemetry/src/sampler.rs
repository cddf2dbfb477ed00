//! Which traces are exported of those that begin here: a share of them, and no more than so many a second. So a
//! quiet process shows every request, and a busy one pays no more for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// The bits of the count in [`Limited::begun`]; the second stands above them.
const COUNT_BITS: u32 = 32;

/// Samples a share of the traces that begin here, so many a second at most; of those that began elsewhere, what
/// the caller samples. `per_second` 0 is no limit.
pub(crate) fn sampler(ratio: f64, per_second: u32) -> Sampler {
    let share = Sampler::TraceIdRatioBased(ratio.clamp(0.0, 1.0));
    if per_second == 0 {
        return Sampler::ParentBased(Box::new(share));
    }
    Sampler::ParentBased(Box::new(Limited::new(share, per_second)))
}

#[derive(Debug, Clone)]
struct Limited {
    share: Sampler,
    per_second: u32,
    started: Instant,
    /// The last second in which a trace began, and how many began in it.
    begun: Arc<AtomicU64>,
}

impl Limited {
    fn new(share: Sampler, per_second: u32) -> Self {
        Self { share, per_second, started: Instant::now(), begun: Arc::default() }
    }

    /// Whether one more may begin in that second since the start.
    fn admits(&self, second: u64) -> bool {
        let admitted = |begun: u64| {
            let is_same = begun >> COUNT_BITS == second;
            let count = if is_same { begun & u64::from(u32::MAX) } else { 0 };
            (count < self.per_second.into()).then_some(second << COUNT_BITS | (count + 1))
        };
        self.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admitted).is_ok()
    }
}

impl ShouldSample for Limited {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let share = self.share.should_sample(parent, trace_id, name, kind, attributes, links);
        let is_sampled = share.decision == SamplingDecision::RecordAndSample;
        if !is_sampled || self.admits(self.started.elapsed().as_secs()) {
            return share;
        }
        SamplingResult {
            decision: SamplingDecision::Drop,
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_begin_and_no_more() {
        let limited = Limited::new(Sampler::AlwaysOn, 2);
        let admitted = [0, 0, 0, 1, 1, 1, 7].map(|second| limited.admits(second));
        assert_eq!(admitted, [true, true, false, true, true, false, true]);
    }

    #[test]
    fn a_share_of_nothing_uses_nothing_up() {
        let sampled = |share: Sampler| {
            let limited = Limited::new(share, 1);
            let decide = |_| {
                let id = TraceId::from(1_u128);
                limited.should_sample(None, id, "gateway.request", &SpanKind::Server, &[], &[])
            };
            let is_sampled = |it: &SamplingResult| it.decision == SamplingDecision::RecordAndSample;
            let sampled = (0..3).map(decide).filter(is_sampled).count();
            (sampled, limited.begun.load(Ordering::Relaxed) & 1)
        };
        assert_eq!(sampled(Sampler::AlwaysOff), (0, 0));
        let (count, _) = sampled(Sampler::AlwaysOn);
        assert!((1..=2).contains(&count), "a second may have passed meanwhile");
    }
}
