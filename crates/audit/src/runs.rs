//! Sets of numbers, as runs of those that follow each other.

/// The most numbers that the runs of one message stand for.
const MAX_NUMBERS: u64 = 1_000_000;

/// A set of numbers, small where they follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Adds the numbers from `first` to `last`.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let until = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        if first > last {
            return;
        }
        let (start, end) = self.0[from..until]
            .iter()
            .fold((first, last), |(start, end), run| (start.min(run.0), end.max(run.1)));
        self.0.splice(from..until, [(start, end)]);
    }

    /// Adds the numbers of another set.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(first, last)| self.insert(*first, *last));
    }

    /// Removes the numbers from `first` to `last`.
    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        let parts = |(start, end): &(u64, u64)| {
            let before = (*start, (*end).min(first.saturating_sub(1)));
            let after = ((*start).max(last.saturating_add(1)), *end);
            [before, after].into_iter().filter(|(start, end)| start <= end)
        };
        self.0 = self.0.iter().flat_map(parts).collect();
    }

    /// The numbers from `first` to `last` that it holds.
    pub(crate) fn within(&self, first: u64, last: u64) -> Self {
        let from = self.0.partition_point(|(_, end)| *end < first);
        let runs = self.0[from..].iter().take_while(|(start, _)| *start <= last);
        let within = runs.map(|(start, end)| ((*start).max(first), (*end).min(last)));
        Self(within.filter(|(start, end)| start <= end).collect())
    }

    /// The numbers from `first` to `last` that it does not hold.
    pub(crate) fn missing(&self, first: u64, last: u64) -> Self {
        let (mut missing, mut next) = (Vec::new(), first);
        for (start, end) in self.within(first, last).0 {
            if next < start {
                missing.push((next, start - 1));
            }
            next = end + 1;
        }
        if next <= last {
            missing.push((next, last));
        }
        Self(missing)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        !self.within(number, number).is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The lowest number.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The highest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Reads runs as they are in a message: pairs of the distance from behind the run before, and of the
    /// length. None when they are no runs.
    pub(crate) fn read(pairs: &[u64]) -> Option<Self> {
        let (mut next, mut runs) = (0_u64, Self::default());
        for pair in pairs.chunks(2) {
            let [distance, len] = pair else { return None };
            let first = next.checked_add(*distance)?;
            let last = first.checked_add(len.checked_sub(1)?)?;
            if *len > MAX_NUMBERS || runs.len() + len > MAX_NUMBERS {
                return None;
            }
            runs.insert(first, last);
            next = last.checked_add(1)?;
        }
        Some(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_added_and_not_removed() {
        let mut runs = Runs::default();
        for (first, last) in [(1, 3), (5, 9), (4, 4), (20, 20)] {
            runs.insert(first, last);
        }
        runs.remove(6, 7);
        assert_eq!(runs.runs().collect::<Vec<_>>(), [(1, 5), (8, 9), (20, 20)]);
        assert_eq!(runs.missing(4, 22).runs().collect::<Vec<_>>(), [(6, 7), (10, 19), (21, 22)]);
        assert_eq!(runs.within(5, 8).numbers().collect::<Vec<_>>(), [5, 8]);
        assert_eq!((runs.len(), runs.first(), runs.last()), (8, Some(1), Some(20)));
        assert!(runs.contains(9) && !runs.contains(10));
        runs.insert(2, 1);
        assert_eq!(runs.len(), 8, "there is no number from 2 to 1");
    }

    #[test]
    fn runs_are_read_from_distances_and_lengths() {
        let runs = Runs::read(&[3, 2, 0, 1, 4, 1]).expect("are runs");
        assert_eq!(runs.numbers().collect::<Vec<_>>(), [3, 4, 5, 10]);
        for pairs in [&[1][..], &[1, 0], &[u64::MAX, 2], &[1, u64::MAX], &[1, MAX_NUMBERS + 1]] {
            assert_eq!(Runs::read(pairs), None, "{pairs:?}");
        }
    }
}
