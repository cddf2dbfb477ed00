//! What is kept of adjustments, and how much.

use StockResult::{Applied, Stale};

use super::{
    super::adjustments::{CHUNK_ENTRIES, MAX_CHUNKS},
    rows::Documents,
    stock::{adjustment, count, event, record},
    *,
};

/// A stock of `A` that was adjusted by 1 with each of these sequences; with nothing in memory.
fn adjusted(sequences: impl Iterator<Item = i64>) -> Documents {
    let mut state = catalogue();
    for (sequence, on_hand) in sequences.zip(1..) {
        fold(&mut state, &event(adjustment("A", &format!("A{sequence}"), sequence, 1), on_hand));
    }
    let mut documents = Documents::default();
    documents.save(&mut state);
    documents
}

#[track_caller]
fn check_count(documents: &mut Documents, sequence: i64, then: Result<i64, StockResult>) {
    let line = count("A", &format!("C{sequence}"), sequence, 1_000);
    let (decision, times) = documents.decide(&record(std::slice::from_ref(&line)), NOW);
    let expected = match then {
        Ok(newer) => answered(&[Applied], &[event(line, 1_000 + newer)]),
        Err(why_not) => answered(&[why_not], &[]),
    };
    assert_eq!(decision, expected);
    assert!(times <= 4, "it ran {times} times");
}

#[test]
fn a_late_count_finds_what_is_newer_among_thousands_of_adjustments_in_any_order() {
    let last = 10 * CHUNK_ENTRIES as i64 + 7;
    // Pairs come the other way round, and what belongs into one chunk comes in another.
    let mixed = (1..=last).map(|n| if n % 2 == 0 { n - 1 } else { n + 1 });
    let of_another_chunk = [last + 100, last + 50];
    let mut documents = adjusted(mixed.take(1_000).chain(of_another_chunk).chain(1_001..=last));
    assert_eq!(documents.count::<Chunk>(), 10);
    let newer_than = |sequence: i64| last - sequence + 2;
    check_count(&mut documents, 500, Ok(newer_than(500)));
    check_count(&mut documents, 1_100, Ok(newer_than(1_100)));
    check_count(&mut documents, last, Ok(2));
    check_count(&mut documents, last + 60, Ok(1));
}

#[test]
fn a_count_removes_what_it_contains() {
    let mut documents = adjusted(1..=10 * CHUNK_ENTRIES as i64 + 7);
    check_count(&mut documents, 5 * CHUNK_ENTRIES as i64 + 1, Ok(5 * CHUNK_ENTRIES as i64 + 6));
    assert_eq!(documents.count::<Chunk>(), 5, "with the one that it divides");
    check_count(&mut documents, 10 * CHUNK_ENTRIES as i64 + 7, Ok(0));
    assert_eq!((documents.count::<Chunk>(), documents.count::<Adjustments>()), (0, 0));
}

#[test]
fn a_count_that_is_older_than_what_was_dropped_is_stale() {
    let kept = (MAX_CHUNKS * CHUNK_ENTRIES) as i64;
    let dropped = 2 * CHUNK_ENTRIES as i64;
    let mut documents = adjusted(1..=kept + dropped);
    assert_eq!(documents.count::<Chunk>(), MAX_CHUNKS);
    check_count(&mut documents, dropped - 1, Err(Stale));
    check_count(&mut documents, dropped, Ok(kept));
}

#[test]
fn late_counts_of_one_command_are_decided_on_what_its_earlier_lines_leave() {
    let last = 3 * CHUNK_ENTRIES as i64 - 1;
    let mut documents = adjusted(1..=last);
    let lines = [
        adjustment("A", "full", last + 1, 1),
        count("A", "C1", CHUNK_ENTRIES as i64 / 2, 0),
        adjustment("A", "next", last + 2, 1),
        count("A", "C2", last - 9, 0),
    ];
    let newer = last + 1 - CHUNK_ENTRIES as i64 / 2;
    let [full, first, next, second] = lines.clone();
    let events =
        [event(full, last + 1), event(first, newer), event(next, newer + 1), event(second, 11)];
    assert_eq!(documents.decide(&record(&lines), NOW).0, answered(&[Applied; 4], &events));
}
