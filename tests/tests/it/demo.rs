//! The demo in this process: a short day of trade, after which every invariant holds.

use std::collections::BTreeSet;

use audit::Status;
use engine::server::Server;
use events::proto::order;
use lab::demo::{self, plan::Kind, report::Report};
use node::embedded::Embedded;

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_trade_ends_with_every_invariant_intact() {
    let (settings, options) = tests::parse(&["--orders", "200", "--listen", "127.0.0.1:0"]);
    let settings = demo::for_a_day(&settings);
    let folder = tempfile::tempdir().expect("a private folder");
    let server = Server::start(testkit::nats_server(), &folder.path().join("nats"), "").await;
    let server = server.expect("nats-server starts");
    let embedded = Embedded::on(server, &settings, folder.path()).await.expect("starts");

    let report = demo::day(&embedded, &options, |_| {}).await.expect("the day is settled");
    embedded.stop().await.expect("stops");

    assert!(report.is_in_order(), "{report}");
    let invariants: Vec<_> = report.checks.iter().filter_map(|check| check.invariant).collect();
    assert_eq!(invariants, [1, 2, 3, 4, 5, 6, 7, 8, 8, 9], "each was looked at");
    for check in &report.checks {
        assert!(check.looked_at > 0 && !check.evidence.is_empty(), "{check}");
    }
    // What the day is made of did happen.
    assert_eq!(report.sent, 200);
    assert_eq!((report.trade.winners, report.trade.refused_racers), (2, 18));
    assert!(report.trade.refused > 0 && report.trade.replayed > 0, "{report}");
    assert!(!report.trade.cancelled.is_empty(), "{report}");
    assert!(report.trade.second_payments > 1, "{report}");
    assert!(report.audited.money.captured() > 0, "{report}");
    assert!(report.audited.money.voided().0 > 0, "{report}");
    // The warehouse shipped most of it, some in two parts, and counted meanwhile.
    let shipments = &report.shipments;
    assert!(shipments.orders > 100 && shipments.in_parts > 10, "{report}");
    assert_eq!(shipments.units.len(), 2, "from both locations: {report}");
    assert!(shipments.counted > 0 && shipments.booked_late > 0, "{report}");
    for answer in ["applied", "applied_in_excess", "duplicate", "unknown_order"] {
        assert!(shipments.answers.counts.contains_key(answer), "{answer}: {report}");
    }
    // Some of the rest went to the other location: not all of it came, and one part is on its way.
    assert!(shipments.answers.counts.contains_key("applied_incomplete"), "{report}");
    let (sent, received) = (shipments.sent, shipments.received);
    assert!(shipments.missing_on_the_way > 0 && sent > received, "{report}");
    assert!(report.refunds.orders > 1 && report.refunds.amount > 0, "{report}");
    // Every webhook came, to the flaky receiver some of them twice.
    for outcome in &report.webhooks {
        let (deliveries, received) = (&outcome.deliveries, &outcome.received);
        assert!(deliveries.matched > 100 && outcome.missing() == 0, "{report}");
        assert_eq!(deliveries.delivered, deliveries.matched, "{report}");
        assert_eq!(received.verified, received.requests, "{report}");
        if outcome.name == "flaky" {
            assert!(deliveries.retries > 0 && received.repeated > 0, "{report}");
        } else {
            assert_eq!((deliveries.retries, received.repeated), (0, 0), "{report}");
        }
    }
    assert_eq!(report.webhooks.len(), 3);
    expect_fitting_outcomes(&report);
    let text = report.to_string();
    assert!(text.ends_with("Every order, every unit and every penny is accounted for."), "{text}");
}

/// Checks that the orders ended as what is special about them has it, and that each such end came
/// about.
#[track_caller]
fn expect_fitting_outcomes(report: &Report) {
    let mut seen = BTreeSet::new();
    for (id, placed) in &report.trade.placed {
        let status = report.audited.orders.status(*id).expect("is in the log");
        let (name, is_fit) = match (placed.kind, status) {
            (_, Status::Cancelled(order::CancelReason::OutOfStock)) => ("out of stock", true),
            (kind, Status::Cancelled(order::CancelReason::PaymentDeclined)) => {
                // On a slow machine the stock of one who pays again is no longer held.
                let kinds =
                    [Kind::Declined, Kind::DeclinedTwice, Kind::OtherCard, Kind::OneStepDeclined];
                ("declined", kinds.contains(&kind))
            }
            (kind, Status::Cancelled(order::CancelReason::CaptureFailed)) => {
                ("not captured", kind == Kind::CaptureRefused)
            }
            (kind, Status::Cancelled(order::CancelReason::Requested)) => {
                let kinds = [Kind::Cancels, Kind::CancelsAtOnce, Kind::OneStepCancels];
                ("requested", kinds.contains(&kind))
            }
            // A machine that is slow may let any deadline pass.
            (Kind::Late, Status::Cancelled(order::CancelReason::PaymentTimeout)) => {
                ("too late", true)
            }
            (_, Status::Cancelled(order::CancelReason::PaymentTimeout)) => ("slow", true),
            (Kind::OtherCard, Status::Paid) => ("paid by another card", true),
            (kind, Status::Paid) => {
                let unpaid =
                    [Kind::Declined, Kind::DeclinedTwice, Kind::CaptureRefused, Kind::Late];
                ("paid", !unpaid.contains(&kind))
            }
            _ => ("otherwise", false),
        };
        assert!(is_fit, "an order of {:?} ended {name}: {status:?}\n{report}", placed.kind);
        seen.insert(name);
    }
    for name in [
        "paid",
        "paid by another card",
        "out of stock",
        "declined",
        "not captured",
        "requested",
        "too late",
    ] {
        assert!(seen.contains(name), "no order ended {name}\n{report}");
    }
}
