//! Invariant 8: what is due to webhook endpoints, and what became of it, in the log of deliveries.
//!
//! - `published`: the public events that are still to be compared, in the order of their logs;
//! - `endpoint`: an endpoint as its events have it: what it wants, what was scheduled and settled;
//! - `announced`: what of an endpoint is told the others;
//! - `order`: the deliveries of each aggregate, for endpoints that get these in order.
//!
//! The log of deliveries is read after the logs that it schedules events of. It says of each event that it
//! schedules which endpoints it matches; and by the positions of its inputs, which events it has handled
//! without scheduling them. Both are compared with what the endpoints wanted then.

mod announced;
mod endpoint;
mod order;
mod published;

use std::collections::BTreeMap;

use engine::{Logged, Position};
use events::{
    names::event_name,
    proto::{
        self, Event,
        event::Body,
        notify::{self, notify_event::Kind},
    },
};

pub use self::endpoint::Deliveries;
use self::{
    announced::PendingAnnouncement,
    endpoint::{Change, Endpoint},
    order::KeyOrder,
    published::{EventTypes, Published, PublishedLog},
};
use super::{Check, Findings, LogPosition, scratch::fingerprint};
use crate::{runs::Runs, text::count};

/// The service that delivers.
pub(super) const NOTIFY: &str = "notify";

/// The webhooks of all shops.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    types: EventTypes,
    shops: BTreeMap<String, ShopWebhooks>,
    endpoints: u32,
    /// The public events.
    events: u64,
    found: Found,
}

/// What is noted while the log is read.
#[derive(Debug, Default)]
struct Found {
    findings: Findings,
    order: KeyOrder,
}

#[derive(Debug, Default)]
struct ShopWebhooks {
    partition: u32,
    /// By service: its public events that were not handled yet.
    published: BTreeMap<&'static str, PublishedLog>,
    endpoints: BTreeMap<String, Endpoint>,
    /// What the last event says of an endpoint, and the next one has to announce.
    news: Option<PendingAnnouncement>,
}

impl Webhooks {
    /// Takes in an event of the shop.
    pub(super) fn observe(&mut self, position: LogPosition, event: &Event) {
        let LogPosition { service, partition, sequence } = position;
        let shop = self.shops.entry(event.shop.clone()).or_default();
        shop.partition = partition;
        match &event.body {
            Some(Body::Notify(body)) => {
                if let Some(kind) = &body.kind {
                    self.observe_delivery(position, event, kind);
                }
            }
            Some(Body::Engine(_) | Body::Key(_)) | None => {}
            Some(
                body @ (Body::Catalog(_)
                | Body::Inventory(_)
                | Body::Order(_)
                | Body::Payment(_)
                | Body::ShopEvent(_)),
            ) => {
                let Some(name) = event_name(body) else { return };
                self.events += 1;
                let event_type = self.types.number(service, name);
                let aggregate = aggregate_of(service, event);
                let log = shop.published.entry(service).or_default();
                log.push(&Published { position: sequence, event_type, aggregate });
            }
        }
    }

    /// Takes in how far the inputs were handled with a message of the log of deliveries, after its event.
    pub(super) fn observe_positions(
        &mut self,
        position: LogPosition,
        logged: &Logged<proto::Event>,
    ) {
        if position.service != NOTIFY {
            return;
        }
        let shops = self.shops.iter_mut().filter(|(_, it)| it.partition == position.partition);
        for (name, shop) in shops {
            for (service, log) in &mut shop.published {
                let Some(handled) = logged.positions.get(*service) else { continue };
                let (through, until) = (Position::of(handled, name), position.sequence + 1);
                while let Some(event) = log.next_through(through, &mut self.found.findings) {
                    let at = LogPosition { service, sequence: event.position, ..position };
                    let (from, to) = (log.handled_at(), until);
                    let event_type = self.types.name(event.event_type);
                    expect_unwanted(&shop.endpoints, event_type, at, from..to, &mut self.found);
                }
                log.handled_through(through, position.sequence);
            }
        }
    }

    fn observe_delivery(&mut self, at: LogPosition, event: &Event, kind: &Kind) {
        let (found, id) = (&mut self.found, &event.aggregate_id);
        let Some(shop) = self.shops.get_mut(&event.shop) else { return };
        if let Some(news) = shop.news.take() {
            news.expect_announced(id, Some(kind), &mut found.findings);
        }
        shop.news = PendingAnnouncement::of(at, id, kind, &shop.endpoints);
        match kind {
            Kind::Scheduled(it) => return shop.observe_scheduled(at, it, &self.types, found),
            Kind::EndpointCreated(it) => {
                found.findings.expect(!shop.endpoints.contains_key(id), || {
                    format!("{at}: creates the endpoint {id} once more")
                });
                self.endpoints += 1;
                let mut endpoint = Endpoint::new(id, self.endpoints);
                endpoint.change(at.sequence, Change::Settings(it.settings.as_ref()));
                shop.endpoints.insert(id.clone(), endpoint);
                return;
            }
            Kind::Announced(it) => return shop.observe_announced(at, event, it, found),
            _ => {}
        }
        let Some(endpoint) = shop.endpoints.get_mut(id).filter(|it| it.exists()) else {
            found.findings.add(format!("{at}: is of the endpoint {id}, which does not exist"));
            return;
        };
        match kind {
            Kind::EndpointChanged(it) => {
                endpoint.change(at.sequence, Change::Settings(it.after.as_ref()));
            }
            Kind::EndpointDisabled(_) => endpoint.change(at.sequence, Change::Disabled),
            Kind::EndpointEnabled(it) => {
                let deliver_held = it.deliver_held;
                endpoint.change(at.sequence, Change::Enabled { deliver_held });
            }
            Kind::EndpointDeleted(_) => endpoint.change(at.sequence, Change::Deleted),
            Kind::Attempted(it) => endpoint.attempted(at, it, found),
            Kind::TestScheduled(it) => {
                endpoint.scheduled(at, it.endpoint_seq, &[aggregate_of(NOTIFY, event)], found);
            }
            Kind::ReplayStarted(it) => endpoint.replay_started(it),
            Kind::ReplayCancelled(it) => endpoint.replay_cancelled(&it.replay_id),
            Kind::DeliveryAborted(it) => endpoint.aborted(at, it.endpoint_seq, found),
            Kind::SecretRotated(_)
            | Kind::ValuesRewrapped(_)
            | Kind::FailureWarned(_)
            | Kind::EndpointCreated(_)
            | Kind::Scheduled(_)
            | Kind::Announced(_) => {}
        }
    }

    /// Compares what is left, and says what was found. To be called once, when everything is observed.
    pub(super) fn finish(self) -> (Check, Vec<Deliveries>) {
        let Self { types, mut shops, events, mut found, .. } = self;
        for ShopWebhooks { partition, published, endpoints, news } in shops.values_mut() {
            if let Some(news) = news.take() {
                news.expect_announced("", None, &mut found.findings);
            }
            for (service, log) in published {
                // What no position names was handled after all that is scheduled, or not at all.
                while let Some(event) = log.next_through(u64::MAX, &mut found.findings) {
                    let (partition, sequence) = (*partition, event.position);
                    let at = LogPosition { service, partition, sequence };
                    let (from, event_type) = (log.handled_at(), types.name(event.event_type));
                    expect_unwanted(endpoints, event_type, at, from..u64::MAX, &mut found);
                }
            }
        }
        let endpoints: Vec<_> = shops.values().flat_map(|it| it.endpoints.values()).collect();
        let Found { mut findings, order } = found;
        let keyed: Vec<_> = endpoints.iter().map(|endpoint| endpoint.keyed()).collect();
        order.compare(&keyed, &mut findings);
        for endpoint in &endpoints {
            endpoint.expect_attempted(&mut findings);
        }
        let deliveries: Vec<_> = endpoints.iter().map(|it| it.deliveries()).collect();
        let sum = |of: fn(&Deliveries) -> u64| deliveries.iter().map(of).sum::<u64>();
        let check = Check {
            looked_at: events,
            invariant: Some(8),
            claim: "every event that a webhook endpoint wants was scheduled and attempted, once in effect, \
                    in its order",
            evidence: format!(
                "{} for {}: {} of {} delivered, {} for good",
                count(events, "public event", "public events"),
                count(deliveries.len() as u64, "endpoint", "endpoints"),
                count(sum(|it| it.delivered), "delivery", "deliveries"),
                count(sum(|it| it.matched), "match", "matches"),
                count(sum(|it| it.given_up), "failure", "failures")
            ),
            findings,
        };
        (check, deliveries)
    }
}

impl ShopWebhooks {
    fn observe_scheduled(
        &mut self,
        at: LogPosition,
        it: &notify::Scheduled,
        types: &EventTypes,
        found: &mut Found,
    ) {
        let read = Runs::read(&it.positions).zip(read_types(it));
        let Some((positions, named)) = read.filter(|(positions, named)| {
            positions.len() == named.len() as u64 && !positions.is_empty()
        }) else {
            found.findings.add(format!("{at}: schedules what cannot be read"));
            return;
        };
        let Some((service, log)) = self.published.iter_mut().find(|(name, _)| **name == it.service)
        else {
            found.findings.add(format!("{at}: schedules events of {}: there are none", it.service));
            return;
        };
        let of = |sequence| LogPosition { service, sequence, ..at };
        // The events by their index; those that are passed over are wanted by nobody.
        let positions: Vec<u64> = positions.numbers().collect();
        let mut events = vec![None; positions.len()];
        let last = positions.last().copied().unwrap_or_default();
        while let Some(event) = log.next_through(last, &mut found.findings) {
            let (event_type, place) = (types.name(event.event_type), of(event.position));
            let Ok(index) = positions.binary_search(&event.position) else {
                let between = log.handled_at()..at.sequence;
                expect_unwanted(&self.endpoints, event_type, place, between, found);
                continue;
            };
            found.findings.expect(named[index] == event_type, || {
                format!("{at}: schedules {place} as {}, which is {event_type}", named[index])
            });
            events[index] = Some(event);
        }
        log.handled_through(last, at.sequence);
        for (index, _) in events.iter().enumerate().filter(|(_, event)| event.is_none()) {
            let place = of(positions[index]);
            found.findings.add(format!("{at}: schedules {place}, whose turn it is not"));
        }
        for (id, endpoint) in &self.endpoints {
            let listed = it.matches.iter().filter(|matched| matched.endpoint_id == *id);
            let listed: Vec<Runs> = listed.filter_map(read_matches).collect();
            for (index, event) in (0..).zip(&events) {
                let Some(event) = event else { continue };
                let event_type = types.name(event.event_type);
                let times = listed.iter().filter(|runs| runs.contains(index)).count();
                let (place, is_wanted) = (of(event.position), endpoint.wants(event_type));
                found.findings.expect(times == usize::from(is_wanted), || match (times, is_wanted) {
                    (0, _) => format!(
                        "{at}: leaves out {place} for the endpoint {id}, which wants {event_type}"
                    ),
                    (_, false) => format!(
                        "{at}: schedules {place} for the endpoint {id}, which does not want {event_type}"
                    ),
                    (times, true) => {
                        format!("{at}: schedules {place} {times} times for the endpoint {id}")
                    }
                });
            }
        }
        for matched in &it.matches {
            self.give_numbers(at, matched, &events, found);
        }
    }

    /// The events take the next numbers of the endpoint.
    fn give_numbers(
        &mut self,
        at: LogPosition,
        matched: &notify::Match,
        events: &[Option<Published>],
        found: &mut Found,
    ) {
        let id = &matched.endpoint_id;
        let Some(endpoint) = self.endpoints.get_mut(id).filter(|it| it.exists()) else {
            found
                .findings
                .add(format!("{at}: schedules for the endpoint {id}, which does not exist"));
            return;
        };
        let indexes = read_matches(matched).unwrap_or_default();
        found.findings.expect(indexes.last().is_some_and(|it| it < events.len() as u64), || {
            format!("{at}: schedules for the endpoint {id} what cannot be read")
        });
        let aggregate = |index: u64| {
            let event = usize::try_from(index).ok().and_then(|index| events.get(index)).copied();
            event.flatten().map_or(0, |event| event.aggregate)
        };
        let aggregates: Vec<u64> = indexes.numbers().map(aggregate).collect();
        endpoint.scheduled(at, matched.first_seq, &aggregates, found);
    }

    /// What became of an endpoint goes to the others of the shop that want to know.
    fn observe_announced(
        &mut self,
        at: LogPosition,
        event: &Event,
        it: &notify::Announced,
        found: &mut Found,
    ) {
        let event_type = announced::event_type_of(it).unwrap_or_default();
        for (id, endpoint) in &mut self.endpoints {
            let to: Vec<_> = it.to.iter().filter(|to| to.endpoint_id == *id).collect();
            let is_due = *id != event.aggregate_id && endpoint.wants(event_type);
            found.findings.expect(to.len() == usize::from(is_due), || {
                let times = count(to.len() as u64, "time", "times");
                format!("{at}: is scheduled {times} for the endpoint {id}, wanted: {is_due}")
            });
            for to in to {
                let aggregate = aggregate_of(NOTIFY, event);
                endpoint.scheduled(at, to.endpoint_seq, &[aggregate], found);
            }
        }
    }
}

/// That no endpoint wanted an event all the while in which it was handled, between these sequences of the
/// log of deliveries: it was not scheduled.
fn expect_unwanted(
    endpoints: &BTreeMap<String, Endpoint>,
    event_type: &str,
    event: LogPosition,
    handled: std::ops::Range<u64>,
    found: &mut Found,
) {
    for (id, endpoint) in endpoints {
        let is_wanted = endpoint.wanted_throughout(event_type, &handled);
        found.findings.expect(!is_wanted, || {
            format!(
                "{event}: {event_type} was never scheduled for the endpoint {id}, which wants it"
            )
        });
    }
}

/// A number for the aggregate of an event.
fn aggregate_of(service: &str, event: &Event) -> u64 {
    fingerprint((service, &event.aggregate_type, &event.aggregate_id))
}

/// The type of each event that is scheduled.
fn read_types(it: &notify::Scheduled) -> Option<Vec<&str>> {
    let pairs: Vec<u64> = it.positions.iter().skip(1).step_by(2).copied().collect();
    let most = pairs.iter().try_fold(0_u64, |sum, len| sum.checked_add(*len))?;
    let mut types = Vec::new();
    for run in it.type_runs.chunks(2) {
        let [index, len] = run else { return None };
        let event_type = it.types.get(*index as usize)?;
        if types.len() as u64 + u64::from(*len) > most {
            return None;
        }
        types.extend(std::iter::repeat_n(event_type.as_str(), *len as usize));
    }
    Some(types)
}

/// The indexes of the events that match an endpoint.
fn read_matches(it: &notify::Match) -> Option<Runs> {
    let pairs: Vec<u64> = it.runs.iter().copied().map(u64::from).collect();
    Runs::read(&pairs)
}
