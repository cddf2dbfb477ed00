//! What the load of one shop costs another one in the same partition.

use std::time::Duration;

use anyhow::{Context, Result};
use protocol::{id::Shop, subject};
use tokio::sync::oneshot;

use super::{
    Options,
    figures::{Fairness, Setup},
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
/// and beside one that places 1,000 orders a second.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Fairness> {
    let progress = |what: &str| options.progress("fairness", what);
    progress("starting");
    let installation = Installation::start(Setup::R1Sqlite, environment, "fairness", &[]).await?;
    let calm = installation.load(CALM_SHOP).await?;
    let busy = installation.load(&neighbour(environment.settings.partitions)?).await?;
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
    let (stop, stopped) = oneshot::channel();
    let (lines, beside_lines) = tokio::join!(busy.lines_until(stopped), async {
        let measured = calm.at_rate("beside-lines", CALM_RATE, duration).await;
        stop.send(()).ok();
        measured
    });

    calm.quiet().await?;
    progress("beside a shop that places 1,000 orders a second");
    let (accepted, beside_orders) = tokio::join!(
        busy.flood("busy", BUSY_RATE, duration),
        calm.at_rate("beside-orders", CALM_RATE, duration)
    );
    let accepted = accepted.context("place the orders of the other shop")?;
    drop((calm, busy));
    installation.stop().await?;
    Ok(Fairness {
        alone,
        beside_lines: beside_lines?,
        lines: lines.context("push the lines of the other shop")?,
        beside_orders: beside_orders?,
        orders_per_s: BUSY_RATE,
        orders_accepted: accepted,
    })
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
