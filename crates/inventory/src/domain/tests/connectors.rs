//! What has come from connectors, and the lines of theirs that were rejected.

use StockResult::{Applied, Duplicate, Stale, UnknownSku};

use super::{
    super::rejections::MAX_REJECTIONS,
    stock::{adjustment, count, event, record},
    *,
};

fn erp() -> Connector {
    Connector::parse("erp").expect("valid")
}

fn line(number: u64, line: &StockLine, reason: StockResult) -> RejectedLine {
    RejectedLine { number, content: Rejected::Line(line.clone(), reason) }
}

fn fact(fact: ConnectorFact) -> Event {
    Event::Connector(erp(), fact)
}

fn rejected(lines: &[(u64, StockLine)]) -> Event {
    let lines = lines.iter().map(|(number, it)| line(*number, it, UnknownSku)).collect();
    fact(ConnectorFact::Rejected { lines, displaced: vec![] })
}

fn repeated(duplicates: u32, stale: &[i64]) -> Event {
    let stale_lines = stale.len() as u32;
    let stale = stale.iter().map(|number| at(*number).into()).collect();
    fact(ConnectorFact::Repeated { duplicates, stale_lines, stale })
}

fn closed(numbers: &[u64], outcome: RejectionOutcome) -> Event {
    let (numbers, reason) = (numbers.to_vec(), String::new());
    fact(ConnectorFact::Closed { numbers, outcome, reason })
}

fn redrive(numbers: &[u64]) -> Input {
    Input::Redrive { connector: erp(), numbers: numbers.to_vec() }
}

fn know(state: &mut State, sku: &str) {
    Inventory::replicate(state, &Input::ProductKnown { sku: super::stock(sku).sku });
}

/// Expects these events and this answer, and folds the events.
#[track_caller]
fn check(state: &mut State, when: &Input, answer: &Answer, events: &[Event]) {
    let mut decision = super::super::decide(Policy::default(), state, when, NOW);
    check_levels(state, &mut decision.events);
    assert_eq!((&*decision.events, decision.answer.as_ref()), (events, Some(answer)));
    for event in events {
        fold(state, event);
    }
}

#[track_caller]
fn check_lines(state: &mut State, lines: &[StockLine], results: &[StockResult], events: &[Event]) {
    check(state, &record(lines), &Answer::Stock(results.to_vec()), events);
}

#[track_caller]
fn row(state: &State) -> &ConnectorRow {
    state.connectors.get(&erp()).expect("is known")
}

#[test]
fn lines_that_have_their_effect_are_counted_without_an_event_of_their_own() {
    let mut state = catalogue();
    let lines = [count("A", "D1", 7, 5), adjustment("B", "D2", 3, 1)];
    let events = [event(lines[0].clone(), 5), event(lines[1].clone(), 1)];
    check_lines(&mut state, &lines, &[Applied, Applied], &events);
    let row = row(&state);
    assert_eq!((row.applied, row.repeated, row.rejected), (2, 0, 0));
    assert_eq!((row.arrivals.largest, row.heard), (Some(at(7)), NOW.millis()));
    let last = row.last.as_ref().expect("one had its effect");
    assert_eq!((last.id.as_str(), last.sequence), ("D2", at(3)));
    assert_eq!(row.revision, Revision::default(), "no event is about the connector");
}

#[test]
fn lines_that_are_repeated_are_counted() {
    let mut state = catalogue();
    fold(&mut state, &event(count("A", "D1", 7, 5), 5));
    let lines = [count("A", "D1", 7, 5), count("A", "D0", 6, 9), count("A", "D1", 7, 5)];
    check_lines(&mut state, &lines, &[Duplicate, Stale, Duplicate], &[repeated(2, &[6])]);
    assert_eq!((row(&state).applied, row(&state).repeated), (1, 3));
    assert_eq!(row(&state).revision.version, 1);
}

#[test]
fn rejected_lines_are_kept_once() {
    let mut state = catalogue();
    let (x, y) = (count("X", "D1", 1, 5), count("Y", "D1", 1, 5));
    let both = [x.clone(), y.clone(), x.clone()];
    let events = [rejected(&[(1, x.clone()), (2, y.clone())])];
    check_lines(&mut state, &both, &[UnknownSku; 3], &events);
    // Another value under the same name takes the place of the one before.
    let later = count("X", "D1", 1, 6);
    let z = count("Z", "D2", 2, 1);
    let events = [rejected(&[(1, later.clone()), (3, z.clone())])];
    check_lines(&mut state, &[later.clone(), z], &[UnknownSku; 2], &events);
    let key = RejectionKey { connector: erp(), number: 1 };
    let kept = state.rejections.get(&key).expect("is kept");
    assert_eq!((&kept.content, kept.times), (&Rejected::Line(later, UnknownSku), 2));
    assert_eq!((row(&state).kept, row(&state).rejected, row(&state).last_rejection), (3, 4, 3));
}

#[test]
fn a_line_that_is_sent_again_and_has_its_effect_is_not_kept_any_more() {
    let mut state = catalogue();
    let (x, y) = (count("X", "D1", 1, 5), count("Y", "D2", 2, 5));
    fold(&mut state, &rejected(&[(1, x.clone()), (2, y.clone())]));
    know(&mut state, "X");
    let events =
        [event(x.clone(), 5), closed(&[1], RejectionOutcome::Resent), rejected(&[(2, y.clone())])];
    check_lines(&mut state, &[x, y], &[Applied, UnknownSku], &events);
    assert_eq!(row(&state).kept, 1);
    let key = RejectionKey { connector: erp(), number: 1 };
    assert!(state.rejections.get(&key).is_none());
}

#[test]
fn a_rejected_line_is_tried_again() {
    let mut state = catalogue();
    let (x, y) = (count("X", "D1", 1, 5), count("Y", "D2", 2, 5));
    fold(&mut state, &rejected(&[(1, x.clone()), (2, y.clone())]));
    let answer = Answer::Redriven(vec![Some(UnknownSku), None]);
    check(&mut state, &redrive(&[1, 9]), &answer, &[rejected(&[(1, x.clone())])]);
    know(&mut state, "X");
    let answer = Answer::Redriven(vec![Some(Applied), None, Some(UnknownSku)]);
    let events =
        [event(x.clone(), 5), closed(&[1], RejectionOutcome::Redriven), rejected(&[(2, y)])];
    check(&mut state, &redrive(&[1, 1, 2]), &answer, &events);
    check(&mut state, &redrive(&[1]), &Answer::Redriven(vec![None]), &[]);
    // The line has had its effect: sent again, it has none.
    check_lines(&mut state, &[x], &[Duplicate], &[repeated(1, &[])]);
}

#[test]
fn what_was_rejected_is_decided_anew_when_the_request_comes_again() {
    let mut state = catalogue();
    let (a, x, y) = (count("A", "D1", 1, 5), count("X", "D2", 2, 5), count("Y", "D3", 3, 5));
    let has_effect = |state: &State, when: &Input| {
        super::super::decide(Policy::default(), state, when, NOW).has_effect()
    };
    assert!(has_effect(&state, &record(std::slice::from_ref(&a))));
    // A line that had its effect is a duplicate then, so nothing is done twice.
    assert!(!has_effect(&state, &record(&[a.clone(), x.clone()])));
    assert!(!has_effect(&state, &record(std::slice::from_ref(&x))));
    fold(&mut state, &event(a.clone(), 5));
    assert!(has_effect(&state, &record(&[a])), "there is nothing to be tried again");

    fold(&mut state, &rejected(&[(1, x), (2, y)]));
    assert!(!has_effect(&state, &redrive(&[1, 2])));
    know(&mut state, "X");
    // The rejection of one is closed: it would not be found again.
    assert!(has_effect(&state, &redrive(&[1, 2])));
    let reason = "a typing error".to_owned();
    let drop = Input::DropRejections { connector: erp(), numbers: vec![1], reason };
    assert!(has_effect(&state, &drop));
}

#[test]
fn a_rejected_line_is_dropped_with_a_reason() {
    let mut state = catalogue();
    fold(&mut state, &rejected(&[(1, count("X", "D1", 1, 5))]));
    let drop = Input::DropRejections {
        connector: erp(),
        numbers: vec![2, 1, 1],
        reason: "a typing error".to_owned(),
    };
    let (outcome, reason) = (RejectionOutcome::Dropped, "a typing error".to_owned());
    let events = [fact(ConnectorFact::Closed { numbers: vec![1], outcome, reason })];
    check(&mut state, &drop, &Answer::Dropped(vec![1]), &events);
    check(&mut state, &drop, &Answer::Dropped(vec![]), &[]);
    assert_eq!((row(&state).kept, row(&state).rejected), (0, 1));
    // Sent again, it is rejected anew, under a new number.
    let x = count("X", "D1", 1, 5);
    check_lines(
        &mut state,
        std::slice::from_ref(&x),
        &[UnknownSku],
        &[rejected(&[(2, x.clone())])],
    );
}

#[test]
fn the_oldest_rejections_make_room_for_new_ones() {
    let mut state = catalogue();
    let old: Vec<_> = (1..=3).map(|n| (n, count("X", &format!("D{n}"), 1, 5))).collect();
    fold(&mut state, &rejected(&old));
    // The second one is closed, so it leaves no room.
    fold(&mut state, &closed(&[2], RejectionOutcome::Dropped));
    state.connectors.change(&erp()).expect("is known").last_rejection = MAX_REJECTIONS;
    let new: Vec<_> = (1..=2).map(|n| count("X", &format!("E{n}"), 1, 5)).collect();
    let numbers = MAX_REJECTIONS + 1..;
    let lines = numbers.zip(&new).map(|(number, it)| line(number, it, UnknownSku)).collect();
    let events = [fact(ConnectorFact::Rejected { lines, displaced: vec![1] })];
    check_lines(&mut state, &new, &[UnknownSku; 2], &events);
    assert_eq!((row(&state).kept, row(&state).displaced), (3, 1));
    // What is not kept any more is a new one when it comes again.
    let again = old[0].1.clone();
    let events = fact(ConnectorFact::Rejected {
        lines: vec![line(MAX_REJECTIONS + 3, &again, UnknownSku)],
        displaced: vec![3],
    });
    check_lines(&mut state, &[again], &[UnknownSku], &[events]);
}

#[test]
fn what_is_rejected_and_then_has_its_effect_in_one_command_is_not_kept() {
    let mut state = catalogue();
    for event in transfers::opened() {
        fold(&mut state, &event);
    }
    let receipt = transfers::into("berlin", "D1", 1, 4);
    let lines = [receipt.clone(), transfers::out("D2", 2, "berlin", 4), receipt];
    let results = [StockResult::UnknownTransfer, Applied, Applied];
    let decision = super::super::decide(Policy::default(), &state, &record(&lines), NOW);
    assert_eq!(decision.answer, Some(Answer::Stock(results.to_vec())));
    for event in &decision.events {
        assert!(!matches!(event, Event::Connector(..)), "{event:?}");
        fold(&mut state, event);
    }
    // The opening count is the first of the three.
    assert_eq!((row(&state).kept, row(&state).applied), (0, 3));
}

#[test]
fn a_line_that_is_used_anew_behind_its_effect_in_one_command_is_kept() {
    let mut state = catalogue();
    let x = count("X", "D1", 1, 5);
    fold(&mut state, &rejected(&[(1, x.clone())]));
    know(&mut state, "X");
    let other = count("X", "D1", 2, 6);
    let kept = line(2, &other, StockResult::DocumentReused);
    let events = [
        event(x.clone(), 5),
        closed(&[1], RejectionOutcome::Resent),
        fact(ConnectorFact::Rejected { lines: vec![kept], displaced: vec![] }),
    ];
    check_lines(&mut state, &[x, other], &[Applied, StockResult::DocumentReused], &events);
    assert_eq!((row(&state).kept, row(&state).last_rejection), (1, 2));
}

#[test]
fn a_sequence_that_has_not_come_is_a_gap_until_it_comes() {
    let mut state = catalogue();
    let events = [event(count("A", "D1", 1, 5), 5)];
    check_lines(&mut state, &[count("A", "D1", 1, 5)], &[Applied], &events);
    // 2 to 5 are passed over. A line that is rejected has come, and so has one that is stale.
    let lines = [count("A", "D6", 6, 9), count("X", "D3", 3, 1), count("A", "D5", 5, 8)];
    let events =
        [event(lines[0].clone(), 9), repeated(0, &[5]), rejected(&[(1, lines[1].clone())])];
    check_lines(&mut state, &lines, &[Applied, UnknownSku, Stale], &events);
    let arrivals = &row(&state).arrivals;
    assert_eq!((arrivals.largest, &*arrivals.gaps), (Some(at(6)), &[(2, 2), (4, 4)][..]));
}
