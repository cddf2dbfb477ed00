//! The times in which the provider's list and our log differ, and which nobody mends.

use protocol::time::Timestamp;

/// The most that are kept of a shop: beyond that the oldest two become one, with what is between them.
const MAX_WINDOWS: usize = 64;

/// A time, from its beginning until before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// Adds a window behind all others.
pub(super) fn add(windows: &mut Vec<Window>, window: Window) {
    match windows.last_mut() {
        Some(last) if last.until == window.from => last.until = window.until,
        _ => windows.push(window),
    }
    if windows.len() > MAX_WINDOWS {
        let first = windows.remove(0);
        windows[0].from = first.from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: i64, until: i64) -> Window {
        Window { from: Timestamp::from_millis(from), until: Timestamp::from_millis(until) }
    }

    #[test]
    fn what_follows_at_once_is_one_window() {
        let mut windows = vec![];
        for it in [window(0, 5), window(5, 9), window(12, 13)] {
            add(&mut windows, it);
        }
        assert_eq!(windows, [window(0, 9), window(12, 13)]);
    }

    #[test]
    fn too_many_become_fewer_and_none_is_lost() {
        let mut windows = vec![];
        for at in 0..=MAX_WINDOWS as i64 {
            add(&mut windows, window(at * 10, at * 10 + 1));
        }
        assert_eq!(windows.len(), MAX_WINDOWS);
        assert_eq!(windows[..2], [window(0, 11), window(20, 21)]);
    }
}
