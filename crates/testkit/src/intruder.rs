//! Somebody who tries what a user of nats-server may not do.

use std::time::Duration;

use async_nats::{Client, Event, Subscriber};
use tokio::{sync::mpsc, time::timeout};

use crate::nats::connect_options;

/// How long a complaint is waited for. The server sends it before the pong that is waited for first.
const COMPLAINT_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection of a user, and what the server complains of.
#[derive(Debug)]
pub struct Intruder {
    client: Client,
    complaints: mpsc::UnboundedReceiver<String>,
}

impl Intruder {
    /// Connects with the user and password of an address; `None` when the server does not let it in.
    pub async fn connect(url: &str) -> Option<Self> {
        let (complain, complaints) = mpsc::unbounded_channel();
        let options = connect_options(url).event_callback(move |event| {
            let complain = complain.clone();
            async move {
                if let Event::ServerError(error) = event {
                    complain.send(error.to_string()).ok();
                }
            }
        });
        Some(Self { client: options.connect(url).await.ok()?, complaints })
    }

    /// Whether it may publish to a subject: it does.
    pub async fn may_publish(&mut self, subject: &str) -> bool {
        self.forget_complaints();
        self.client.publish(subject.to_owned(), "garbage".into()).await.expect("it is sent");
        self.is_allowed().await
    }

    /// Subscribes to a subject; `None` when it may not.
    pub async fn subscribe(&mut self, subject: &str) -> Option<Subscriber> {
        self.forget_complaints();
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("it is sent");
        self.is_allowed().await.then_some(subscriber)
    }

    fn forget_complaints(&mut self) {
        while self.complaints.try_recv().is_ok() {}
    }

    async fn is_allowed(&mut self) -> bool {
        self.client.flush().await.expect("the server answers");
        let complaint = timeout(COMPLAINT_TIMEOUT, self.complaints.recv()).await.ok().flatten();
        let is_refusal = |text: String| text.to_lowercase().contains("permissions violation");
        !complaint.is_some_and(is_refusal)
    }
}
