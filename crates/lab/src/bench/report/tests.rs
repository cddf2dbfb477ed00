use super::*;
use crate::{
    bench::figures::{Limits, Rebuild, Setup},
    figures::Latencies,
};

fn figures() -> Figures {
    let mut latencies = Latencies::default();
    latencies.record(Duration::from_millis(80));
    let mut raw = Latencies::default();
    raw.record(Duration::from_millis(2));
    let second = Duration::from_secs(1);
    let measured = SetupFigures {
        limits: Limits::new(40_000.0, &raw),
        sagas: Some(Throughput::new(5_000, second, 20_000)),
        orders: Some(Throughput::new(500, second, 5_200)),
        latencies: vec![
            Latency::new(300, &latencies, &latencies),
            Latency::new(500, &latencies, &latencies),
        ],
        rebuilds: vec![Rebuild {
            service: "order",
            events: 300_000,
            events_per_s: 300_000.0,
            read_per_s: 600_000.0,
        }],
        memory_at_load: Some(Memory { total_mb: 250, services_mb: 250, ..Memory::default() }),
        ..SetupFigures::default()
    };
    let absent = Measured::Absent("Postgres is not installed".to_owned());
    Figures {
        setups: vec![(Setup::R1Sqlite, Measured::Figures(measured)), (Setup::R1Postgres, absent)],
        seconds: 60.0,
        ..Figures::default()
    }
}

#[track_caller]
fn line(figures: &Figures, name: &str) -> String {
    let text = figures.to_string();
    let line = text.lines().find(|line| line.contains(name));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
}

#[test]
fn figures_stand_beside_what_is_expected_and_the_limit() {
    let figures = figures();
    assert_eq!(
        line(&figures, "orders through the inbox"),
        "  orders through the inbox/s           ≥ 4,000     5,000   50 % ✓         –"
    );
    assert!(line(&figures, "of the limit").contains("≥ 50 %    50.0 %        ✓"));
    assert!(line(&figures, "orders over HTTP").contains("500   13 % ✗"));
    assert!(line(&figures, "at 500 orders/s: accepted, p99").contains("80 ms 40.0 × ✗"));
    assert!(line(&figures, "at 500 orders/s: settled, p99").contains('✓'));
    assert!(!line(&figures, "at 300 orders/s: accepted, p99").contains('✗'));
    assert!(line(&figures, "rebuild of order").contains("300,000   50 % ✓"));
    assert!(line(&figures, "everything together").contains("250 MB        ✓"));
}

#[test]
fn what_was_not_measured_is_said_and_has_no_row() {
    let figures = figures();
    assert!(figures.is_complete());
    assert!(line(&figures, "R1, Postgres: not").ends_with("Postgres is not installed"));
    let text = figures.to_string();
    assert!(!text.contains("stock lines"), "{text}");
    assert!(!text.contains("memory: Postgres"), "{text}");
    let failed = Figures { fairness: Some(Measured::Failed("lost".to_owned())), ..figures };
    assert!(!failed.is_complete());
    assert_eq!(line(&failed, "Fairness"), "Fairness: not measured: lost");
}

#[test]
fn the_cost_of_telemetry_is_the_median_of_its_rounds() {
    let cost = |throughput_loss: [f64; 3], exported_kb| Cost {
        throughput_loss: throughput_loss.into(),
        cpu_growth: Some(0.04),
        exported_kb,
    };
    let cost = TelemetryCost {
        orders: 2_000,
        by_default: cost([0.01, 0.05, 0.02], 1_000),
        every_trace: cost([0.1, 0.12, 0.11], 10_000),
    };
    let text = cost.to_string();
    let line = |name| text.lines().find(|line| line.contains(name)).expect("there is such a line");
    assert!(line("median").ends_with("≤ 3 %     2.0 %        ✓    11.0 %        ✗"), "{text}");
    assert!(line("first quartile").ends_with("1.5 %             10.5 %"), "{text}");
    assert!(line("exported").ends_with("1 MB              10 MB"), "{text}");
}

#[test]
fn a_shop_that_slows_another_down_is_shown() {
    let latency = |millis| {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(millis));
        Latency::new(100, &latencies, &latencies)
    };
    let fairness = Fairness {
        alone: latency(100),
        beside_lines: latency(110),
        lines: 5_000,
        lines_apart: latency(105),
        beside_orders: latency(130),
        orders_per_s: 1_000,
        orders_accepted: 900,
        orders_apart: latency(120),
    };
    let text = fairness.to_string();
    let growth = text.lines().find(|line| line.contains("more than alone"));
    let growth = growth.expect("there is such a line");
    assert!(growth.contains("10.0 %        ✓    30.0 %        ✗"), "{growth}");
    let apart = text.lines().find(|line| line.contains("with the load elsewhere"));
    let apart = apart.expect("there is such a line");
    assert!(apart.contains("5.0 %") && apart.contains("20.0 %"), "{apart}");
}

#[test]
fn columns_stay_apart_however_large_a_figure_is() {
    let row = Row {
        name: "an order that waits".to_owned(),
        unit: Unit::Millis,
        expected: Expected::AtMost(25.0),
        cells: vec![Cell::times(1_234.0, 2.0), Cell::times(999_000_000.0, 0.001)],
    };
    let shown = row.to_string();
    assert!(shown.ends_with("≤ 25 ms    1.23 s  617 × ✗ 999000.0 s 999000000000 × ✗"), "{shown}");
}
