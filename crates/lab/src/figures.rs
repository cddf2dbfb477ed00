//! What is measured, as people read it: times, rates, percentiles, memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;
/// Times beyond this count as this, in microseconds: ten minutes.
const MAX_US: u64 = 600 * SECOND_US;

/// A time with a unit that fits it: `4.2 ms`, `1.05 s`.
pub(crate) fn time(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        ..10_000.0 => format!("{:.2} s", millis / 1000.0),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// So many in that time, for each second.
pub(crate) fn rate(things: u64, time: Duration) -> f64 {
    things as f64 / time.as_secs_f64().max(1e-6)
}

/// How long many things took, in constant memory.
#[derive(Debug, Clone)]
pub struct Latencies(Option<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are constants of this file that the histogram takes; were they not, the
        // report would say "not known".
        Self(Histogram::new_with_bounds(1, MAX_US, 3).ok())
    }
}

impl Latencies {
    /// Takes one in.
    pub fn record(&mut self, time: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_US));
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time that so many of a hundred did not exceed.
    pub fn percentile(&self, percentile: f64) -> Duration {
        let micros = |histogram: &Histogram<u64>| histogram.value_at_percentile(percentile);
        Duration::from_micros(self.0.as_ref().map_or(0, micros))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.as_ref().map_or(0, Histogram::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_fits() {
        assert_eq!(time(Duration::from_micros(4_210)), "4.2 ms");
        assert_eq!(time(Duration::from_millis(42)), "42 ms");
        assert_eq!(time(Duration::from_millis(1_050)), "1.05 s");
        assert_eq!(time(Duration::from_secs(75)), "75.0 s");
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        for millis in 1..=100 {
            latencies.record(Duration::from_millis(millis));
        }
        let close =
            |is: Duration, wanted: u64| (is.as_secs_f64() * 1000.0 - wanted as f64).abs() < 0.1;
        assert_eq!(latencies.len(), 100);
        assert!(close(latencies.percentile(50.0), 50), "{:?}", latencies.percentile(50.0));
        assert!(close(latencies.percentile(99.0), 99), "{:?}", latencies.percentile(99.0));
        assert!(close(latencies.max(), 100), "{:?}", latencies.max());
    }
}
