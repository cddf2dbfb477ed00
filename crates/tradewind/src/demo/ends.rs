//! When each order came to its end, by the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use engine::Engine;
use events::proto::{event::Body, order_event::Kind};
use indicatif::ProgressBar;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The ends of orders, as they come into the log.
#[derive(Debug)]
pub struct Ends {
    ended: Arc<Mutex<HashMap<String, Instant>>>,
    _stop: DropGuard,
}

impl Ends {
    /// Begins to follow the order log of a partition; the bar shows how many orders have ended.
    pub fn follow(engine: &Engine, partition: u32, bar: &ProgressBar) -> Self {
        let stop = CancellationToken::new();
        let mut log = engine.follow_log("order", partition, &["paid", "cancelled"], 0, &stop);
        let ended: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (noted, bar) = (ended.clone(), bar.clone());
        tokio::spawn(async move {
            while let Some(logged) = log.recv().await {
                let Some(Body::Order(order)) = &logged.event.body else { continue };
                let Some(Kind::Paid(_) | Kind::Cancelled(_)) = &order.kind else { continue };
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.insert(logged.event.aggregate_id, Instant::now());
                bar.set_position(noted.len() as u64);
            }
        });
        Self { ended, _stop: stop.drop_guard() }
    }

    /// By order: when its end was in the log.
    pub fn so_far(&self) -> HashMap<String, Instant> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
