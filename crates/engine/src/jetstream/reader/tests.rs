//! The reader against real servers: what it delivers, what it passes, and what it refuses.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        Context,
        consumer::{AckPolicy, pull},
        stream,
    },
};
use futures::StreamExt;
use testkit::{ConfiguredServer, TestServer, eventually, publish_much};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Deliveries, Delivery, Selection, follow, read_range};
use crate::{Error, Remedy};

const STREAM: &str = "S";
const SERVICE: &str = "reader";
/// How long a delivery may take that is going to come.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn create_stream(context: &Context, num_replicas: usize) -> bool {
    let subjects = vec!["s.>".to_owned()];
    let config =
        stream::Config { name: STREAM.to_owned(), subjects, num_replicas, ..Default::default() };
    context.create_stream(config).await.is_ok()
}

/// A server with an empty stream.
async fn server() -> (TestServer, Context) {
    let server = TestServer::start().await;
    let context = server.jetstream().await;
    assert!(create_stream(&context, 1).await);
    (server, context)
}

async fn publish(context: &Context, subject: &str) -> u64 {
    let published = context.publish(subject.to_owned(), "x".into()).await;
    published.expect("it is published").await.expect("it is stored").sequence
}

fn only(filters: &[&str]) -> Selection {
    Selection::new(STREAM, filters.iter().map(|&filter| filter.to_owned()).collect())
}

/// A reader that stops when it is dropped.
struct Reader(Deliveries, #[expect(dead_code, reason = "stops the reader")] DropGuard);

impl Reader {
    fn follow(context: &Context, selection: Selection, position: u64) -> Self {
        let (wake, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let deliveries =
            follow(context.clone(), selection, position, SERVICE, wake, shutdown.clone());
        Self(deliveries, shutdown.drop_guard())
    }

    async fn next(&mut self) -> Delivery {
        let delivery = timeout(TIMEOUT, self.0.recv()).await;
        delivery.expect("something is delivered").expect("the reader goes on")
    }

    async fn message(&mut self) -> u64 {
        loop {
            match self.next().await {
                Delivery::Message(message) => return message.sequence,
                Delivery::Progress(_) => {}
                Delivery::Failed(error) => panic!("{error}"),
            }
        }
    }

    async fn progress(&mut self) -> u64 {
        match self.next().await {
            Delivery::Progress(sequence) => sequence,
            other => panic!("{other:?}"),
        }
    }

    async fn failure(&mut self) -> Error {
        loop {
            if let Delivery::Failed(error) = self.next().await {
                return error;
            }
        }
    }
}

/// All that a range delivers.
async fn range(context: &Context, selection: Selection, position: u64, end: u64) -> Vec<u64> {
    let mut chunks = read_range(context.clone(), selection, position, end, SERVICE, 100);
    let mut read = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.expect("it can be read");
        read.extend(chunk.iter().map(|message| message.sequence));
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_passes_what_the_filter_leaves_out() {
    let (_server, context) = server().await;
    for filters in [&["s.a"][..], &["s.a", "s.b.*"]] {
        let mine = publish(&context, "s.a").await;
        let foreign = publish(&context, "s.c").await;
        let mut reader = Reader::follow(&context, only(filters), mine - 1);
        assert_eq!(reader.message().await, mine);
        assert_eq!(reader.progress().await, foreign);
        let foreign = publish(&context, "s.c").await;
        assert_eq!(reader.progress().await, foreign);
        let mine = publish(&context, "s.a").await;
        assert_eq!(reader.message().await, mine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_begins_at_the_end_reports_no_progress_before_there_is_any() {
    let (_server, context) = server().await;
    let end = publish(&context, "s.c").await;
    let mut reader = Reader::follow(&context, only(&["s.a"]), end);
    eventually("it has a consumer", async || !consumers(&context).await.is_empty()).await;
    let foreign = publish(&context, "s.c").await;
    assert_eq!(reader.progress().await, foreign);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_ends_where_it_is_said_to() {
    let (_server, context) = server().await;
    for _ in 0..300 {
        publish(&context, "s.a").await;
    }
    for _ in 0..3 {
        publish(&context, "s.c").await;
    }
    let all: Vec<_> = (1..=303).collect();
    assert_eq!(range(&context, only(&[]), 0, 303).await, all);
    assert_eq!(range(&context, only(&[]), 0, 250).await, all[..250]);
    assert_eq!(range(&context, only(&[]), 100, 100).await, [0; 0]);
    assert_eq!(range(&context, only(&["s.a"]), 200, 303).await, all[200..300]);
    assert_eq!(range(&context, only(&["s.b"]), 0, 303).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_waits_for_what_its_replica_lacks_so_far() {
    let (_server, context) = server().await;
    publish(&context, "s.a").await;
    let later = context.clone();
    let reading = tokio::spawn(async move { range(&later, only(&[]), 0, 3).await });
    eventually("it has a consumer", async || !consumers(&context).await.is_empty()).await;
    publish(&context, "s.a").await;
    publish(&context, "s.a").await;
    assert_eq!(reading.await.expect("it does not panic"), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_messages_arrive() {
    const MESSAGES: u64 = 20;
    let (_server, context) = server().await;
    let payload = bytes::Bytes::from(vec![7; context.client().max_payload()]);
    for _ in 0..MESSAGES {
        let published = context.publish("s.a", payload.clone()).await;
        published.expect("it is published").await.expect("it is stored");
    }
    let mut reader = Reader::follow(&context, only(&[]), 0);
    for sequence in 1..=MESSAGES {
        assert_eq!(reader.message().await, sequence);
    }
    let all: Vec<_> = (1..=MESSAGES).collect();
    assert_eq!(range(&context, only(&[]), 0, MESSAGES).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_lost_on_its_way_is_read_again() {
    let (_server, context) = server().await;
    let mut reader = Reader::follow(&context, only(&[]), 0);
    let mut names = Vec::new();
    eventually("it has a consumer", async || {
        names = consumers(&context).await;
        !names.is_empty()
    })
    .await;
    // Requests are served in turn: the second message goes to another inbox, as good as lost.
    let client = context.client();
    let mut other = client.subscribe("other").await.expect("it subscribes");
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{}", names[0]);
    eventually("its request waits at the server", async || {
        let stream = context.get_stream(STREAM).await.expect("it is there");
        let info = stream.consumer_info(&names[0]).await;
        info.is_ok_and(|info| info.num_waiting > 0)
    })
    .await;
    client.publish_with_reply(subject, "other", "1".into()).await.expect("it is sent");
    client.flush().await.expect("it is there");
    publish(&context, "s.a").await;
    publish(&context, "s.a").await;
    other.next().await.expect("one message is lost to the reader");
    assert_eq!((reader.message().await, reader.message().await), (1, 2));
}

async fn consumers(context: &Context) -> Vec<String> {
    let stream = context.get_stream(STREAM).await.expect("it is there");
    stream.consumer_names().filter_map(|name| async { name.ok() }).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_end_is_an_error() {
    let (_server, context) = server().await;
    publish(&context, "s.a").await;
    let error = Reader::follow(&context, only(&[]), 10).failure().await;
    assert!(matches!(error, Error::PositionBeyondEnd { position: 10, last: 1, .. }), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::ResetPosition { service: "reader" }));

    let mut chunks = read_range(context, only(&[]), 10, 20, SERVICE, 100);
    let error = chunks.recv().await.expect("it says something").expect_err("it cannot be read");
    assert!(matches!(error, Error::PositionBeyondEnd { position: 10, last: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_created_anew_while_it_is_read_is_an_error() {
    let (_server, context) = server().await;
    for _ in 0..5 {
        publish(&context, "s.a").await;
    }
    let mut reader = Reader::follow(&context, only(&[]), 0);
    for sequence in 1..=5 {
        assert_eq!(reader.message().await, sequence);
    }
    context.delete_stream(STREAM).await.expect("it is deleted");
    assert!(create_stream(&context, 1).await);
    publish(&context, "s.a").await;
    let error = reader.failure().await;
    assert!(matches!(error, Error::PositionBeyondEnd { position: 5, last: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deleted_is_an_error_unless_it_was_never_read() {
    let (_server, context) = server().await;
    for _ in 0..5 {
        publish(&context, "s.a").await;
    }
    let stream = context.get_stream(STREAM).await.expect("it is there");
    stream.purge().sequence(4).await.expect("it is purged");
    let error = Reader::follow(&context, only(&[]), 1).failure().await;
    assert!(matches!(error, Error::InputsLost { position: 1, first: 4, .. }), "{error}");
    let selection = Selection { starts_at_first: true, ..only(&[]) };
    assert_eq!(Reader::follow(&context, selection.clone(), 0).message().await, 4);
    assert_eq!(range(&context, selection, 0, 5).await, [4, 5]);
}

/// How long the server that lags does not run, and how long it runs then.
const SUSPENDED: Duration = Duration::from_millis(900);
const RUNNING: Duration = Duration::from_millis(12);

/// A replica that lags behind, readers that are opened anew and then lose that server: each
/// message is read once, in order. `TEST_ROUNDS` says how often, once without it.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_read_once_while_a_replica_lags_and_dies() {
    let rounds = std::env::var("TEST_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut servers = ConfiguredServer::cluster().await;
    // Nobody is connected to the server that lags.
    let context = ConfiguredServer::jetstream(&servers[..2]).await;
    eventually("the stream is created", async || create_stream(&context, 3).await).await;
    for round in 0..rounds.unwrap_or(1) {
        servers[2].only_follows(&context).await;
        lose_a_lagging_replica(&context, &mut servers[2], round).await;
        servers[2].start_again().await;
    }
}

async fn lose_a_lagging_replica(context: &Context, lagging: &mut ConfiguredServer, round: u32) {
    const OPENINGS: u32 = 12;
    let position = end(context).await;
    let mut readings = Readings { position, read: Vec::new() };
    let reading = async {
        for opening in 0..OPENINGS {
            let name = format!("{round}-{opening}");
            let mut until = publish_surely(context, "s.a", &name).await;
            if opening % 5 == 0 {
                until = publish_surely(context, "s.b", &name).await;
            }
            // Every third reader finds on the replica that lags less than it has read already.
            readings.read_until(context, until).await;
        }
    };
    tokio::select! {
        () = lagging.slow_down(SUSPENDED, RUNNING) => {}
        () = publish_much(context, "s.b", vec![7; 300]) => {}
        () = reading => {}
    }
    lagging.kill().await;
    let end = end(context).await;
    readings.read_until(context, end).await;
    let all = range(context, only(&["s.a"]), position, end).await;
    assert_eq!(readings.read, all, "round {round}");
    assert_eq!(all.len(), OPENINGS as usize, "round {round}");
}

async fn end(context: &Context) -> u64 {
    let mut last = None;
    eventually("the stream has a leader", async || {
        last = context.get_stream(STREAM).await.ok().map(|s| s.cached_info().state.last_sequence);
        last.is_some()
    })
    .await;
    last.expect("it was seen")
}

/// Readers one after the other, each from the position of the one before.
struct Readings {
    position: u64,
    read: Vec<u64>,
}

impl Readings {
    /// Opens a reader, which reads until `end` is passed.
    async fn read_until(&mut self, context: &Context, end: u64) {
        let mut reader = Reader::follow(context, only(&["s.a"]), self.position);
        while self.position < end {
            match reader.next().await {
                Delivery::Message(message) => {
                    self.read.push(message.sequence);
                    self.position = message.sequence;
                }
                Delivery::Progress(sequence) => {
                    assert!(sequence > self.position);
                    self.position = sequence;
                }
                Delivery::Failed(error) => panic!("{error}"),
            }
        }
    }
}

/// Publishes a message until it is acknowledged.
async fn publish_surely(context: &Context, subject: &'static str, name: &str) -> u64 {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, format!("{subject}-{name}"));
    loop {
        let sent = context.publish_with_headers(subject, headers.clone(), "x".into()).await;
        if let Ok(sent) = sent
            && let Ok(stored) = sent.await
        {
            return stored.sequence;
        }
    }
}

/// Prints how fast a reader is, from a stream in memory: the server's disk does not count.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measures_how_fast_a_reader_is() {
    let server = TestServer::start().await;
    let context = server.jetstream().await;
    let subjects = vec!["s.>".to_owned()];
    let (name, storage) = (STREAM.to_owned(), stream::StorageType::Memory);
    let config = stream::Config { name, subjects, storage, ..Default::default() };
    context.create_stream(config).await.expect("it is created");
    let payload = bytes::Bytes::from(vec![7; 300]);
    for _ in 0..600 {
        for _ in 0..500 {
            context.client().publish("s.a", payload.clone()).await.expect("it is sent");
        }
        publish(&context, "s.b").await;
    }
    let end = end(&context).await;
    let started = Instant::now();
    let mut reader = Reader::follow(&context, only(&[]), 0);
    while reader.message().await < end {}
    let followed = started.elapsed();
    let started = Instant::now();
    assert_eq!(range(&context, only(&[]), 0, end).await.len() as u64, end);
    let ranged = started.elapsed();
    let started = Instant::now();
    let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
    let consumer = context.create_consumer_on_stream(config, STREAM).await.expect("it is created");
    let messages = consumer.stream().max_messages_per_batch(500).messages().await;
    let mut messages = messages.expect("it can be read").take(end as usize);
    while messages.next().await.is_some() {}
    let rate = |elapsed: Duration| end as f64 / elapsed.as_secs_f64();
    let [follow, range, client] = [followed, ranged, started.elapsed()].map(rate);
    println!("follow: {follow:.0}/s, range: {range:.0}/s, the client's own: {client:.0}/s");
}
