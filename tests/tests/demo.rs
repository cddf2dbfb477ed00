//! The demo in this process: a short day of trade, after which every invariant holds.

use clap::Parser;
use engine::server::Server;
use tradewind::{
    cli::{Cli, Command},
    demo::{self, audit::Check},
    embedded::Embedded,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_trade_ends_with_every_invariant_intact() {
    let arguments = ["tradewind", "demo", "--orders", "200", "--listen", "127.0.0.1:0"];
    let cli = Cli::try_parse_from(arguments).expect("the arguments are valid");
    let Command::Demo(options) = cli.command else { panic!("is the demo") };
    let settings = demo::for_a_day(&cli.settings);
    let folder = tempfile::tempdir().expect("a private folder");
    let server = Server::start(testkit::nats_server(), &folder.path().join("nats"), "").await;
    let server = server.expect("nats-server starts");
    let embedded = Embedded::on(server, &settings, folder.path()).await.expect("starts");

    let report = demo::day(&embedded, &options, |_| {}).await.expect("the day comes to its end");
    embedded.stop().await.expect("stops");

    assert!(report.is_in_order(), "{report}");
    let invariants: Vec<_> = report.checks.iter().filter_map(|check| check.invariant).collect();
    assert_eq!(invariants, [1, 2, 3, 4, 5, 6, 7, 9], "each was looked at");
    let seen: Vec<&Check> = report.checks.iter().filter(|it| !it.evidence.is_empty()).collect();
    assert_eq!(seen.len(), report.checks.len(), "each says what it looked at");
    // What the day is made of did happen.
    assert_eq!(report.sent, 200);
    assert_eq!((report.trade.winners, report.trade.told), (2, 18));
    assert!(report.trade.refused > 0 && report.trade.replayed > 0, "{report}");
    assert!(!report.trade.cancelled.is_empty(), "{report}");
    assert!(report.audited.money.captured() > 0, "{report}");
    assert!(report.audited.money.voided().0 > 0, "{report}");
    let text = report.to_string();
    assert!(text.ends_with("Every order, every unit and every penny is accounted for."), "{text}");
}
