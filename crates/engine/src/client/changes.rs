//! Noticing that something of a shop is published: a hint to look at its logs, which alone say what is
//! there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures::StreamExt;
use protocol::id::Shop;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{Client, Error};

/// The shops that somebody waits for, by name: one subscription each, whoever else waits.
pub(crate) type Topics = Mutex<HashMap<String, Weak<Topic>>>;

/// What is published of a shop, counted as long as somebody waits for it.
#[derive(Debug)]
pub(crate) struct Topic {
    published: watch::Receiver<u64>,
    /// Stops counting with the last who waits.
    _counting: AbortOnDropHandle<()>,
}

/// Waits until something of a shop is published.
#[derive(Debug)]
pub struct ShopChanges {
    published: watch::Receiver<u64>,
    _topic: Arc<Topic>,
}

impl ShopChanges {
    /// Waits until something was published since this was last waited for. It need not be stored yet, or
    /// at all; and what is lost on the way is never noticed. So this is a hint to look, and no more.
    pub async fn changed(&mut self) {
        if self.published.changed().await.is_err() {
            // The subscription has ended with the connection: nothing is noticed any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Client {
    /// Begins to notice what is published of a shop.
    pub async fn shop_changes(&self, shop: &Shop) -> Result<ShopChanges, Error> {
        if let Some(topic) = self.topic(shop) {
            return Ok(changes(topic));
        }
        let subject = format!("*.{}.{shop}.>", self.partition(shop));
        let subscribed = self.0.nats.subscribe(subject.clone()).await;
        let mut messages =
            subscribed.map_err(|error| Error::jetstream("subscribe to", &subject, error))?;
        let (counter, published) = watch::channel(0);
        let counting = tokio::spawn(async move {
            while messages.next().await.is_some() {
                counter.send_modify(|count| *count += 1);
            }
        });
        let counting = AbortOnDropHandle::new(counting);
        let topic = Arc::new(Topic { published, _counting: counting });
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, topic| topic.strong_count() > 0);
        // Two may come here at once: then each has a subscription.
        topics.insert(shop.to_string(), Arc::downgrade(&topic));
        Ok(changes(topic))
    }

    fn topic(&self, shop: &Shop) -> Option<Arc<Topic>> {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.get(shop.as_str())?.upgrade()
    }
}

fn changes(topic: Arc<Topic>) -> ShopChanges {
    ShopChanges { published: topic.published.clone(), _topic: topic }
}
