//! Sets of sequence numbers, as long runs of them: what was attempted of an endpoint, what is held.

use serde::{Deserialize, Serialize};

/// A set of numbers from 1 on. It is small where the numbers follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqSet(Vec<(u64, u64)>);

impl SeqSet {
    /// Whether it holds the number.
    pub fn contains(&self, seq: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < seq);
        self.0.get(at).is_some_and(|(first, _)| *first <= seq)
    }

    /// How many numbers it holds.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers from `from` to `to` it holds.
    pub fn len_within(&self, from: u64, to: u64) -> u64 {
        let within = |(first, last): &(u64, u64)| {
            let (first, last) = ((*first).max(from), (*last).min(to));
            if first <= last { last - first + 1 } else { 0 }
        };
        self.0.iter().map(within).sum()
    }

    /// The runs of numbers from `from` to `to` that it holds.
    pub fn within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let runs = self.0.iter().map(move |(first, last)| ((*first).max(from), (*last).min(to)));
        runs.filter(|(first, last)| first <= last)
    }

    /// The last number up to which it holds all from 1 on; 0 when it does not hold 1.
    pub fn through(&self) -> u64 {
        self.0.first().map_or(0, |(first, last)| if *first == 1 { *last } else { 0 })
    }

    /// Adds the numbers from `first` to `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Runs that overlap or touch the new one become one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let until = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let merged = self.0[from..until]
            .iter()
            .fold((first, last), |(start, end), run| (start.min(run.0), end.max(run.1)));
        self.0.splice(from..until, [merged]);
    }

    /// Removes the numbers from `first` to `last`.
    pub fn remove(&mut self, first: u64, last: u64) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for (start, end) in self.0.drain(..) {
            if end < first || last < start {
                left.push((start, end));
                continue;
            }
            if start < first {
                left.push((start, first - 1));
            }
            if last < end {
                left.push((last + 1, end));
            }
        }
        self.0 = left;
    }

    /// The runs, in order: the first and the last number of each.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// The runs of numbers from `from` to `to` that it does not hold.
    pub fn gaps(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut next) = (Vec::new(), from);
        for (first, last) in self.0.iter().filter(|(_, last)| *last >= from) {
            if *first > to {
                break;
            }
            if next < *first {
                gaps.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= to {
            gaps.push((next, to));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use foldkit::Random;

    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_run() {
        let mut set = SeqSet::default();
        for (first, last) in [(1, 3), (5, 9), (4, 4)] {
            set.insert(first, last);
        }
        assert_eq!(set.runs().collect::<Vec<_>>(), [(1, 9)]);
        assert_eq!((set.through(), set.len()), (9, 9));
        set.remove(4, 6);
        assert_eq!(set.runs().collect::<Vec<_>>(), [(1, 3), (7, 9)]);
        assert_eq!(set.gaps(1, 12), [(4, 6), (10, 12)]);
        assert_eq!(set.gaps(2, 5), [(4, 5)]);
        assert_eq!(set.len_within(3, 7), 2);
    }

    #[test]
    fn it_holds_what_a_set_of_single_numbers_holds() {
        let mut random = Random::new(7);
        let (mut set, mut single) = (SeqSet::default(), std::collections::BTreeSet::new());
        for _ in 0..2_000 {
            let first = random.below(60) + 1;
            let last = first + random.below(6);
            if random.below(3) == 0 {
                set.remove(first, last);
                single.retain(|seq| !(first..=last).contains(seq));
            } else {
                set.insert(first, last);
                single.extend(first..=last);
            }
            assert_eq!(set.len(), single.len() as u64);
            assert!((1..70).all(|seq| set.contains(seq) == single.contains(&seq)));
            let within = set.within(20, 40).flat_map(|(first, last)| first..=last);
            assert!(within.eq((20..=40).filter(|seq| single.contains(seq))));
            let gaps = set.gaps(1, 70).into_iter().flat_map(|(first, last)| first..=last);
            assert!(gaps.eq((1..=70).filter(|seq| !single.contains(seq))));
            let runs: Vec<_> = set.runs().collect();
            assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{runs:?}");
        }
    }
}
