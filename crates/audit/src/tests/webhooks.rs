//! What is due to two webhook endpoints, broken in one place: the auditor says what is wrong.

use std::collections::BTreeMap;

use events::proto::{
    event::Body,
    notify::{self, DisabledReason, Ordering, ReplaySelection, notify_event::Kind},
    order::{Cancelled, OrderEvent, Paid, Placed, order_event::Kind as Order},
};

use super::{
    super::{Audit, Deliveries, Observations},
    day::{ANN, BOB, CID, Logged, logged},
};

/// An endpoint that wants all events of orders, in any order.
const ALL: &str = "all";
/// An endpoint that wants orders that are paid, one after the other.
const PAID: &str = "paid";
/// Whether what failed is tried again.
const AGAIN: bool = true;
const FOR_GOOD: bool = false;

/// The log of orders, and that of deliveries.
struct Logs {
    orders: Vec<Logged>,
    notify: Vec<Logged>,
}

impl Logs {
    /// What four events led to, two of which two endpoints want; one was delivered at the second attempt.
    fn in_order() -> Self {
        let mut logs = Self { orders: vec![], notify: vec![] };
        logs.publish(&[(ANN, placed()), (ANN, paid()), (BOB, placed()), (BOB, cancelled())]);
        logs.create(ALL, &["order.*"], Ordering::Parallel);
        logs.create(PAID, &["order.paid"], Ordering::Fifo);
        logs.schedule(&[1, 2, 3, 4], &[(ALL, 1, &[0, 1, 2, 3]), (PAID, 1, &[1])]);
        logs.handled(4);
        logs.attempt(ALL, &[1, 2, 4], &[(3, AGAIN)]);
        logs.attempt(PAID, &[1], &[]);
        logs.attempt(ALL, &[3], &[]);
        logs
    }

    fn publish(&mut self, events: &[(&str, Order)]) {
        for (order, kind) in events {
            let body = OrderEvent { kind: Some(kind.clone()), ..Default::default() };
            self.orders.push(logged(order, Body::Order(body)));
        }
    }

    fn add(&mut self, endpoint: &str, kind: Kind) -> &mut Logged {
        let body = Body::Notify(notify::NotifyEvent { kind: Some(kind) });
        self.notify.push(logged(endpoint, body));
        self.notify.last_mut().expect("was added")
    }

    fn create(&mut self, endpoint: &str, types: &[&str], ordering: Ordering) {
        let settings = Some(settings(types, ordering));
        self.add(
            endpoint,
            Kind::EndpointCreated(notify::EndpointCreated { settings, ..Default::default() }),
        );
    }

    fn change(&mut self, endpoint: &str, types: &[&str], ordering: Ordering) {
        let after = Some(settings(types, ordering));
        self.add(endpoint, Kind::EndpointChanged(notify::EndpointChanged { before: None, after }));
    }

    /// Schedules these events: for each endpoint, from a number on, those with these indexes.
    fn schedule(&mut self, positions: &[u64], matches: &[(&str, u64, &[u64])]) {
        let name = |position: &u64| {
            let event = &self.orders[*position as usize - 1].event;
            format!(
                "order.{}",
                event.body.as_ref().and_then(events::names::event_name).unwrap_or("")
            )
        };
        let types: Vec<String> = positions.iter().map(name).collect();
        let type_runs = (0..types.len() as u32).flat_map(|index| [index, 1]).collect();
        let matches = matches.iter().map(|(endpoint, first_seq, indexes)| notify::Match {
            endpoint_id: (*endpoint).to_owned(),
            first_seq: *first_seq,
            runs: runs(indexes).into_iter().map(|number| number as u32).collect(),
            rendering: None,
        });
        let scheduled = notify::Scheduled {
            service: "order".into(),
            positions: runs(positions),
            types,
            type_runs,
            matches: matches.collect(),
        };
        self.add("schedule", Kind::Scheduled(scheduled));
    }

    /// The last event carries that so many events of orders are handled.
    fn handled(&mut self, through: u64) {
        let positions = BTreeMap::from([("order".to_owned(), through.into())]);
        self.notify.last_mut().expect("has events").positions = positions;
    }

    /// Attempts: what was delivered, and what failed, with whether it is tried again.
    fn attempt(&mut self, endpoint: &str, delivered: &[u64], failed: &[(u64, bool)]) {
        let before = self.notify.iter().filter(|it| {
            it.event.aggregate_id == endpoint && matches!(kind(it), Kind::Attempted(_))
        });
        let failure = |(seq, due): &(u64, bool)| notify::Failure {
            endpoint_seq: *seq,
            attempt: 1,
            due_at: due.then(Default::default),
            ..Default::default()
        };
        let attempted = notify::Attempted {
            round: before.count() as u64 + 1,
            delivered: runs(delivered),
            failures: failed.iter().map(failure).collect(),
            ..Default::default()
        };
        self.add(endpoint, Kind::Attempted(attempted));
    }

    /// Changes what was scheduled.
    fn scheduled(&mut self, change: impl FnOnce(&mut notify::Scheduled)) {
        for logged in &mut self.notify {
            if let Some(Body::Notify(notify::NotifyEvent { kind: Some(Kind::Scheduled(it)) })) =
                &mut logged.event.body
            {
                return change(it);
            }
        }
    }

    fn audit(self) -> (Vec<String>, Vec<Deliveries>) {
        let mut audit = Audit::default();
        for (service, log) in [("order", self.orders), ("notify", self.notify)] {
            for (sequence, logged) in (1..).zip(log) {
                audit.observe(service, 0, &Logged { sequence, ..logged });
            }
        }
        let audited = audit.finish(&Observations::default());
        let check = audited.checks.into_iter().find(|it| it.invariant == Some(8));
        let check = check.expect("is checked");
        assert!(check.looked_at > 0 && !check.evidence.is_empty(), "{check}");
        (check.findings.shown().to_vec(), audited.deliveries)
    }
}

fn settings(types: &[&str], ordering: Ordering) -> notify::EndpointSettings {
    let event_types = types.iter().map(|it| (*it).to_owned()).collect();
    notify::EndpointSettings { event_types, ordering: ordering.into(), ..Default::default() }
}

fn kind(logged: &Logged) -> &Kind {
    match &logged.event.body {
        Some(Body::Notify(notify::NotifyEvent { kind: Some(kind) })) => kind,
        other => panic!("is of deliveries: {other:?}"),
    }
}

fn placed() -> Order {
    Order::Placed(Placed::default())
}

fn paid() -> Order {
    Order::Paid(Paid::default())
}

fn cancelled() -> Order {
    Order::Cancelled(Cancelled::default())
}

/// Numbers as they are in a message: pairs of a distance and a length.
fn runs(numbers: &[u64]) -> Vec<u64> {
    let mut next = 0;
    let pair = |number: &u64| {
        let pair = [number - next, 1];
        next = number + 1;
        pair
    };
    numbers.iter().flat_map(pair).collect()
}

/// What is found when the logs are changed like this.
#[track_caller]
fn check(change: impl FnOnce(&mut Logs), findings: &[&str]) {
    let mut logs = Logs::in_order();
    change(&mut logs);
    assert_eq!(logs.audit().0, findings);
}

#[test]
fn deliveries_in_order_have_nothing_to_find() {
    let (findings, deliveries) = Logs::in_order().audit();
    assert_eq!(findings, Vec::<String>::new());
    let all = Deliveries {
        endpoint_id: ALL.into(),
        matched: 4,
        delivered: 4,
        attempts: 5,
        retries: 1,
        ..Default::default()
    };
    let paid = Deliveries {
        endpoint_id: PAID.into(),
        matched: 1,
        delivered: 1,
        attempts: 1,
        ..Default::default()
    };
    assert_eq!(deliveries, [all, paid]);
}

#[test]
fn an_event_that_was_never_scheduled_is_found() {
    let finding =
        "ORDER-0 at 5: order.placed was never scheduled for the endpoint all, which wants it";
    // Neither does a position say that it was handled, nor is one after it scheduled.
    check(|logs| logs.publish(&[(CID, placed())]), &[finding]);
    check(
        |logs| {
            logs.publish(&[(CID, placed())]);
            logs.handled(5);
        },
        &[finding],
    );
    check(
        |logs| {
            logs.publish(&[(CID, placed()), (CID, cancelled())]);
            logs.schedule(&[6], &[(ALL, 5, &[0])]);
            logs.attempt(ALL, &[5], &[]);
        },
        &[finding],
    );
}

#[test]
fn an_event_that_is_scheduled_for_too_few_is_found() {
    let finding =
        "NOTIFY-0 at 3: leaves out ORDER-0 at 2 for the endpoint paid, which wants order.paid";
    check(
        |logs| {
            logs.scheduled(|it| it.matches.truncate(1));
            logs.notify.remove(4);
        },
        &[finding],
    );
}

#[test]
fn an_event_that_is_scheduled_for_whom_it_does_not_concern_is_found() {
    check(
        |logs| {
            logs.scheduled(|it| it.matches[1].runs = vec![0, 2]);
            logs.attempt(PAID, &[2], &[]);
        },
        &[
            "NOTIFY-0 at 3: schedules ORDER-0 at 1 for the endpoint paid, which does not want order.placed",
        ],
    );
    check(
        |logs| {
            let again = |it: &mut notify::Scheduled| {
                it.matches.push(notify::Match { first_seq: 2, ..it.matches[1].clone() });
            };
            logs.scheduled(again);
            logs.attempt(PAID, &[2], &[]);
        },
        &["NOTIFY-0 at 3: schedules ORDER-0 at 2 2 times for the endpoint paid"],
    );
}

#[test]
fn an_event_that_is_scheduled_twice_is_found() {
    check(
        |logs| {
            logs.schedule(&[4], &[(ALL, 5, &[0])]);
            logs.attempt(ALL, &[5], &[]);
        },
        &["NOTIFY-0 at 7: schedules ORDER-0 at 4, whose turn it is not"],
    );
}

#[test]
fn an_event_that_is_scheduled_as_another_is_found() {
    check(
        |logs| logs.scheduled(|it| it.types[3] = "order.paid".into()),
        &["NOTIFY-0 at 3: schedules ORDER-0 at 4 as order.paid, which is order.cancelled"],
    );
    check(
        |logs| logs.scheduled(|it| _ = it.type_runs.pop()),
        &[
            "NOTIFY-0 at 3: schedules what cannot be read",
            "NOTIFY-0 at 4: names the delivery 4 of the endpoint all, which has 0",
            "NOTIFY-0 at 4: names the delivery 3 of the endpoint all, which has 0",
            "NOTIFY-0 at 5: names the delivery 1 of the endpoint paid, which has 0",
            "NOTIFY-0 at 6: names the delivery 3 of the endpoint all, which has 0",
        ],
    );
}

#[test]
fn a_gap_in_the_numbers_of_an_endpoint_is_found() {
    check(
        |logs| logs.scheduled(|it| it.matches[1].first_seq = 2),
        &[
            "NOTIFY-0 at 3: goes on with 2 for the endpoint paid, after 0",
            "the delivery 2 of the endpoint paid was never attempted",
        ],
    );
}

#[test]
fn what_is_attempted_and_was_never_scheduled_is_found() {
    check(
        |logs| logs.attempt(PAID, &[2], &[]),
        &["NOTIFY-0 at 7: names the delivery 2 of the endpoint paid, which has 1"],
    );
    check(
        |logs| logs.attempt(PAID, &[], &[(0, FOR_GOOD)]),
        &["NOTIFY-0 at 7: names the delivery 0 of the endpoint paid, which has 1"],
    );
}

#[test]
fn what_is_never_attempted_is_found() {
    let unattempted = "the delivery 1 of the endpoint paid was never attempted";
    check(|logs| _ = logs.notify.remove(4), &[unattempted]);
    let end = |kind: Kind| {
        move |logs: &mut Logs| {
            logs.notify.remove(4);
            logs.add(PAID, kind);
        }
    };
    // Nothing is sent to an endpoint that is disabled, and nothing any more to one that is deleted.
    check(end(Kind::EndpointDisabled(notify::EndpointDisabled::default())), &[]);
    check(end(Kind::EndpointDeleted(notify::EndpointDeleted {})), &[]);
    check(end(Kind::DeliveryAborted(notify::DeliveryAborted { endpoint_seq: 1 })), &[]);
    let enable = |deliver_held| Kind::EndpointEnabled(notify::EndpointEnabled { deliver_held });
    check(end(enable(false)), &[]);
    check(end(enable(true)), &[unattempted]);
    // What is held waits for a replay, and no longer.
    let replay = |logs: &mut Logs, selection: ReplaySelection| {
        logs.notify.remove(4);
        logs.add(PAID, enable(false));
        let (replay_id, selection) = ("r".to_owned(), selection.into());
        let replay =
            notify::ReplayStarted { replay_id, from: 1, to: 1, selection, max_per_second: None };
        logs.add(PAID, Kind::ReplayStarted(replay));
    };
    check(|logs| replay(logs, ReplaySelection::Missing), &[unattempted]);
    check(|logs| replay(logs, ReplaySelection::Failed), &[]);
    check(
        |logs| {
            replay(logs, ReplaySelection::Missing);
            let cancelled = notify::ReplayCancelled { replay_id: "r".into() };
            logs.add(PAID, Kind::ReplayCancelled(cancelled));
        },
        &[],
    );
}

#[test]
fn an_endpoint_that_fails_may_be_left_alone() {
    let fail = |logs: &mut Logs| {
        logs.publish(&[(CID, paid()), (CID, cancelled())]);
        logs.schedule(&[5, 6], &[(ALL, 5, &[0, 1]), (PAID, 2, &[0])]);
        logs.attempt(PAID, &[2], &[]);
        logs.attempt(ALL, &[], &[(5, AGAIN)]);
    };
    check(fail, &[]);
    check(
        |logs| {
            fail(logs);
            logs.attempt(ALL, &[5], &[]);
        },
        &["the delivery 6 of the endpoint all was never attempted"],
    );
}

#[test]
fn what_is_delivered_twice_is_found() {
    let finding = |at| {
        format!(
            "NOTIFY-0 at {at}: the delivery 2 of the endpoint all is sent again, for which nobody asked"
        )
    };
    check(|logs| logs.attempt(ALL, &[2], &[]), &[&finding(7)]);
    check(|logs| logs.attempt(ALL, &[], &[(2, FOR_GOOD)]), &[&finding(7)]);
    let replay = |logs: &mut Logs, selection: ReplaySelection| {
        let (replay_id, selection) = ("r".to_owned(), selection.into());
        let replay =
            notify::ReplayStarted { replay_id, from: 2, to: 3, selection, max_per_second: None };
        logs.add(ALL, Kind::ReplayStarted(replay));
        logs.attempt(ALL, &[], &[(2, AGAIN)]);
        logs.attempt(ALL, &[2, 3], &[]);
    };
    check(|logs| replay(logs, ReplaySelection::All), &[]);
    check(
        |logs| replay(logs, ReplaySelection::Failed),
        &[&finding(8), &finding(9), &finding(9).replace("delivery 2", "delivery 3")],
    );
    check(
        |logs| {
            replay(logs, ReplaySelection::All);
            logs.attempt(ALL, &[2], &[]);
        },
        &[&finding(10)],
    );
}

#[test]
fn attempts_that_are_recorded_twice_are_found() {
    check(
        |logs| {
            let again = logs.notify[5].clone();
            logs.notify.push(again);
        },
        &[
            "NOTIFY-0 at 7: is round 2 of the endpoint all, after 2",
            "NOTIFY-0 at 7: the delivery 3 of the endpoint all is sent again, for which nobody asked",
        ],
    );
}

/// Three more orders are paid, all of which both endpoints want.
fn pay_three(logs: &mut Logs) {
    logs.publish(&[(BOB, paid()), (CID, paid()), (CID, paid())]);
    logs.schedule(&[5, 6, 7], &[(ALL, 5, &[0, 1, 2]), (PAID, 2, &[0, 1, 2])]);
    logs.attempt(ALL, &[5, 6, 7], &[]);
}

#[test]
fn an_endpoint_that_gets_all_in_order_is_sent_nothing_before_the_one_before() {
    let overtaken = "NOTIFY-0 at 9: delivers 4 to the endpoint paid before 3";
    check(
        |logs| {
            pay_three(logs);
            logs.attempt(PAID, &[2, 4], &[(3, AGAIN)]);
            logs.attempt(PAID, &[3], &[]);
        },
        &[overtaken],
    );
    // One that is not tried again holds up nothing.
    check(
        |logs| {
            pay_three(logs);
            logs.attempt(PAID, &[2, 4], &[(3, FOR_GOOD)]);
        },
        &[],
    );
    // One that is tried again holds up the rest.
    check(
        |logs| {
            pay_three(logs);
            logs.attempt(PAID, &[2], &[(3, AGAIN)]);
        },
        &[],
    );
    // What was delivered before and is sent again holds up nothing.
    check(
        |logs| {
            let (replay_id, selection) = ("r".to_owned(), ReplaySelection::All.into());
            let replay = notify::ReplayStarted {
                replay_id,
                from: 1,
                to: 1,
                selection,
                max_per_second: None,
            };
            logs.add(PAID, Kind::ReplayStarted(replay));
            logs.attempt(PAID, &[], &[(1, AGAIN)]);
            pay_three(logs);
            logs.attempt(PAID, &[2, 3], &[]);
        },
        &["the delivery 4 of the endpoint paid was never attempted"],
    );
    // What was scheduled while any order would do may come in any order.
    check(
        |logs| {
            pay_three(logs);
            logs.change(PAID, &["order.paid"], Ordering::Parallel);
            logs.attempt(PAID, &[2, 4], &[]);
            logs.change(PAID, &["order.paid"], Ordering::Fifo);
            logs.attempt(PAID, &[3], &[]);
        },
        &[],
    );
}

#[test]
fn an_endpoint_that_gets_each_aggregate_in_order_is_sent_nothing_before_the_one_before() {
    let per_key = |logs: &mut Logs, attempt: fn(&mut Logs)| {
        logs.change(PAID, &["order.paid"], Ordering::PerKey);
        pay_three(logs);
        attempt(logs);
    };
    // The third and the fourth are of Cid's order, the second is of Bob's.
    let finding = "NOTIFY-0 at 10: delivers 4 to the endpoint paid before 3, of the same aggregate";
    check(
        |logs| {
            per_key(logs, |logs| {
                logs.attempt(PAID, &[4], &[(3, AGAIN)]);
                logs.attempt(PAID, &[2, 3], &[]);
            });
        },
        &[finding],
    );
    check(|logs| per_key(logs, |logs| logs.attempt(PAID, &[2, 4], &[(3, AGAIN)])), &[finding]);
    check(|logs| per_key(logs, |logs| logs.attempt(PAID, &[2, 4], &[(3, FOR_GOOD)])), &[]);
    check(
        |logs| {
            per_key(logs, |logs| {
                logs.attempt(PAID, &[3], &[]);
                logs.attempt(PAID, &[4], &[(2, AGAIN)]);
            });
        },
        &[],
    );
}

#[test]
fn what_waits_behind_another_is_attempted_when_that_has_come_to_its_end() {
    let wait = |logs: &mut Logs| {
        logs.change(PAID, &["order.paid"], Ordering::PerKey);
        pay_three(logs);
        logs.attempt(PAID, &[2], &[(3, AGAIN)]);
        let Some(Body::Notify(notify::NotifyEvent { kind: Some(Kind::Attempted(it)) })) =
            logs.notify.last_mut().and_then(|it| it.event.body.as_mut())
        else {
            panic!("is the last")
        };
        it.behind = vec![notify::Behind { endpoint_seq: 4, key: CID.into() }];
    };
    check(wait, &[]);
    check(
        |logs| {
            wait(logs);
            logs.attempt(PAID, &[3], &[]);
        },
        &["the delivery 4 of the endpoint paid was never attempted"],
    );
}

#[test]
fn an_endpoint_gets_what_is_published_while_it_wants_it() {
    // From a change on it wants others; what was scheduled before stays so.
    let change = |logs: &mut Logs| {
        logs.change(ALL, &["order.cancelled"], Ordering::Parallel);
        logs.publish(&[(CID, placed()), (CID, cancelled())]);
    };
    check(
        |logs| {
            change(logs);
            logs.schedule(&[6], &[(ALL, 5, &[0])]);
            logs.attempt(ALL, &[5], &[]);
        },
        &[],
    );
    check(
        change,
        &["ORDER-0 at 6: order.cancelled was never scheduled for the endpoint all, which wants it"],
    );
    // One that is disabled gets it later, one that is deleted never.
    let publish = |kind: Kind| {
        move |logs: &mut Logs| {
            logs.add(ALL, kind);
            logs.publish(&[(CID, placed())]);
        }
    };
    let finding =
        "ORDER-0 at 5: order.placed was never scheduled for the endpoint all, which wants it";
    let disabled = notify::EndpointDisabled::default();
    check(publish(Kind::EndpointDisabled(disabled)), &[finding]);
    check(publish(Kind::EndpointDeleted(notify::EndpointDeleted {})), &[]);
}

#[test]
fn what_was_handled_before_an_endpoint_came_into_being_is_not_for_it() {
    let finding =
        "ORDER-0 at 5: order.placed was never scheduled for the endpoint new, which wants it";
    let create = |logs: &mut Logs, handled: u64| {
        logs.change(ALL, &["order.cancelled"], Ordering::Parallel);
        logs.publish(&[(CID, placed())]);
        logs.create("new", &["order.placed"], Ordering::Parallel);
        logs.handled(handled);
    };
    // It was handled with what was handled before or together with the creation, or after that.
    check(|logs| create(logs, 5), &[]);
    check(|logs| create(logs, 4), &[finding]);
    check(
        |logs| {
            create(logs, 4);
            logs.change(PAID, &["order.paid"], Ordering::Parallel);
            logs.handled(5);
        },
        &[finding],
    );
}

#[test]
fn what_is_of_an_endpoint_that_does_not_exist_is_found() {
    check(
        |logs| logs.attempt("nobody", &[1], &[]),
        &["NOTIFY-0 at 7: is of the endpoint nobody, which does not exist"],
    );
    check(
        |logs| {
            logs.add(PAID, Kind::EndpointDeleted(notify::EndpointDeleted {}));
            logs.publish(&[(CID, paid())]);
            logs.schedule(&[5], &[(ALL, 5, &[0]), (PAID, 2, &[0])]);
            logs.attempt(ALL, &[5], &[]);
        },
        &[
            "NOTIFY-0 at 8: schedules ORDER-0 at 5 for the endpoint paid, which does not want order.paid",
            "NOTIFY-0 at 8: schedules for the endpoint paid, which does not exist",
        ],
    );
}

fn announcement(endpoint: &str, seq: u64) -> notify::Announcement {
    notify::Announcement { endpoint_id: endpoint.to_owned(), endpoint_seq: seq, rendering: None }
}

#[test]
fn what_becomes_of_an_endpoint_goes_to_those_who_want_to_know() {
    let announce = |to: &[(&str, u64)]| {
        let to = to.iter().map(|(endpoint, seq)| announcement(endpoint, *seq));
        let (to, disabled) = (to.collect(), notify::EndpointDisabled::default());
        let what = Some(notify::announced::What::EndpointDisabled(disabled));
        let announced = Kind::Announced(notify::Announced { what, to });
        move |logs: &mut Logs| {
            logs.create("watch", &["webhook.*"], Ordering::Parallel);
            logs.add(PAID, announced);
        }
    };
    check(
        |logs| {
            announce(&[("watch", 1)])(logs);
            logs.attempt("watch", &[1], &[]);
        },
        &[],
    );
    check(
        announce(&[]),
        &["NOTIFY-0 at 8: is scheduled 0 times for the endpoint watch, wanted: true"],
    );
    check(announce(&[("watch", 1)]), &["the delivery 1 of the endpoint watch was never attempted"]);
    check(
        |logs| {
            announce(&[("watch", 1), (ALL, 5)])(logs);
            logs.attempt("watch", &[1], &[]);
            logs.attempt(ALL, &[5], &[]);
        },
        &["NOTIFY-0 at 8: is scheduled 1 time for the endpoint all, wanted: false"],
    );
}

#[test]
fn what_becomes_of_an_endpoint_is_not_kept_from_those_who_want_to_know() {
    let disable = |reason: DisabledReason| {
        let reason = reason.into();
        Kind::EndpointDisabled(notify::EndpointDisabled { reason, ..Default::default() })
    };
    let announced = || {
        let to = vec![announcement("watch", 1)];
        let what =
            Some(notify::announced::What::EndpointDisabled(notify::EndpointDisabled::default()));
        Kind::Announced(notify::Announced { what, to })
    };
    let finding = "NOTIFY-0 at 8: webhook.endpoint_disabled of the endpoint paid was not announced";
    let watch = |logs: &mut Logs| logs.create("watch", &["webhook.*"], Ordering::Parallel);
    check(
        |logs| {
            watch(logs);
            logs.add(PAID, disable(DisabledReason::Gone));
            logs.add(PAID, announced());
            logs.attempt("watch", &[1], &[]);
        },
        &[],
    );
    // At the end of the log, and before another event.
    check(
        |logs| {
            watch(logs);
            logs.add(PAID, disable(DisabledReason::Gone));
        },
        &[finding],
    );
    check(
        |logs| {
            watch(logs);
            logs.add(PAID, disable(DisabledReason::Failing));
            logs.create("other", &["order.paid"], Ordering::Parallel);
            logs.handled(4);
        },
        &[finding],
    );
    check(
        |logs| {
            watch(logs);
            logs.add(PAID, Kind::FailureWarned(notify::FailureWarned::default()));
        },
        &["NOTIFY-0 at 8: webhook.endpoint_failing of the endpoint paid was not announced"],
    );
    // Nobody is told what was asked for, nor where nobody wants to know.
    check(
        |logs| {
            watch(logs);
            logs.add(PAID, disable(DisabledReason::Requested));
        },
        &[],
    );
    check(
        |logs| {
            logs.add(PAID, disable(DisabledReason::Gone));
        },
        &[],
    );
}

#[test]
fn a_test_delivery_takes_the_next_number() {
    let test =
        |seq| Kind::TestScheduled(notify::TestScheduled { endpoint_seq: seq, rendering: None });
    check(
        |logs| {
            logs.add(ALL, test(5));
            logs.attempt(ALL, &[5], &[]);
        },
        &[],
    );
    check(
        |logs| {
            logs.add(ALL, test(7));
            logs.attempt(ALL, &[5, 6, 7], &[]);
        },
        &["NOTIFY-0 at 7: goes on with 7 for the endpoint all, after 4"],
    );
}
