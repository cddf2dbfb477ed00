//! Waiting for an event of one aggregate: a tail of the service's log, shared by all who wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::jetstream::Context;
use protocol::id::Shop;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    jetstream::log::last_sequence,
    jetstream::reader::{Delivery, Selection, follow},
    jetstream::streams,
    service::envelope,
};

/// Who waits for what: by shop and aggregate.
type Waiting = Arc<Mutex<HashMap<(String, String), Vec<oneshot::Sender<u64>>>>>;
/// Some events of a service's log in a partition.
type Tail = (&'static str, u32, &'static [&'static str]);
/// The tails that run.
type Tails = Arc<Mutex<HashMap<Tail, Waiting>>>;

/// All tails of a client; each starts when somebody first waits for something of it.
#[derive(Debug)]
pub(crate) struct Watches {
    context: Context,
    tails: Tails,
    stop: CancellationToken,
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits for one event. Dropping it ends the wait and forgets it.
#[derive(Debug)]
pub struct Watch {
    event: oneshot::Receiver<u64>,
    waiting: Waiting,
    key: (String, String),
}

impl Watch {
    /// The sequence of the event in the service's log; `None` when it does not come in time.
    pub async fn wait(mut self, limit: Duration) -> Option<u64> {
        timeout(limit, &mut self.event).await.ok()?.ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.event.close();
        let mut waiting = lock(&self.waiting);
        if let Some(waiters) = waiting.get_mut(&self.key) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.remove(&self.key);
            }
        }
    }
}

impl Watches {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, tails: Tails::default(), stop: CancellationToken::new() }
    }

    pub(crate) async fn watch(
        &self,
        service: &'static str,
        events: &'static [&'static str],
        partition: u32,
        shop: &Shop,
        aggregate: &str,
    ) -> Result<Watch, Error> {
        let waiting = self.tail(service, events, partition).await?;
        Ok(register(waiting, (shop.to_string(), aggregate.to_owned())))
    }

    /// The tail of a log, from its present end on.
    async fn tail(
        &self,
        service: &'static str,
        events: &'static [&'static str],
        partition: u32,
    ) -> Result<Waiting, Error> {
        let tail = (service, partition, events);
        if let Some(waiting) = lock(&self.tails).get(&tail) {
            return Ok(waiting.clone());
        }
        let stream = streams::log(service, partition);
        // Without the lock: a log that has no leader must not hold up who waits for another one.
        let position = last_sequence(&self.context, &stream).await?;
        let mut tails = lock(&self.tails);
        if let Some(waiting) = tails.get(&tail) {
            // Another one was sooner.
            return Ok(waiting.clone());
        }
        let filters =
            events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect();
        let mut queue = follow(
            self.context.clone(),
            Selection::new(stream, filters),
            position,
            service,
            Arc::new(Notify::new()),
            self.stop.clone(),
        );
        let waiting = Waiting::default();
        tails.insert(tail, waiting.clone());
        let (watchers, tails) = (waiting.clone(), self.tails.clone());
        tokio::spawn(async move {
            while let Some(delivery) = queue.recv().await {
                match delivery {
                    Delivery::Message(message) => {
                        notify(&watchers, &message.payload, message.sequence);
                    }
                    Delivery::Progress(_) => {}
                    Delivery::Failed(error) => {
                        tracing::warn!(service, partition, %error, "no longer watches a log");
                    }
                }
            }
            forget(&tails, &tail);
        });
        Ok(waiting)
    }
}

/// Tells those who wait for an event that it is there.
fn notify(watchers: &Waiting, payload: &[u8], sequence: u64) {
    let Ok(event) = envelope::open_foreign(payload) else { return };
    let place = (event.shop.to_string(), event.aggregate);
    for waiter in lock(watchers).remove(&place).unwrap_or_default() {
        waiter.send(sequence).ok();
    }
}

/// Removes a tail that has ended: who waits next begins another one. Who waits now need not wait any
/// longer.
fn forget(tails: &Tails, tail: &Tail) {
    if let Some(watchers) = lock(tails).remove(tail) {
        lock(&watchers).clear();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(waiting: Waiting, key: (String, String)) -> Watch {
    let (sender, event) = oneshot::channel();
    let mut waiters = lock(&waiting);
    waiters.entry(key.clone()).or_default().push(sender);
    drop(waiters);
    Watch { event, waiting, key }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream;
    use testkit::{TestServer, eventually};

    use super::*;

    fn key(aggregate: &str) -> (String, String) {
        ("acme".to_owned(), aggregate.to_owned())
    }

    fn count(waiting: &Waiting, aggregate: &str) -> usize {
        let waiting = waiting.lock().expect("no test panics with the lock");
        waiting.get(&key(aggregate)).map_or(0, Vec::len)
    }

    #[test]
    fn a_watch_that_is_dropped_leaves_nothing_behind() {
        let waiting = Waiting::default();
        let (first, second) =
            (register(waiting.clone(), key("A")), register(waiting.clone(), key("A")));
        let other = register(waiting.clone(), key("B"));
        drop(first);
        assert_eq!((count(&waiting, "A"), count(&waiting, "B")), (1, 1));
        drop((second, other));
        assert!(waiting.lock().expect("no test panics with the lock").is_empty());
    }

    #[tokio::test]
    async fn a_wait_that_ends_without_the_event_leaves_nothing_behind() {
        let waiting = Waiting::default();
        assert_eq!(register(waiting.clone(), key("A")).wait(Duration::ZERO).await, None);
        assert!(waiting.lock().expect("no test panics with the lock").is_empty());
    }

    #[tokio::test]
    async fn all_that_wait_for_an_event_receive_it() {
        let waiting = Waiting::default();
        let watches =
            [(); 2].map(|()| register(waiting.clone(), key("A")).wait(Duration::from_mins(1)));
        for sender in waiting
            .lock()
            .expect("no test panics with the lock")
            .remove(&key("A"))
            .expect("is there")
        {
            sender.send(7).expect("is waited for");
        }
        assert_eq!(futures::future::join_all(watches).await, [Some(7), Some(7)]);
    }

    /// As when the broker's store is restored from a backup.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_that_was_created_anew_is_watched_again() {
        const NEVER: Duration = Duration::from_mins(10);
        let server = TestServer::start().await;
        let context = server.jetstream().await;
        let create = async || {
            let subjects = vec!["ledger.>".to_owned()];
            let name = streams::log("ledger", 0);
            let config = stream::Config { name, subjects, ..Default::default() };
            context.create_stream(config).await.expect("it is created");
        };
        let publish = async || server.write("ledger.0.acme.closed", "A", Vec::new()).await;
        create().await;
        for _ in 0..5 {
            publish().await;
        }
        let watches = Watches::new(context.clone());
        let shop = Shop::parse("acme").expect("it is one");
        let watch = async || watches.watch("ledger", &["closed"], 0, &shop, "A").await;
        let waiting = watch().await.expect("it watches");
        assert_eq!(lock(&watches.tails).len(), 1);
        context.delete_stream(streams::log("ledger", 0)).await.expect("it is deleted");
        create().await;
        publish().await;

        assert_eq!(waiting.wait(NEVER).await, None, "it need not wait any longer");
        eventually("its tail is gone", async || lock(&watches.tails).is_empty()).await;
        let _again = watch().await.expect("it watches");
        assert_eq!(lock(&watches.tails).len(), 1);
    }
}
