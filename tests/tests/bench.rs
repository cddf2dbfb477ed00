//! The benchmark in this process, with little to do: every figure is taken, and nothing is lost.

use engine::server::Server;
use lab::bench;
use node::embedded::Embedded;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_benchmark_takes_every_figure() {
    let arguments = "--listen 127.0.0.1:0 --sagas 200 --orders 100 --clients 8 --rate 50 \
                     --seconds 1 --lines 1000 --report json";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let (settings, options) = tests::parse(&arguments);
    let folder = tempfile::tempdir().expect("a private folder");
    let server = Server::start(testkit::nats_server(), &folder.path().join("nats"), "").await;
    let server = server.expect("nats-server starts");
    let mut embedded =
        Embedded::on(server, &settings, folder.path()).await.expect("the services start");

    let figures = bench::measure(&mut embedded, &options).await.expect("every order ends");
    embedded.stop().await.expect("stops");

    assert!(figures.limit_messages_per_s > 0.0);
    let counts = [figures.sagas.count, figures.http.count, figures.latency.count];
    assert_eq!(counts, [200, 100, 50]);
    assert_eq!(figures.stock_lines.count, 1_000);
    // At least placed, and one end, for each order; an event for each stock line.
    assert!(figures.sagas.messages_per_s > 2.0 * figures.sagas.per_s, "{figures:?}");
    assert!(figures.stock_lines.messages_per_s >= figures.stock_lines.per_s, "{figures:?}");
    assert!(figures.latency.settled_p50_ms > 0.0, "{figures:?}");
    let [orders, stock] = figures.rebuilds.as_slice() else { panic!("{figures:?}") };
    assert!(orders.events >= 350 * 2 && stock.events >= 1_000 + 350, "{figures:?}");
}
