//! Metrics: the recorder behind the macros of `metrics`, and the buckets of each histogram.

use metrics::{gauge, set_global_recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::layers::{Layer, Prefix, PrefixLayer};

use crate::{Error, Settings};

/// Steps of a batch, requests, writes: 100 µs to 30 s.
const DURATION_BUCKETS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 30.0,
];

/// Sagas, which may wait for a deadline: 5 ms to an hour.
const SAGA_BUCKETS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0,
    3600.0,
];

/// Things in a batch, of which there are 500 at most.
const COUNT_BUCKETS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// The present metrics of this process.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// All metrics, in the text format of Prometheus. A series whose value is NaN is left out: what it measured is
    /// there no more.
    pub fn render(&self) -> String {
        let all = self.0.render();
        if !all.contains(" NaN\n") {
            return all;
        }
        all.split_inclusive('\n').filter(|line| !line.ends_with(" NaN\n")).collect()
    }

    /// Sorts what was observed since the last call into buckets, so that it takes no more memory:
    /// for the time in which nobody asks.
    pub(crate) fn compact(&self) {
        self.0.run_upkeep();
    }
}

/// Makes the recorder the one of this process. Without it, what is recorded costs nothing, and no
/// metric is rendered.
pub(crate) fn install(settings: &Settings) -> Result<Metrics, Error> {
    let (recorder, handle) = recorder(settings.service).map_err(Error::Metrics)?;
    let metrics = Metrics(handle);
    if !settings.metrics {
        return Ok(metrics);
    }
    set_global_recorder(recorder).map_err(|_| Error::HasRecorder)?;
    metrics::describe_gauge!("build_info", "The version of the program that runs: 1.");
    gauge!("build_info", "version" => settings.version).set(1.0);
    Ok(metrics)
}

/// Puts the name of the program before that of each metric, so that the crates which record them need not know it.
///
/// Of the rules for buckets, the more exact one goes before the less exact one: a full name, then the end of a name.
fn recorder(program: &str) -> Result<(Prefix<PrometheusRecorder>, PrometheusHandle), BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_inputs".to_owned()), &COUNT_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Full(format!("{program}_saga_duration_seconds")),
            &SAGA_BUCKETS,
        )?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    Ok((PrefixLayer::new(program).layer(recorder), handle))
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, describe_histogram, histogram, with_local_recorder};

    use super::*;

    fn rendered(record: impl FnOnce()) -> String {
        let (recorder, handle) = recorder("test").expect("the buckets are right");
        with_local_recorder(&recorder, record);
        Metrics(handle).render()
    }

    #[test]
    fn a_series_that_is_not_a_number_is_left_out() {
        let text = rendered(|| {
            gauge!("silent", "connector" => "erp").set(7.0);
            gauge!("silent", "connector" => "till").set(f64::NAN);
        });
        assert!(text.contains("test_silent{connector=\"erp\"} 7\n"), "{text}");
        assert!(!text.contains("till"), "{text}");
    }

    #[test]
    fn a_metric_is_rendered_with_the_name_of_the_program_its_help_and_type() {
        let text = rendered(|| {
            describe_counter!("inputs_total", "Inputs handled.");
            counter!("inputs_total", "service" => "order").increment(3);
        });
        assert!(text.contains("# HELP test_inputs_total Inputs handled."), "{text}");
        assert!(text.contains("# TYPE test_inputs_total counter"), "{text}");
        assert!(text.contains("test_inputs_total{service=\"order\"} 3"), "{text}");
    }

    #[test]
    fn without_a_recorder_nothing_is_recorded() {
        let settings = Settings {
            service: "test",
            version: "1",
            instance: String::new(),
            log: String::new(),
            log_format: crate::LogFormat::Text,
            otlp_endpoint: None,
            trace_ratio: 1.0,
            traces_per_second: 0,
            metrics: false,
            metrics_listen: crate::MetricsListen::Off,
        };
        let metrics = install(&settings).expect("the buckets are right");
        counter!("inputs_total").increment(3);
        assert_eq!(metrics.render(), "");
    }

    #[test]
    fn each_histogram_has_buckets_of_its_own_kind() {
        let text = rendered(|| {
            describe_histogram!("batch_inputs", "Inputs of a batch.");
            histogram!("batch_inputs").record(7.0);
            histogram!("batch_step_duration_seconds").record(0.000_05);
            histogram!("saga_duration_seconds").record(2000.0);
        });
        for line in [
            "# TYPE test_batch_inputs histogram",
            "test_batch_inputs_bucket{le=\"5\"} 0",
            "test_batch_inputs_bucket{le=\"10\"} 1",
            "test_batch_step_duration_seconds_bucket{le=\"0.0001\"} 1",
            "test_saga_duration_seconds_bucket{le=\"1800\"} 0",
            "test_saga_duration_seconds_bucket{le=\"3600\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
