//! The memory of all processes of an installation together, as the kernel accounts for it: pages
//! that several processes share are counted once.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

/// The interval between two looks at the memory: each costs about a millisecond a process.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// The processes of an installation beside this one.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes {
    pub(super) services: Option<u32>,
    pub(super) broker: Vec<u32>,
    /// The server, whose children are its backends.
    pub(super) postgres: Option<u32>,
}

/// Memory in megabytes (10⁶ bytes), each at the moment when the total was highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The process of the services.
    pub services_mb: u64,
    /// All nats-servers.
    pub broker_mb: u64,
    /// All processes of Postgres.
    pub postgres_mb: u64,
    /// This process: the load generator and, during a rebuild, the rebuild.
    pub bench_mb: u64,
    /// All of them together.
    pub total_mb: u64,
}

impl Memory {
    /// What the processes take now; `None` where the system does not say.
    pub(super) fn read(processes: &Processes) -> Option<Self> {
        let sum =
            |pids: &[u32]| pids.iter().map(|pid| proportional_bytes(*pid)).sum::<Option<u64>>();
        let postgres: Vec<u32> = processes
            .postgres
            .into_iter()
            .flat_map(|pid| children(pid).into_iter().chain([pid]))
            .collect();
        let services = processes.services.map_or(Some(0), |pid| sum(&[pid]))?;
        let broker = sum(&processes.broker)?;
        // Its backends come and go.
        let postgres: u64 = postgres.into_iter().filter_map(proportional_bytes).sum();
        let bench = sum(&[std::process::id()])?;
        let mb = |bytes: u64| bytes / 1_000_000;
        Some(Self {
            services_mb: mb(services),
            broker_mb: mb(broker),
            postgres_mb: mb(postgres),
            bench_mb: mb(bench),
            total_mb: mb(services + broker + postgres + bench),
        })
    }
}

/// Samples the memory until it is asked for the peak.
#[derive(Debug)]
pub(super) struct MemorySampler {
    peak: Arc<Mutex<Option<Memory>>>,
    _sampling: AbortOnDropHandle<()>,
}

impl MemorySampler {
    pub(super) fn start(processes: Processes) -> Self {
        let peak: Arc<Mutex<Option<Memory>>> = Arc::default();
        let noted = peak.clone();
        let sampling = async move {
            let mut next = interval(SAMPLE_INTERVAL);
            next.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                next.tick().await;
                let Some(now) = Memory::read(&processes) else { continue };
                let mut peak = noted.lock().unwrap_or_else(PoisonError::into_inner);
                if peak.is_none_or(|peak| peak.total_mb < now.total_mb) {
                    *peak = Some(now);
                }
            }
        };
        Self { peak, _sampling: AbortOnDropHandle::new(tokio::spawn(sampling)) }
    }

    /// The highest total, and what it was made of.
    pub(super) fn peak(self) -> Option<Memory> {
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of a process in bytes; a page that n processes share counts as the nth part of one.
fn proportional_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
