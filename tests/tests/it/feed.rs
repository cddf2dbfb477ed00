//! The feed of events: everything once, in order, and a reader can check that nothing is missing; in
//! pages, and as Server-Sent Events.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::atomic::Ordering,
    time::Duration,
};

use client::{
    Client, Problem,
    feed::{Feed, FeedError, FeedPosition, PositionFile},
};
use protocol::{
    id::{CommandId, Shop},
    time::Timestamp,
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, TestServer};
use tests::{Gateway, Installation, OwnGateway, SHOP, order, settable_clock, settle, stock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::timeout,
};

const OTHER_SHOP: &str = "beta";
const SERVICES: [&str; 5] = ["catalog", "inventory", "order", "payment", "shop"];

/// A page of the feed.
async fn page(api: &Client, parameters: &[(&str, &str)]) -> Value {
    match api.query("events", parameters).await {
        Ok(page) => page,
        Err(error) => panic!("{parameters:?}: {error}"),
    }
}

/// Why a page of the feed is refused.
async fn refused(api: &Client, parameters: &[(&str, &str)]) -> Problem {
    let refused = api.query::<Value>("events", parameters).await.expect_err("it is refused");
    refused.problem().unwrap_or_else(|| panic!("{parameters:?}: {refused}")).clone()
}

fn events(page: &Value) -> &Vec<Value> {
    page["events"].as_array().expect("a page has events")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

fn number(value: &Value, name: &str) -> u64 {
    let number = &value[name];
    let number = number.as_u64().or_else(|| number.as_str()?.parse().ok());
    number.unwrap_or_else(|| panic!("{name} is no number: {value}"))
}

fn service(event: &Value) -> &str {
    text(event, "source").rsplit('/').next().expect("it has a service")
}

/// What a reader checks: pages follow each other, and what they count adds up.
#[derive(Default)]
struct Reader {
    /// The position in each log.
    positions: BTreeMap<String, u64>,
    filtered: u64,
    others: u64,
    events: Vec<Value>,
}

impl Reader {
    #[track_caller]
    fn add(&mut self, page: &Value) {
        let logs = page["logs"].as_object().expect("a page names the logs");
        for (service, covered) in logs {
            let (from, to) = (number(covered, "from"), number(covered, "to"));
            let before = self.positions.insert(service.clone(), to).unwrap_or(0);
            assert_eq!(from, before, "{service}: a page begins where the one before ended");
            let parts = ["returned", "filtered", "unreadable", "others"];
            let sum: u64 = parts.iter().map(|part| number(covered, part)).sum();
            assert_eq!(to - from, sum, "{service}: {covered}");
            let of_log = events(page).iter().filter(|event| self::service(event) == service);
            let mut last = from;
            let mut returned = 0;
            for event in of_log {
                let position = number(event, "position");
                assert!(last < position && position <= to, "{service}: {position} after {last}");
                last = position;
                returned += 1;
            }
            assert_eq!(returned, number(covered, "returned"), "{service}");
            self.filtered += number(covered, "filtered");
            self.others += number(covered, "others");
        }
        self.events.extend(events(page).iter().cloned());
    }

    /// Reads to the end, in pages of that length, in turn through these gateways.
    async fn read(
        &mut self,
        apis: &[Client],
        types: &str,
        limit: &str,
        mut after: String,
    ) -> String {
        for api in apis.iter().cycle() {
            let mut parameters = vec![("types", types), ("limit", limit)];
            if !after.is_empty() {
                parameters.push(("after", &after));
            }
            let page = page(api, &parameters).await;
            self.add(&page);
            text(&page, "next").clone_into(&mut after);
            if page["at_end"] == true {
                return after;
            }
        }
        unreachable!("it ends")
    }

    fn ids(&self) -> Vec<&str> {
        self.events.iter().map(|event| text(event, "id")).collect()
    }

    /// No event comes before its cause, and none twice.
    #[track_caller]
    fn check_order(&self) {
        let ids = self.ids();
        let index: HashMap<_, _> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        assert_eq!(index.len(), ids.len(), "an event is there twice");
        let mut effects = 0;
        for (at, event) in self.events.iter().enumerate() {
            let cause = event["causeid"].as_str().and_then(|cause| index.get(cause));
            if let Some(cause) = cause {
                assert!(*cause < at, "{} comes before its cause", event["type"]);
                effects += 1;
            }
        }
        assert!(effects > 0, "no event had its cause in the feed: nothing was compared");
    }
}

/// What the logs hold of a shop: service, position and id, by service and position.
async fn logged(server: &TestServer, shop: &str) -> Vec<(String, u64, String)> {
    let mut logged = Vec::new();
    for service in SERVICES {
        let log = format!("{}-0", service.to_uppercase());
        let prefix = format!("{service}.0.{shop}.");
        for entry in server.events::<events::proto::Event>(&log).await {
            if entry.subject.starts_with(&prefix) {
                logged.push((service.to_owned(), entry.sequence, entry.event.id));
            }
        }
    }
    logged
}

/// Orders that are paid, declined and refused, in both shops.
async fn trade(installation: &Installation) -> Client {
    let (acme, beta) = (installation.api(), installation.api_of(OTHER_SHOP));
    for api in [&acme, &beta] {
        stock(api, "MUG", 20).await;
        stock(api, "CUP", 3).await;
    }
    let orders =
        [("MUG", 2, "card"), ("CUP", 9, "card"), ("MUG", 1, "decline"), ("CUP", 3, "card")];
    for (number, (sku, units, method)) in orders.into_iter().enumerate() {
        let order = order(sku, units, method);
        let key = format!("key-{number}");
        tokio::join!(settle(&acme, &order, &key), settle(&beta, &order, &key));
    }
    beta
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_feed_once_in_the_order_of_each_log() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let other = Gateway::start(&installation.settings).await;
    let beta = trade(&installation).await;
    let acme = installation.api();

    let mut reader = Reader::default();
    let end = reader.read(&[acme.clone(), other.api()], "*", "7", String::new()).await;
    reader.check_order();
    let mut found: Vec<_> = reader
        .events
        .iter()
        .map(|event| {
            assert_eq!(event["shop"], SHOP);
            (service(event).to_owned(), number(event, "position"), text(event, "id").to_owned())
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, logged(&installation.server, SHOP).await);
    assert!(found.len() > 40, "{} events are too few to say much", found.len());
    assert_eq!(reader.filtered, 0);
    assert!(reader.others > 0, "the other shop and the engine have written as well");

    // An event of the feed is the same as that of the history of its aggregate.
    let paid =
        reader.events.iter().find(|event| event["type"] == "order.paid").expect("it is paid");
    let history: Value =
        acme.get(&format!("orders/{}/history", text(paid, "subject"))).await.expect("a history");
    assert!(events(&history).contains(paid), "{paid} is not in {history}");

    // The feed of the other shop has the other events, and all of them.
    let mut others = Reader::default();
    others.read(std::slice::from_ref(&beta), "*", "1000", String::new()).await;
    let ids: HashSet<_> = reader.ids().into_iter().collect();
    assert!(others.ids().iter().all(|id| !ids.contains(id)));
    assert_eq!(others.events.len(), logged(&installation.server, OTHER_SHOP).await.len());
    let refused = refused(&beta, &[("after", &end)]).await;
    assert_eq!((refused.status, refused.code.as_str()), (422, "invalid_fields"));

    other.stop().await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_from_every_cursor() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    trade(&installation).await;
    let acme = [installation.api()];
    let mut whole = Reader::default();
    whole.read(&acme, "*", "1000", String::new()).await;

    let (mut stepwise, mut after) = (Reader::default(), String::new());
    for step in 1.. {
        let mut parameters = vec![("limit", "1")];
        if !after.is_empty() {
            parameters.push(("after", &after));
        }
        let page = page(&acme[0], &parameters).await;
        stepwise.add(&page);
        text(&page, "next").clone_into(&mut after);
        let mut rest = Reader { positions: stepwise.positions.clone(), ..Reader::default() };
        let end = rest.read(&acme, "*", "1000", after.clone()).await;
        let all: Vec<_> = stepwise.ids().into_iter().chain(rest.ids()).collect();
        assert_eq!(all, whole.ids(), "after {step} events");
        if page["at_end"] == true {
            assert_eq!(end, after);
            break;
        }
        assert_eq!(stepwise.events.len(), step, "a page of one event has one");
    }
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_leaves_out_is_counted() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    trade(&installation).await;
    let acme = [installation.api()];
    let mut whole = Reader::default();
    whole.read(&acme, "*", "1000", String::new()).await;
    for types in
        ["order.*", "order.paid", "order.paid,payment.*, inventory.short", "inventory.short"]
    {
        let mut some = Reader::default();
        some.read(&acme, types, "3", String::new()).await;
        let is_wanted = |event: &&Value| {
            types.split(',').map(str::trim).any(|wanted| {
                let name = text(event, "type");
                wanted == name || wanted.strip_suffix('*').is_some_and(|of| name.starts_with(of))
            })
        };
        let wanted: Vec<_> = whole.events.iter().filter(is_wanted).collect();
        assert_eq!(some.events.iter().collect::<Vec<_>>(), wanted, "{types}");
        // Only the logs that have such events are looked at, each to its end.
        let services: HashSet<_> =
            types.split(',').filter_map(|it| it.trim().split_once('.')).map(|it| it.0).collect();
        assert_eq!(some.positions.keys().map(String::as_str).collect::<HashSet<_>>(), services);
        for (service, position) in &some.positions {
            assert_eq!(Some(position), whole.positions.get(service), "{types}: {service}");
        }
        let of_logs = whole.events.iter().filter(|event| services.contains(service(event)));
        assert_eq!(some.filtered, (of_logs.count() - wanted.len()) as u64, "{types}");
    }
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_gets_what_happens_then_each_event_after_its_cause() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let other = Gateway::start(&installation.settings).await;
    let acme = installation.api();
    stock(&acme, "MUG", 100).await;
    let mut reader = Reader::default();
    let mut after = reader.read(&[other.api()], "*", "1000", String::new()).await;
    let nothing = page(&other.api(), &[("after", &after), ("wait", "1")]).await;
    assert_eq!((events(&nothing).len(), &nothing["at_end"]), (0, &json!(true)));
    assert_eq!(nothing["next"], *after);

    let orders = tokio::spawn(async move {
        for number in 0..10 {
            let placed =
                (0..3).map(|part| {
                    let acme = &acme;
                    async move {
                        settle(acme, &order("MUG", 1, "card"), &format!("{number}-{part}")).await
                    }
                });
            futures::future::join_all(placed).await;
        }
    });
    let mut paid = 0;
    while paid < 30 {
        let page =
            page(&other.api(), &[("after", &after), ("wait", "30"), ("limit", "1000")]).await;
        reader.add(&page);
        text(&page, "next").clone_into(&mut after);
        paid += events(&page).iter().filter(|event| event["type"] == "order.paid").count();
    }
    orders.await.expect("no panic");
    reader.check_order();
    other.stop().await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_named() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let acme = installation.api();
    stock(&acme, "MUG", 1).await;
    let after = text(&page(&acme, &[]).await, "next").to_owned();
    let longer = format!("{after}A");
    for (name, value) in [
        ("after", ""),
        ("after", "0"),
        ("after", "AAAA"),
        ("after", &after[1..]),
        ("after", &longer),
        ("types", "order.payed"),
        ("types", "notify.scheduled"),
        ("types", ""),
        ("limit", "0"),
        ("limit", "1001"),
        ("wait", "31"),
        ("wait", "-1"),
        ("wait", "soon"),
        ("before", "1"),
    ] {
        let refused = refused(&acme, &[(name, value)]).await;
        assert_eq!((refused.status, refused.code.as_str()), (422, "invalid_fields"), "{refused}");
        assert_eq!(refused.errors[0].field, name, "{refused}");
    }
    let unknown = refused(&installation.api_of("nobody"), &[]).await;
    assert_eq!((unknown.status, unknown.code.as_str()), (404, "unknown_shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_absent_or_another_one_is_named() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    trade(&installation).await;
    let acme = installation.api();
    let after = text(&page(&acme, &[("limit", "1000")]).await, "next").to_owned();
    let context = installation.server.jetstream().await;
    let log = context.get_stream("PAYMENT-0").await.expect("it is there");
    let config = log.cached_info().config.clone();
    context.delete_stream("PAYMENT-0").await.expect("it is deleted");
    let absent = refused(&acme, &[("after", &after)]).await;
    assert_eq!((absent.status, absent.code.as_str()), (503, "log_unavailable"), "{absent}");
    assert_eq!(absent.members["service"], "payment");
    // A log that is not wanted is not needed.
    page(&acme, &[("after", &after), ("types", "order.*")]).await;

    context.create_stream(config).await.expect("it is created anew");
    let lost = refused(&acme, &[("after", &after)]).await;
    assert_eq!((lost.status, lost.code.as_str()), (410, "cursor_lost"), "{lost}");
    assert_eq!(lost.members["service"], "payment");
    assert_eq!(lost.errors[0].field, "after");
}

/// A stream of Server-Sent Events.
struct Stream {
    response: reqwest::Response,
    received: String,
    ended: bool,
}

/// An event of a stream; without data it is a comment.
struct StreamEvent {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(url: &str, last_event_id: &str) -> Self {
        Self::of_types(url, "*", last_event_id).await
    }

    async fn of_types(url: &str, types: &str, last_event_id: &str) -> Self {
        let mut request = reqwest::Client::new()
            .get(format!("{url}/v1/shops/{SHOP}/events?types={types}"))
            .bearer_auth("secret")
            .header("accept", "text/event-stream");
        if !last_event_id.is_empty() {
            request = request.header("last-event-id", last_event_id);
        }
        let response = request.send().await.expect("it is answered");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, received: String::new(), ended: false }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some((event, rest)) = self.received.split_once("\n\n") {
                let (event, rest) = (read_stream_event(event), rest.to_owned());
                self.received = rest;
                if event.data.is_null() {
                    continue;
                }
                return Some(event);
            }
            if self.ended {
                return None;
            }
            match self.response.chunk().await.expect("it ends cleanly") {
                Some(chunk) => {
                    self.received.push_str(std::str::from_utf8(&chunk).expect("it is ASCII"));
                }
                None => self.ended = true,
            }
        }
    }

    /// Reads until a comment comes, which says that the stream is alive.
    async fn heartbeat(&mut self) -> String {
        loop {
            let mut events = self.received.split("\n\n");
            if let Some(comment) = events.find(|it| it.starts_with(':')) {
                return comment.to_owned();
            }
            let chunk = self.response.chunk().await.expect("it goes on");
            let chunk = chunk.expect("the stream does not end");
            self.received.push_str(std::str::from_utf8(&chunk).expect("it is ASCII"));
        }
    }

    /// Reads up to the page after which nothing followed; each page as if it had been asked for.
    async fn read_to_end(&mut self, reader: &mut Reader) -> Vec<String> {
        let (mut ids, mut events) = (Vec::new(), Vec::new());
        loop {
            let event = self.next().await.expect("the stream goes on");
            match event.name.as_str() {
                "" => {
                    ids.push(event.id);
                    events.push(event.data);
                }
                "page" => {
                    let mut page = event.data;
                    assert_eq!(page["next"], event.id);
                    page["events"] = std::mem::take(&mut events).into();
                    reader.add(&page);
                    if page["at_end"] == true {
                        return ids;
                    }
                }
                other => panic!("{other}: {}", event.data),
            }
        }
    }
}

fn read_stream_event(text: &str) -> StreamEvent {
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let data = field("data");
    let data = if data.is_empty() { Value::Null } else { data.parse().expect("it is JSON") };
    StreamEvent { name: field("event"), id: field("id"), data }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_what_the_pages_have_and_goes_on_from_every_id() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let other = Gateway::start(&installation.settings).await;
    trade(&installation).await;
    let acme = installation.api();
    let mut pages = Reader::default();
    pages.read(std::slice::from_ref(&acme), "*", "1000", String::new()).await;

    // From the end on there is nothing, and its cursor is that of who has read all.
    let end = page(&acme, &[("after", "end")]).await;
    assert_eq!((events(&end).len(), &end["at_end"]), (0, &json!(true)));
    for (service, position) in &pages.positions {
        assert_eq!(number(&end["logs"][service], "from"), *position);
    }

    let (mut stream, mut reader) = (Stream::open(other.url(), "").await, Reader::default());
    let ids = stream.read_to_end(&mut reader).await;
    assert_eq!(reader.events, pages.events);
    assert_eq!(reader.positions, pages.positions);

    // Through the other gateway, after some of the events.
    for behind in [1, 2, ids.len() / 2, ids.len() - 1] {
        let mut stream = Stream::open(installation.url(), &ids[behind - 1]).await;
        let rest: Vec<_> = pages.events[behind..].iter().collect();
        let mut read = Vec::new();
        while read.len() < rest.len() {
            let event = stream.next().await.expect("the stream goes on");
            if event.name.is_empty() {
                read.push(event.data);
            }
        }
        assert_eq!(read.iter().collect::<Vec<_>>(), rest, "behind {behind} events");
    }

    // What happens while it is open comes, and the end of the gateway ends it.
    settle(&acme, &order("MUG", 1, "card"), "later").await;
    while !reader
        .events
        .iter()
        .rev()
        .take(30)
        .any(|event| event["type"] == "order.paid" && !pages.events.contains(event))
    {
        stream.read_to_end(&mut reader).await;
    }
    reader.check_order();
    let stopping = tokio::spawn(other.stop());
    let end = loop {
        let event = stream.next().await.expect("the stream says why it ends");
        if event.name == "end" {
            break event;
        }
    };
    assert_eq!(end.data["reason"], "shutdown");
    assert!(stream.next().await.is_none(), "it ends there");
    stopping.await.expect("no panic");
    installation.stop_and_verify().await;
}

/// Reads on until the reader has come as far, in the logs that it reads.
async fn read_up_to(stream: &mut Stream, reader: &mut Reader, ends: &BTreeMap<String, u64>) {
    let is_behind = |reader: &Reader| reader.positions.iter().any(|(log, at)| at < &ends[log]);
    while is_behind(reader) {
        stream.read_to_end(reader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_follow_the_end_get_what_each_wants_and_can_check_it() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    trade(&installation).await;
    let (acme, beta) = (installation.api(), installation.api_of(OTHER_SHOP));
    let types = ["*", "order.*", "payment.captured,inventory.*", "shop.*"];
    let mut streams = Vec::new();
    for types in types {
        let mut stream = Stream::of_types(installation.url(), types, "").await;
        let mut reader = Reader::default();
        let ids = stream.read_to_end(&mut reader).await;
        // One more that comes back from before the end, while the other follows it.
        let behind = Stream::of_types(installation.url(), types, &ids[0]).await;
        streams.push((types, stream, reader, behind, Reader::default()));
    }
    for number in 0..5 {
        let key = format!("later-{number}");
        let mug = order("MUG", 1, "card");
        tokio::join!(settle(&acme, &mug, &key), settle(&beta, &mug, &key));
    }
    let mut pages = Reader::default();
    pages.read(std::slice::from_ref(&acme), "*", "1000", String::new()).await;
    for (types, stream, reader, behind, rest) in &mut streams {
        read_up_to(stream, reader, &pages.positions).await;
        let is_wanted = |event: &&Value| {
            types.split(',').any(|wanted| {
                let name = text(event, "type");
                wanted == name || wanted.strip_suffix('*').is_some_and(|of| name.starts_with(of))
            })
        };
        for log in reader.positions.keys() {
            let of_log = |events: &[Value]| -> Vec<Value> {
                events.iter().filter(|it| service(it) == log && is_wanted(it)).cloned().collect()
            };
            assert_eq!(of_log(&reader.events), of_log(&pages.events), "{types}: {log}");
        }
        while rest.events.len() + 1 < reader.events.len() {
            let event = behind.next().await.expect("the stream goes on");
            if event.name.is_empty() {
                rest.events.push(event.data);
            }
        }
        let (mut all, mut known) = (rest.ids(), reader.ids());
        all.push(text(&reader.events[0], "id"));
        all.sort_unstable();
        known.sort_unstable();
        assert_eq!(all, known, "{types}: whoever came back has the same");
    }
    streams[0].2.check_order();

    // Who follows the end also counts what is no event.
    let context = installation.server.jetstream().await;
    let garbage = context.publish(format!("shop.0.{SHOP}.garbage"), "garbage".into()).await;
    let last = garbage.expect("it is sent").await.expect("it is stored").sequence;
    let (_, stream, reader, ..) = &mut streams[3];
    let before = reader.positions["shop"];
    read_up_to(stream, reader, &BTreeMap::from([("shop".to_owned(), last)])).await;
    assert!(before < last && reader.positions["shop"] == last, "{:?}", reader.positions);
}

/// Products of an import: with their titles more than the buffers of a connection hold.
const IMPORTED: usize = 8_000;
/// How long a reader of the gateway of the test below may receive nothing.
const STALL_TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_cut_off_with_the_reason() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let acme = installation.api();
    stock(&acme, "MUG", 1).await;
    let title = "x".repeat(200);
    let product = |number: usize| json!({"sku": format!("SKU-{number}"), "title": title, "price": {"minor": 1, "currency": "GBP"}});
    let lines: Vec<_> = (0..IMPORTED).map(|number| product(number).to_string()).collect();
    let pushed = acme.push("products", lines.join("\n")).await.expect("it is imported");
    assert_eq!(pushed.rejected, 0);

    let gateway = OwnGateway::start(&installation, |settings| {
        settings.limits.stream_stall_timeout = STALL_TIMEOUT;
    })
    .await;

    // On a busy machine the gateway may take long until the buffers are full: then it is no news to it
    // that nothing is received.
    let mut pause = 4 * STALL_TIMEOUT;
    let received = loop {
        let received = receive_late(gateway.address, pause).await;
        if received.contains("event: end") {
            break received;
        }
        pause *= 2;
    };
    let events = received.matches("\"specversion\"").count();
    assert!(received.contains("shop.created") && events < IMPORTED, "{events} events were sent");
    let end = received.rfind("event: end").expect("the end is said");
    assert!(received[end..].contains(r#""reason":"slow_reader""#), "{}", &received[end..]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_key_of_its_reader_expires() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let acme = installation.api();
    stock(&acme, "MUG", 1).await;
    let (now, clock) = settable_clock(1_000);
    let gateway = OwnGateway::start(&installation, |settings| {
        settings.clock = clock;
        settings.api_keys[0].expires_at = Some(Timestamp::from_millis(2_000));
    })
    .await;
    let mut stream = Stream::open(&format!("http://{}", gateway.address), "").await;
    stream.read_to_end(&mut Reader::default()).await;

    now.store(2_000, Ordering::Relaxed);
    // What happens next would be sent.
    stock(&acme, "CUP", 1).await;
    let end = stream.next().await.expect("the stream says why it ends");
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("unauthorized")));
    assert!(stream.next().await.is_none(), "it ends there");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_shop_is_suspended() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let acme = installation.api();
    stock(&acme, "MUG", 1).await;
    let mut stream = Stream::open(installation.url(), "").await;
    stream.read_to_end(&mut Reader::default()).await;

    let suspend = acme.request(Method::POST, "suspend").json(&json!({}));
    assert_eq!(acme.send(suspend).await.expect("it is answered").status, 200);
    // The event of it may be sent before the shop is looked at.
    let end = loop {
        let event = stream.next().await.expect("the stream says why it ends");
        if event.name == "end" {
            break event;
        }
    };
    assert_eq!(end.data["reason"], "shop_suspended", "{}", end.data);
    assert!(stream.next().await.is_none(), "it ends there");
    installation.stop_and_verify_with(&["shop"]).await;
}

/// Opens a stream with small buffers, receives nothing for a while, and then all until its end or the end
/// of the feed.
async fn receive_late(address: SocketAddr, pause: Duration) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("it takes that");
    let mut connection = socket.connect(address).await.expect("it is reached");
    let request = format!(
        "GET /v1/shops/{SHOP}/events HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer secret\r\n\
         accept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.expect("it is sent");
    tokio::time::sleep(pause).await;
    let (mut received, mut part) = (Vec::new(), vec![0; 65_536]);
    loop {
        let length = connection.read(&mut part).await.expect("it goes on");
        received.extend_from_slice(&part[..length]);
        let tail = &received[received.len().saturating_sub(2 * part.len())..];
        if length == 0 || String::from_utf8_lossy(tail).contains(r#""at_end":true"#) {
            return String::from_utf8_lossy(&received).into_owned();
        }
    }
}

/// What a user writes to read the feed of some types with a position in a file, for one round.
async fn read_once(api: Client, file: &PositionFile, seen: &mut Vec<String>) {
    let mut feed = Feed::new(api, file.load().expect("it can be read")).of_types("order.*");
    for event in feed.next().await.expect("it has no gap") {
        seen.push(text(&event, "id").to_owned());
    }
    file.save(feed.position()).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_reads_on_from_its_file_through_another_gateway() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let acme = installation.api();
    stock(&acme, "MUG", 10).await;
    settle(&acme, &order("MUG", 1, "card"), "one").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = PositionFile::new(folder.path().join("orders.position"));
    let mut seen = Vec::new();
    let wanted = async |acme: &Client| {
        let mut reader = Reader::default();
        reader.read(std::slice::from_ref(acme), "order.*", "1000", String::new()).await;
        reader.ids().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    while seen.len() < wanted(&acme).await.len() {
        read_once(acme.clone(), &file, &mut seen).await;
    }
    let gateway = Gateway::start(&installation.settings).await;
    settle(&acme, &order("MUG", 1, "card"), "two").await;
    while seen.len() < wanted(&acme).await.len() {
        read_once(gateway.api(), &file, &mut seen).await;
    }
    assert_eq!(seen, wanted(&acme).await);

    // All logs, with the checks that need all events.
    let mut feed = Feed::new(gateway.api(), FeedPosition::default());
    let mut count = 0;
    loop {
        let page = feed.next_page().await.expect("it has no gap");
        count += page.events.len();
        if page.at_end {
            break;
        }
    }
    assert_eq!(count, logged(&installation.server, SHOP).await.len());
    // A position that is not that of the cursor is found.
    let mut wrong = feed.position().clone();
    wrong.logs.insert("order".to_owned(), 1);
    let gap = Feed::new(gateway.api(), wrong).next_page().await;
    assert!(matches!(&gap, Err(FeedError::Gap { service, .. }) if service == "order"), "{gap:?}");
    gateway.stop().await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_that_it_is_alive_while_nothing_happens() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let mut stream = Stream::open(installation.url(), "").await;
    stream.read_to_end(&mut Reader::default()).await;
    // Every 15 seconds, as the documentation says.
    let heartbeat = timeout(Duration::from_secs(30), stream.heartbeat()).await;
    assert_eq!(heartbeat.expect("it comes in time"), ": nothing has happened");
    installation.stop_and_verify_with(&["shop", "catalog", "inventory"]).await;
}

/// What is asked for with a position shows what is there, also when that comes a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_has_seen_is_waited_for() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    // Where a log will end after its next event.
    let next = async |service: &str| {
        let page = page(&api, &[("limit", "1000")]).await;
        format!("{service}.0={}", number(&page["logs"][service], "to") + 1)
    };
    let read = async |request: reqwest::RequestBuilder, after: &str| {
        let answer = api.send(request.header("tradewind-after", after)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        answer.body
    };

    let after = next("catalog").await;
    let url = installation.url();
    let url = format!("{url}/v1/shops/{SHOP}/events?types=catalog.*&limit=1000");
    let request = reqwest::Client::new().get(url).bearer_auth("secret");
    let (page, ()) = tokio::join!(read(request, &after), stock(&api, "CUP", 1));
    assert!(page["events"].to_string().contains("CUP"), "{page}");

    let after = next("shop").await;
    let request = api.request_to_api(Method::GET, "shops").expect("a request");
    let other = installation.api_of(OTHER_SHOP);
    let settings = events::shop::Settings::default();
    let (page, created) = tokio::join!(read(request, &after), other.create_shop(&settings));
    created.expect("it is created");
    let names: Vec<_> = page["shops"].as_array().expect("a list").iter().collect();
    assert_eq!(names.len(), 2, "{page}");

    let after = next("order").await;
    let id = CommandId::from_key(&Shop::parse(SHOP).expect("a name"), "followed");
    let request = api.request(Method::GET, &format!("commands/{id}"));
    let order = order("MUG", 1, "card");
    let (command, _) = tokio::join!(read(request, &after), settle(&api, &order, "followed"));
    assert_eq!(command["status"], "answered", "{command}");
    installation.stop_and_verify().await;
}
