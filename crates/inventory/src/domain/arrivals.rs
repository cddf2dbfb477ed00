//! Which sequences have come from a connector: the largest, and what is missing below it.

use serde::{Deserialize, Serialize};

use super::Sequence;

/// The most gaps that are kept of a connector. One whose sequences are not contiguous has a gap behind
/// each line: it shall not make its row large.
pub(crate) const MAX_GAPS: usize = 100;

/// Sequences of an epoch, without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceRun {
    /// Their epoch.
    pub epoch: u32,
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl From<Sequence> for SequenceRun {
    fn from(Sequence { epoch, number }: Sequence) -> Self {
        Self { epoch, first: number, last: number }
    }
}

/// Sequences as runs, in order.
pub(super) fn runs(mut sequences: Vec<Sequence>) -> Vec<SequenceRun> {
    sequences.sort_unstable();
    let mut runs: Vec<SequenceRun> = Vec::new();
    for sequence in sequences {
        match runs.last_mut() {
            Some(run) if run.epoch == sequence.epoch && sequence.number - run.last <= 1 => {
                run.last = sequence.number;
            }
            _ => runs.push(sequence.into()),
        }
    }
    runs
}

/// Which sequences have come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<Sequence>,
    /// What is missing between the first that came of its epoch and it, in ascending order: the first and
    /// the last number of each gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<(i64, i64)>,
    /// How many gaps of the epoch are not kept because there were too many. They were the oldest.
    #[serde(default)]
    pub forgotten_gaps: u64,
}

impl Arrivals {
    /// Notes that a run has come.
    pub(super) fn note(&mut self, run: SequenceRun) {
        let last = Sequence { epoch: run.epoch, number: run.last };
        let Some(largest) = self.largest.filter(|largest| largest.epoch >= run.epoch) else {
            *self = Self { largest: Some(last), ..Self::default() };
            return;
        };
        if run.epoch < largest.epoch {
            return;
        }
        if run.last > largest.number {
            self.largest = Some(last);
        }
        if run.first > largest.number {
            let gap = (largest.number + 1, run.first - 1);
            self.gaps.extend((gap.0 <= gap.1).then_some(gap));
        } else {
            self.fill(run);
        }
        let surplus = self.gaps.len().saturating_sub(MAX_GAPS);
        self.gaps.drain(..surplus);
        self.forgotten_gaps += surplus as u64;
    }

    /// Takes a run out of the gaps.
    fn fill(&mut self, SequenceRun { first, last, .. }: SequenceRun) {
        let from = self.gaps.partition_point(|gap| gap.1 < first);
        let to = self.gaps.partition_point(|gap| gap.0 <= last);
        if from >= to {
            return;
        }
        let (start, end) = (self.gaps[from].0, self.gaps[to - 1].1);
        let before = (start < first).then(|| (start, first - 1));
        let behind = (last < end).then(|| (last + 1, end));
        self.gaps.splice(from..to, before.into_iter().chain(behind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epoch: u32, first: i64, last: i64) -> SequenceRun {
        SequenceRun { epoch, first, last }
    }

    /// What is known after these runs: the largest, and the gaps.
    #[track_caller]
    fn check(came: &[SequenceRun], largest: (u32, i64), gaps: &[(i64, i64)]) {
        let mut arrivals = Arrivals::default();
        for run in came {
            arrivals.note(*run);
        }
        let (epoch, number) = largest;
        let expected = Arrivals {
            largest: Some(Sequence { epoch, number }),
            gaps: gaps.to_vec(),
            forgotten_gaps: 0,
        };
        assert_eq!(arrivals, expected);
    }

    #[test]
    fn what_comes_in_order_leaves_no_gap() {
        check(&[run(0, 7, 7), run(0, 8, 8), run(0, 8, 8), run(0, 9, 12)], (0, 12), &[]);
    }

    #[test]
    fn what_is_passed_over_is_a_gap_until_it_comes() {
        let came = [run(0, 1, 1), run(0, 5, 5), run(0, 9, 9)];
        check(&came, (0, 9), &[(2, 4), (6, 8)]);
        check(&[&came[..], &[run(0, 3, 3)]].concat(), (0, 9), &[(2, 2), (4, 4), (6, 8)]);
        check(&[&came[..], &[run(0, 4, 6)]].concat(), (0, 9), &[(2, 3), (7, 8)]);
        check(&[&came[..], &[run(0, 0, 20)]].concat(), (0, 20), &[]);
        check(&[&came[..], &[run(0, 6, 8), run(0, 2, 4)]].concat(), (0, 9), &[]);
    }

    #[test]
    fn a_larger_epoch_begins_anew_and_a_smaller_one_changes_nothing() {
        let came = [run(0, 1, 1), run(0, 5, 5), run(2, 3, 3), run(0, 9, 9), run(2, 6, 6)];
        check(&came, (2, 6), &[(4, 5)]);
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        check(&[run(0, 0, 0), run(0, i64::MAX, i64::MAX)], (0, i64::MAX), &[(1, i64::MAX - 1)]);
        let both = [run(0, 0, 0), run(0, i64::MAX, i64::MAX), run(0, 0, i64::MAX)];
        check(&both, (0, i64::MAX), &[]);
    }

    #[test]
    fn the_oldest_gaps_are_forgotten() {
        let mut arrivals = Arrivals::default();
        let count = MAX_GAPS as i64 + 3;
        for number in 0..=count {
            arrivals.note(run(0, number * 10, number * 10));
        }
        assert_eq!((arrivals.gaps.len(), arrivals.forgotten_gaps), (MAX_GAPS, 3));
        assert_eq!(arrivals.gaps[0], (31, 39));
    }

    #[test]
    fn sequences_are_runs() {
        let at = |epoch, number| Sequence { epoch, number };
        let sequences = vec![at(1, 3), at(0, 5), at(0, 4), at(0, 4), at(0, 7), at(1, 2)];
        assert_eq!(runs(sequences), [run(0, 4, 5), run(0, 7, 7), run(1, 2, 3)]);
    }
}
