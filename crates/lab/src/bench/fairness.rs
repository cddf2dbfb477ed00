//! What the load of one shop costs another one in the same partition.

use std::time::Duration;

use anyhow::{Context, Result};
use protocol::{id::Shop, subject};
use tokio::sync::oneshot;

use super::{
    Options,
    figures::{Fairness, Latency, Setup},
    load::Load,
    setup::{Environment, Installation},
};

/// The shop whose latency is measured.
const CALM_SHOP: &str = "calm";
/// How long each shop places orders before the first figure.
const WARM_UP: Duration = Duration::from_secs(2);
/// Its orders a second.
const CALM_RATE: u32 = 100;
/// The orders a second of the other shop.
const BUSY_RATE: u32 = 1_000;

/// Measures the latency of a shop alone, beside another one that pushes stock lines without a pause,
/// and beside one that places 1,000 orders a second; and with the same load in another installation on
/// the same machine, which shares nothing but cores and disks: that is what fairness cannot prevent.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Fairness> {
    let progress = |what: &str| options.progress("fairness", what);
    progress("starting");
    let start =
        async |name: &str| Installation::start(Setup::R1Sqlite, environment, name, &[]).await;
    let installation = start("fairness").await?;
    let neighbour = neighbour(environment.settings.partitions)?;
    let (calm, busy) = (installation.load(CALM_SHOP).await?, installation.load(&neighbour).await?);
    calm.open().await?;
    busy.open().await?;
    let duration = Duration::from_secs(options.seconds.into());
    for shop in [&calm, &busy] {
        shop.at_rate("warm-up", CALM_RATE, WARM_UP).await?;
    }

    calm.quiet().await?;
    progress("a shop alone");
    let alone = calm.at_rate("alone", CALM_RATE, duration).await?;
    progress("beside a shop that pushes stock lines");
    let (beside_lines, lines) = with_lines(&calm, &busy, "beside-lines", duration).await?;
    progress("beside a shop that places 1,000 orders a second");
    let (beside_orders, orders_accepted) =
        with_orders(&calm, &busy, "beside-orders", duration).await?;

    progress("starting another installation");
    let other = start("fairness-apart").await?;
    let apart = other.load(&neighbour).await?;
    apart.open().await?;
    progress("while stock lines are pushed there");
    let (lines_apart, _) = with_lines(&calm, &apart, "lines-apart", duration).await?;
    progress("while 1,000 orders a second are placed there");
    let (orders_apart, _) = with_orders(&calm, &apart, "orders-apart", duration).await?;
    drop((calm, busy, apart));
    other.stop().await?;
    installation.stop().await?;
    Ok(Fairness {
        alone,
        beside_lines,
        lines,
        lines_apart,
        beside_orders,
        orders_per_s: BUSY_RATE,
        orders_accepted,
        orders_apart,
    })
}

/// The latency of a shop while another one pushes stock lines, and how many those are.
async fn with_lines(
    calm: &Load,
    busy: &Load,
    name: &str,
    duration: Duration,
) -> Result<(Latency, u64)> {
    let (stop, stopped) = oneshot::channel();
    let (lines, measured) = tokio::join!(busy.lines_until(stopped), async {
        let measured = calm.at_rate(name, CALM_RATE, duration).await;
        stop.send(()).ok();
        measured
    });
    let lines = lines.context("push the lines of the other shop")?;
    busy.quiet().await?;
    Ok((measured?, lines))
}

/// The latency of a shop while another one places orders, and how many of those are accepted.
async fn with_orders(
    calm: &Load,
    busy: &Load,
    name: &str,
    duration: Duration,
) -> Result<(Latency, u64)> {
    let (accepted, measured) = tokio::join!(
        busy.flood(name, BUSY_RATE, duration),
        calm.at_rate(name, CALM_RATE, duration)
    );
    let accepted = accepted.context("place the orders of the other shop")?;
    busy.quiet().await?;
    Ok((measured?, accepted))
}

/// A shop in the partition of the calm one.
fn neighbour(partitions: u32) -> Result<String> {
    let of = |shop: &str| Shop::parse(shop).map(|shop| subject::partition(&shop, partitions));
    let wanted = of(CALM_SHOP)?;
    let names = (0..).map(|number| format!("busy-{number}"));
    names
        .take(100_000)
        .find(|name| of(name).is_ok_and(|partition| partition == wanted))
        .context("find a shop in the same partition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_shares_the_partition() {
        let partition = |shop: &str| subject::partition(&Shop::parse(shop).expect("a name"), 16);
        assert_eq!(partition(&neighbour(16).expect("there is one")), partition(CALM_SHOP));
    }
}
