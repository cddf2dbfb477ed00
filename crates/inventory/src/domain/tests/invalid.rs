//! Lines that are no stock lines: they are kept, mended by what is sent again, and dropped.

use std::slice::from_ref;

use StockResult::{Applied, Duplicate, Invalid, UnknownSku};

use super::{
    rows::Documents,
    stock::{count, event, record},
    *,
};

fn erp() -> Connector {
    Connector::parse("erp").expect("valid")
}

/// A line with that SKU, unless it is empty, of which a field is wrong.
fn wrong(id: &str, sequence: i64, sku: &str) -> InvalidLine {
    let Document { key, sequence, .. } = document(id, sequence);
    InvalidLine {
        connector: key.connector,
        document: Some(key.id),
        line: None,
        sku: Sku::parse(sku).ok(),
        sequence: Some(sequence),
        upload_line: 4,
        text: format!(r#"{{"sku":"{sku}","quantity":"many"}}"#),
        errors: vec![LineError {
            field: "quantity".to_owned(),
            pointer: String::new(),
            detail: "quantity must be an integer, got \"many\"".to_owned(),
        }],
    }
}

/// A line that names no document, with that text.
fn unnamed(text: &str) -> InvalidLine {
    let (document, sequence, text) = (None, None, text.to_owned());
    InvalidLine { document, sequence, text, ..wrong("D", 0, "") }
}

/// Lines, and invalid ones with how many of them stand before each.
fn mixed(lines: &[StockLine], invalid: &[(usize, InvalidLine)]) -> Input {
    let (lines, invalid) = (lines.to_vec(), invalid.to_vec());
    Input::RecordStock { lines, unlocated: vec![], invalid }
}

fn only(invalid: &[InvalidLine]) -> Input {
    let invalid: Vec<_> = invalid.iter().map(|line| (0, line.clone())).collect();
    mixed(&[], &invalid)
}

fn of_line(number: u64, line: &StockLine, reason: StockResult) -> RejectedLine {
    RejectedLine { number, content: Rejected::Line(line.clone(), reason) }
}

fn of_invalid(number: u64, line: &InvalidLine) -> RejectedLine {
    RejectedLine { number, content: Rejected::Invalid(line.clone()) }
}

fn rejected(lines: &[RejectedLine]) -> Event {
    let fact = ConnectorFact::Rejected { lines: lines.to_vec(), displaced: vec![] };
    Event::Connector(erp(), fact)
}

fn closed(numbers: &[u64], outcome: RejectionOutcome) -> Event {
    let (numbers, reason) = (numbers.to_vec(), String::new());
    Event::Connector(erp(), ConnectorFact::Closed { numbers, outcome, reason })
}

/// Expects these results and these events after it, and folds them.
#[track_caller]
fn check(state: &mut State, when: &Input, results: &[StockResult], then: &[Event]) {
    let mut decision = super::super::decide(Policy::default(), state, when, NOW);
    check_levels(state, &mut decision.events);
    assert_eq!(decision, answered(results, then));
    for event in then {
        fold(state, event);
    }
}

#[track_caller]
fn kept(state: &State) -> Vec<(u64, Rejected, u64)> {
    let key = |number| RejectionKey { connector: erp(), number };
    let row = |number| state.rejections.get(&key(number));
    let shown = |row: &Rejection| (row.number, row.content.clone(), row.times);
    let kept: Vec<_> = (1..9).filter_map(row).map(shown).collect();
    let count = state.connectors.get(&erp()).map_or(0, |row| row.kept);
    assert_eq!(kept.len() as u64, count);
    kept
}

#[test]
fn a_line_that_is_none_is_kept_and_has_come() {
    let mut state = catalogue();
    let line = wrong("D1", 7, "A");
    check(&mut state, &only(from_ref(&line)), &[], &[rejected(&[of_invalid(1, &line)])]);
    assert_eq!(kept(&state), [(1, Rejected::Invalid(line.clone()), 1)]);
    let row = state.connectors.get(&erp()).expect("is known");
    assert_eq!((row.rejected, row.arrivals.largest, row.heard), (1, Some(at(7)), NOW.millis()));
    // Again, with another error: it is the same line.
    let again = InvalidLine { upload_line: 9, ..line };
    check(&mut state, &only(from_ref(&again)), &[], &[rejected(&[of_invalid(1, &again)])]);
    assert_eq!(kept(&state), [(1, Rejected::Invalid(again), 2)]);
}

#[test]
fn invalid_lines_are_told_apart_by_document_and_sku_or_by_their_text() {
    let mut state = catalogue();
    let lines = [
        wrong("D1", 1, "A"),
        wrong("D1", 1, "B"),
        wrong("D1", 1, ""),
        wrong("D2", 1, "A"),
        unnamed("one"),
        unnamed("two"),
    ];
    let numbered = || {
        let numbered = (1..).zip(&lines).map(|(number, line)| of_invalid(number, line));
        rejected(&numbered.collect::<Vec<_>>())
    };
    for times in [1, 2] {
        check(&mut state, &only(&lines), &[], &[numbered()]);
        assert!(kept(&state).iter().all(|(_, _, of)| *of == times));
    }
    assert_eq!(kept(&state).len(), 6);
}

#[test]
fn a_line_that_is_sent_again_correct_closes_the_rejection() {
    for sku in ["A", ""] {
        let mut state = catalogue();
        let line = wrong("D1", 1, sku);
        fold(&mut state, &rejected(&[of_invalid(1, &line)]));
        let other = count("A", "D2", 2, 3);
        check(&mut state, &record(from_ref(&other)), &[Applied], &[event(other, 3)]);
        assert_eq!(kept(&state).len(), 1, "another document mends nothing");
        let right = count("A", "D1", 3, 5);
        let then = [event(right.clone(), 5), closed(&[1], RejectionOutcome::Resent)];
        check(&mut state, &record(&[right]), &[Applied], &then);
        assert_eq!(kept(&state), []);
    }
    // A line about another SKU is another one.
    let mut state = catalogue();
    let line = wrong("D1", 1, "B");
    fold(&mut state, &rejected(&[of_invalid(1, &line)]));
    let other = count("A", "D1", 2, 3);
    check(&mut state, &record(from_ref(&other)), &[Applied], &[event(other, 3)]);
    assert_eq!(kept(&state).len(), 1);
}

#[test]
fn a_line_that_is_mended_and_rejected_for_another_reason_keeps_its_number() {
    let mut state = catalogue();
    let (line, right) = (wrong("D1", 1, "X"), count("X", "D1", 1, 5));
    fold(&mut state, &rejected(&[of_invalid(1, &line)]));
    let then = [rejected(&[of_line(1, &right, UnknownSku)])];
    check(&mut state, &record(from_ref(&right)), &[UnknownSku], &then);
    assert_eq!(kept(&state), [(1, Rejected::Line(right.clone(), UnknownSku), 2)]);
    // Its name as an invalid one is free: the next is another rejection, and both are closed together.
    let then = [rejected(&[of_invalid(2, &line)])];
    check(&mut state, &only(&[line]), &[], &then);
    Inventory::replicate(&mut state, &Input::ProductKnown { sku: super::stock("X").sku });
    let then = [event(right.clone(), 5), closed(&[1, 2], RejectionOutcome::Resent)];
    check(&mut state, &record(&[right]), &[Applied], &then);
    assert_eq!(kept(&state), []);
}

#[test]
fn lines_of_one_command_count_in_the_order_in_which_they_were_sent() {
    let line = wrong("D1", 1, "A");
    let right = count("A", "D1", 1, 5);
    // It is wrong, and then right: nothing is left to be done.
    let mut state = catalogue();
    let when = mixed(from_ref(&right), &[(0, line.clone())]);
    check(&mut state, &when, &[Applied], &[event(right.clone(), 5)]);
    assert_eq!(kept(&state), []);
    // It is right, and then wrong.
    let mut state = catalogue();
    let when = mixed(from_ref(&right), &[(1, line.clone())]);
    let then = [event(right.clone(), 5), rejected(&[of_invalid(1, &line)])];
    check(&mut state, &when, &[Applied], &then);
    // It was wrong before, is right, and then wrong again: that is another rejection.
    let mut state = catalogue();
    fold(&mut state, &rejected(&[of_invalid(1, &line)]));
    let then = [
        event(right.clone(), 5),
        closed(&[1], RejectionOutcome::Resent),
        rejected(&[of_invalid(2, &line)]),
    ];
    check(&mut state, &when, &[Applied], &then);
}

#[test]
fn an_invalid_line_cannot_be_tried_again_and_can_be_dropped() {
    let mut state = catalogue();
    let (line, x) = (wrong("D1", 1, "A"), count("X", "D2", 2, 1));
    let both = [of_invalid(1, &line), of_line(2, &x, UnknownSku)];
    fold(&mut state, &rejected(&both));
    let redrive = Input::Redrive { connector: erp(), numbers: vec![1, 2, 3, 1] };
    let decision = super::super::decide(Policy::default(), &state, &redrive, NOW);
    let answer = Answer::Redriven(vec![Some(Invalid), Some(UnknownSku), None, None]);
    let again = rejected(&[of_line(2, &x, UnknownSku)]);
    assert_eq!(decision, Decision::answered(vec![again], answer).provisional(true));
    let drop = Input::DropRejections {
        connector: erp(),
        numbers: vec![1],
        reason: "a typing error".to_owned(),
    };
    let decision = super::super::decide(Policy::default(), &state, &drop, NOW);
    assert_eq!(decision.answer, Some(Answer::Dropped(vec![1])));
    decision.events.iter().for_each(|event| std::mem::drop(fold(&mut state, event)));
    assert_eq!(kept(&state).len(), 1);
    // Its name is free: sent again, it is rejected anew.
    check(&mut state, &only(from_ref(&line)), &[], &[rejected(&[of_invalid(3, &line)])]);
}

#[test]
fn rejections_are_the_same_with_all_rows_in_memory_and_with_none() {
    let right = count("A", "D1", 1, 5);
    let (named, other) = (wrong("D1", 1, "A"), wrong("D1", 1, ""));
    let invalid = [(0, named.clone()), (0, other), (0, unnamed("?")), (1, wrong("D3", 3, "B"))];
    let inputs = [
        mixed(&[count("X", "D2", 2, 1)], &invalid),
        mixed(&[count("X", "D3", 3, 1)], &[(0, wrong("D2", 2, "X")), (1, unnamed("?"))]),
        record(&[count("B", "D3", 3, 2)]),
        mixed(from_ref(&right), &[(1, named)]),
        record(&[right]),
    ];
    let (mut in_memory, mut evicted) = (catalogue(), Documents::default());
    evicted.save(&mut catalogue());
    for input in inputs {
        let decision = super::super::decide(Policy::default(), &in_memory, &input, NOW);
        let (again, _) = evicted.run(|state| {
            let decision = super::super::decide(Policy::default(), state, &input, NOW);
            decision.events.iter().for_each(|event| std::mem::drop(fold(state, event)));
            decision
        });
        assert_eq!(again, decision, "{input:?}");
        decision.events.iter().for_each(|event| std::mem::drop(fold(&mut in_memory, event)));
    }
    assert!(evicted.count::<Rejection>() > 2 && evicted.count::<RejectedNumber>() > 2);
    assert_eq!(evicted.count::<Rejection>(), evicted.count::<RejectedNumber>());
    let mut expected = Documents::default();
    expected.save(&mut in_memory);
    assert_eq!(evicted, expected);
    assert!(kept(&in_memory).iter().all(|(number, ..)| *number != 1), "the first was mended");
    let duplicates = in_memory.connectors.get(&erp()).map(|row| row.repeated);
    assert_eq!(duplicates, Some(1), "{Duplicate:?}");
}
