//! What is done about lines that were rejected: they are tried again, or dropped.

use engine::Decision;
use events::id::Connector;
use protocol::time::Timestamp;

use super::{
    Answer, ConnectorFact, Event, Rejected, RejectionKey, RejectionOutcome, State, StockResult,
    stock,
};

/// What is done about a rejection that is to be tried again.
enum Attempt {
    /// It is not kept, or was named before.
    None,
    /// What is no stock line cannot be tried: it is to be sent again.
    Invalid,
    /// Its line is tried.
    Line,
}

/// Tries rejected lines again, each for itself.
pub(super) fn redrive(
    state: &State,
    connector: &Connector,
    numbers: &[u64],
    now: Timestamp,
) -> Decision<Event, Answer> {
    let mut lines = Vec::new();
    let mut attempts = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let key = RejectionKey { connector: connector.clone(), number: *number };
        let is_first = !numbers[..index].contains(number);
        let rejection = state.rejections.get(&key).filter(|_| is_first);
        attempts.push(match rejection.map(|rejection| &rejection.content) {
            None => Attempt::None,
            Some(Rejected::Invalid(_)) => Attempt::Invalid,
            Some(Rejected::Line(line, _)) => {
                lines.push(line.clone());
                Attempt::Line
            }
        });
    }
    let (events, results) = stock::record(state, (&lines, &[]), now, RejectionOutcome::Redriven);
    // A rejection of which nothing is left to be done is not found again: its answer stands.
    let is_nothing_done = results.iter().all(|result| result.is_rejected());
    let mut results = results.into_iter();
    let of_each = attempts.into_iter().map(|attempt| match attempt {
        Attempt::None => None,
        Attempt::Invalid => Some(StockResult::Invalid),
        Attempt::Line => results.next(),
    });
    Decision::answered(events, Answer::Redriven(of_each.collect())).provisional(is_nothing_done)
}

/// Drops rejected lines.
pub(super) fn drop(
    state: &State,
    connector: &Connector,
    numbers: &[u64],
    reason: &str,
) -> Decision<Event, Answer> {
    let is_kept = |number: &u64| {
        let key = RejectionKey { connector: connector.clone(), number: *number };
        state.rejections.get(&key).is_some()
    };
    let mut numbers: Vec<u64> = numbers.iter().copied().filter(is_kept).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut events = Vec::new();
    if !numbers.is_empty() {
        let (outcome, reason) = (RejectionOutcome::Dropped, reason.to_owned());
        let fact = ConnectorFact::Closed { numbers: numbers.clone(), outcome, reason };
        events.push(Event::Connector(connector.clone(), fact));
    }
    Decision::answered(events, Answer::Dropped(numbers))
}
