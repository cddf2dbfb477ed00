use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

#[test]
fn a_partition_says_what_it_does_until_another_process_runs_it() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let has = |line: &str| {
        let text = recorder.handle().render();
        assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
    };
    with_local_recorder(&recorder, || {
        describe();
        let partition = PartitionMetrics::new("ledger", 3);
        let source = partition.source("inbox.live");
        partition.state(PartitionState::Recovering);
        partition.state(PartitionState::Held);
        partition.batch(2);
        partition.step(BatchStep::Publish, Duration::from_millis(5));
        partition.events("deposited", 2);
        partition.parked(1);
        partition.restarted(RestartCause::StorageFull);
        partition.operations(OperationState::Waiting, 4);
        partition.oldest_operation(Duration::from_secs(9));
        source.handled(2);
        source.lag(7, Duration::from_millis(1500));

        let of = "service=\"ledger\",partition=\"3\"";
        has(&format!("partition_state{{{of},state=\"held\"}} 1"));
        has(&format!("partition_state{{{of},state=\"recovering\"}} 0"));
        has("batch_inputs_count{service=\"ledger\"} 1");
        has("batch_step_duration_seconds_count{service=\"ledger\",step=\"publish\"} 1");
        has(&format!("events_total{{{of},event=\"deposited\"}} 2"));
        has(&format!("parked_inputs{{{of}}} 1"));
        has(&format!("partition_restarts_total{{{of},cause=\"storage_full\"}} 1"));
        has(&format!("operations{{{of},state=\"waiting\"}} 4"));
        has(&format!("operation_oldest_seconds{{{of}}} 9"));
        has(&format!("inputs_total{{{of},source=\"inbox.live\"}} 2"));
        has(&format!("replica_errors_total{{{of},source=\"inbox.live\"}} 0"));
        has(&format!("source_lag_events{{{of},source=\"inbox.live\"}} 7"));
        has(&format!("source_lag_seconds{{{of},source=\"inbox.live\"}} 1.5"));

        drop((partition, source));
        has(&format!("partition_state{{{of},state=\"held\"}} 0"));
        has(&format!("parked_inputs{{{of}}} 0"));
        has(&format!("operations{{{of},state=\"waiting\"}} 0"));
        has(&format!("source_lag_events{{{of},source=\"inbox.live\"}} 0"));
        has(&format!("inputs_total{{{of},source=\"inbox.live\"}} 2"));
    });
}
