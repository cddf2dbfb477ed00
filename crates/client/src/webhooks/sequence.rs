//! What has come of a sequence without gaps.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Which deliveries of one endpoint have come, by their `meta.endpoint_seq`, which begins at 1 and
/// has no gaps. So what is missing can be proved.
///
/// Keep it where you keep what you made of the deliveries, and save both in one transaction: it
/// serialises to a few numbers, however many deliveries there were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SequenceCheck {
    /// The highest that came, or before which nothing is expected.
    highest: u64,
    /// What has not come below it, as first and last, in order.
    missing: Vec<(u64, u64)>,
}

/// How a delivery stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// It is the one after the highest so far.
    Next,
    /// Others before it have not come yet; [`SequenceCheck::missing`] names them.
    Ahead,
    /// It was missing.
    Late,
    /// It has come before.
    Duplicate,
}

impl SequenceCheck {
    /// A check that expects everything from the first delivery of the endpoint on.
    pub fn new() -> Self {
        Self::default()
    }

    /// A check that expects what comes after `seq`, for a receiver that has everything up to there
    /// from elsewhere.
    pub fn after(seq: u64) -> Self {
        Self { highest: seq, missing: Vec::new() }
    }

    /// Notes that a delivery has come.
    pub fn record(&mut self, seq: u64) -> Arrival {
        if seq > self.highest {
            let expected = self.highest + 1;
            self.highest = seq;
            if seq == expected {
                return Arrival::Next;
            }
            self.missing.push((expected, seq - 1));
            return Arrival::Ahead;
        }
        let gap = self.missing.iter().position(|(first, last)| (*first..=*last).contains(&seq));
        let Some(gap) = gap else { return Arrival::Duplicate };
        let (first, last) = self.missing[gap];
        let rest = [(first, seq.saturating_sub(1)), (seq + 1, last)];
        self.missing.splice(gap..=gap, rest.into_iter().filter(|(first, last)| first <= last));
        Arrival::Late
    }

    /// The highest that has come; 0 if none has.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The last up to which everything has come.
    pub fn complete_through(&self) -> u64 {
        self.missing.first().map_or(self.highest, |(first, _)| first - 1)
    }

    /// What has not come of what is below the highest, in order.
    pub fn missing(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.missing.iter().map(|(first, last)| *first..=*last)
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Ahead, Duplicate, Late, Next};
    use super::*;

    #[track_caller]
    fn check(arrivals: &[(u64, Arrival)], missing: &[RangeInclusive<u64>]) -> SequenceCheck {
        let mut check = SequenceCheck::new();
        for (seq, expected) in arrivals {
            assert_eq!(check.record(*seq), *expected, "{seq}");
        }
        assert_eq!(check.missing().collect::<Vec<_>>(), missing);
        check
    }

    #[test]
    fn what_comes_in_order_is_complete() {
        let check = check(&[(1, Next), (2, Next), (3, Next)], &[]);
        assert_eq!((check.highest(), check.complete_through(), check.is_complete()), (3, 3, true));
    }

    #[test]
    fn what_comes_again_is_a_duplicate() {
        check(&[(1, Next), (1, Duplicate), (2, Next), (1, Duplicate), (2, Duplicate)], &[]);
    }

    #[test]
    fn what_has_not_come_is_missing() {
        let check = check(&[(1, Next), (4, Ahead), (9, Ahead), (10, Next)], &[2..=3, 5..=8]);
        assert_eq!(
            (check.highest(), check.complete_through(), check.is_complete()),
            (10, 1, false)
        );
    }

    #[test]
    fn the_first_may_be_missing() {
        check(&[(2, Ahead)], &[1..=1]);
    }

    #[test]
    fn what_comes_late_is_missing_no_more() {
        let arrivals = [(9, Ahead), (5, Late), (5, Duplicate), (1, Late), (8, Late), (7, Late)];
        check(&arrivals, &[2..=4, 6..=6]);
        let all = [(3, Ahead), (2, Late), (1, Late), (4, Next)];
        assert!(check(&all, &[]).is_complete());
    }

    #[test]
    fn nothing_is_expected_of_what_is_there_already() {
        let mut check = SequenceCheck::after(100);
        assert_eq!(
            [100, 7, 101, 103].map(|seq| check.record(seq)),
            [Duplicate, Duplicate, Next, Ahead]
        );
        assert_eq!(check.missing().collect::<Vec<_>>(), [102..=102]);
    }

    #[test]
    fn any_order_of_arrival_ends_complete_with_each_counted_once() {
        // A permutation of 1..=100, because 37 and 101 have no common divisor.
        let order = (1..=100).map(|step| step * 37 % 101);
        let mut check = SequenceCheck::new();
        for seq in order.clone() {
            assert_ne!(check.record(seq), Duplicate);
        }
        assert!(check.is_complete() && check.highest() == 100);
        assert!(order.into_iter().all(|seq| check.record(seq) == Duplicate));
    }

    #[test]
    fn it_is_kept_as_json() {
        let check = check(&[(1, Next), (4, Ahead)], &[2..=3]);
        let text = serde_json::to_string(&check).expect("it serialises");
        assert_eq!(text, r#"{"highest":4,"missing":[[2,3]]}"#);
        assert_eq!(serde_json::from_str::<SequenceCheck>(&text).expect("it is one"), check);
    }
}
