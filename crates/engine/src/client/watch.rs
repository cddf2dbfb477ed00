//! Waiting for an event of one aggregate: a tail of the service's log, shared by all who wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::jetstream::Context;
use events::id::Shop;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    jetstream::log::last_sequence,
    jetstream::reader::{Fed, Selection, follow},
    jetstream::streams,
};

/// Who waits for what: by shop and aggregate.
type Waiting = Arc<Mutex<HashMap<(String, String), Vec<oneshot::Sender<u64>>>>>;
/// Some events of a service's log in a partition.
type Tail = (&'static str, u32, &'static [&'static str]);

/// All tails of a client; each starts when somebody first waits for something of it.
#[derive(Debug)]
pub(crate) struct Watches {
    context: Context,
    tails: AsyncMutex<HashMap<Tail, Waiting>>,
    stop: CancellationToken,
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits for one event.
#[derive(Debug)]
pub struct Watch(oneshot::Receiver<u64>);

impl Watch {
    /// The sequence of the event in the service's log; `None` when it does not come in time.
    pub async fn wait(self, patience: Duration) -> Option<u64> {
        timeout(patience, self.0).await.ok()?.ok()
    }
}

impl Watches {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, tails: AsyncMutex::default(), stop: CancellationToken::new() }
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
        let (tell, told) = oneshot::channel();
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (shop.to_string(), aggregate.to_owned());
        let waiters = waiting.entry(place).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(tell);
        Ok(Watch(told))
    }

    /// The tail of a log, from its present end on.
    async fn tail(
        &self,
        service: &'static str,
        events: &'static [&'static str],
        partition: u32,
    ) -> Result<Waiting, Error> {
        let mut tails = self.tails.lock().await;
        if let Some(waiting) = tails.get(&(service, partition, events)) {
            return Ok(waiting.clone());
        }
        let stream = streams::log(service, partition);
        let position = last_sequence(&self.context, &stream).await?;
        let filters =
            events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect();
        let mut queue = follow(
            self.context.clone(),
            Selection { stream, filters, forgets: false },
            position,
            service,
            Arc::new(Notify::new()),
            self.stop.clone(),
        );
        let waiting = Waiting::default();
        let tell = waiting.clone();
        tokio::spawn(async move {
            while let Some(fed) = queue.recv().await {
                let Fed::Message(message) = fed else { continue };
                let shop = message.subject.split('.').nth(2).unwrap_or_default().to_owned();
                let place = (shop, message.aggregate.unwrap_or_default());
                let mut waiting = tell.lock().unwrap_or_else(PoisonError::into_inner);
                for waiter in waiting.remove(&place).unwrap_or_default() {
                    waiter.send(message.sequence).ok();
                }
            }
        });
        tails.insert((service, partition, events), waiting.clone());
        Ok(waiting)
    }
}
