//! One fault after the other: wait until all is well, let something fail, wait until all is well.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use super::{
    cluster::{Cluster, META_GROUP},
    instances::{Instance, Instances},
    load::Settled,
    report::{Elections, Fault, Round},
};

/// How long orders are settled without a pause before the next fault, and after it.
const STEADY_TIME: Duration = Duration::from_secs(2);
/// The longest pause between two settled orders that counts as none.
const STEADY_PAUSE: Duration = Duration::from_millis(500);
/// How long the cluster may take until it is as before a fault.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(3);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// The stream whose leader fails, in the one partition.
const ORDERS: &str = "ORDER-0";

/// What faults are made in.
pub(super) struct Rounds<'a> {
    pub(super) cluster: Cluster,
    pub(super) instances: Instances<'a>,
    /// The process that runs the partitions.
    pub(super) active: Instance,
    /// The one that takes over from it.
    pub(super) spare: Instance,
    pub(super) settled: &'a Settled,
}

impl Rounds<'_> {
    /// The server that leads the orders' stream fails for `lasts`, or until orders are settled again
    /// if that is longer.
    pub(super) async fn server_fails(&mut self, fault: Fault, lasts: Duration) -> Result<Round> {
        self.is_well().await.context("wait until all is well")?;
        // What orders need, and the group that creates consumers in place of those that are lost.
        let groups = [ORDERS, "INBOX-0", "INVENTORY-0", "PAYMENT-0", META_GROUP];
        let (leader, lost) = self.cluster.leader(ORDERS, &groups.map(str::to_owned)).await?;
        let count = lost.len();
        let began = Instant::now();
        if fault == Fault::Hang {
            self.cluster.signal(leader, "STOP").await?;
        } else {
            self.cluster.kill(leader).await;
        }
        let electing = self.cluster.wait_for_leaders(leader, lost);
        timeout(RECOVERY_TIMEOUT, electing).await.context("wait for the elections")?;
        let took = began.elapsed();
        self.is_steady(Instant::now()).await?;
        if let Some(left) = lasts.checked_sub(began.elapsed()) {
            sleep(left).await;
        }
        if fault == Fault::Hang {
            self.cluster.signal(leader, "CONT").await?;
        } else {
            self.cluster.restart(leader)?;
        }
        self.is_well().await.context("wait until all is well again")?;
        let now = Instant::now();
        let pause = self.settled.longest_pause(began, now);
        let after = self.settled.next_after(began + took, now);
        let elections = Some(Elections { groups: count, took, after });
        Ok(Round { fault, pause, elections })
    }

    /// The process with all services is killed and started again at once.
    pub(super) async fn process_restarts(&mut self) -> Result<Round> {
        self.is_well().await.context("wait until all is well")?;
        let began = Instant::now();
        self.instances.kill(self.active).await;
        self.instances.start(self.active)?;
        self.is_well().await.context("wait until all is well again")?;
        let pause = self.settled.longest_pause(began, Instant::now());
        Ok(Round { fault: Fault::Restart, pause, elections: None })
    }

    /// The process that runs the partitions is killed; it is started again when the other one has
    /// taken them over.
    pub(super) async fn process_is_replaced(&mut self) -> Result<Round> {
        self.is_well().await.context("wait until all is well")?;
        let began = Instant::now();
        self.instances.kill(self.active).await;
        self.is_well().await.context("wait until all is well again")?;
        let pause = self.settled.longest_pause(began, Instant::now());
        self.instances.start(self.active)?;
        std::mem::swap(&mut self.active, &mut self.spare);
        Ok(Round { fault: Fault::Takeover, pause, elections: None })
    }

    /// Waits until all servers are healthy and orders are settled without a pause.
    async fn is_well(&self) -> Result<()> {
        let healthy = async {
            while !self.cluster.is_healthy().await {
                sleep(LOOK_PAUSE).await;
            }
        };
        timeout(RECOVERY_TIMEOUT, healthy).await.context("the servers are not healthy")?;
        self.is_steady(Instant::now()).await
    }

    /// Waits until orders have been settled for a while after `since` without a pause.
    async fn is_steady(&self, since: Instant) -> Result<()> {
        let steady = async {
            let mut from = since;
            loop {
                sleep(LOOK_PAUSE).await;
                let now = Instant::now();
                if self.settled.longest_pause(from, now) > STEADY_PAUSE {
                    from = now;
                } else if now.duration_since(from) >= STEADY_TIME {
                    return;
                }
            }
        };
        timeout(RECOVERY_TIMEOUT, steady).await.context("orders are not settled")
    }
}
