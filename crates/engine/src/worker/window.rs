//! What has been read of a source and is not handled yet, by shop: shops take turns.
//!
//! The reader reads a source in order, ahead of what is handled, and [`Window::offer`]s each message.
//! [`Window::take`] chooses among the shops by deficit round robin: each turn is worth the same number
//! of lines, so a shop with 100,000 lines that wait does not outweigh another's single command. The
//! inputs of one shop stay in their order.
//!
//! Memory is bounded, and a shop fills at most as much of it as it leaves free, so that there is
//! always room for another one. What a shop has beyond that is **left out**: the reader passes over it
//! and goes on, and it is read again, by a subject filter for that shop, when there is room.
//!
//! ```text
//!             taken ─┐            ┌─ messages in memory       ┌─ what the reader has read
//!   stream  ─────────┴────────────┴───────────────────────────┴──────────────►
//!   acme             ████ █ ██ ███░░░░░░░░░ left out ░░░░░░░░░
//!   other                                                █   █
//! ```
//!
//! Of what is taken at once, the inputs are sorted as they stand in the stream. So the position after
//! each of them names only shops of which something was not taken, and there is none to name when the
//! messages of all shops are taken.

mod shop;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use protocol::id::Shop;

use self::shop::{Message, Waiting};
use crate::projection::positions::Position;

/// The messages of a source in memory.
const MAX_MESSAGES: usize = 2_000;
/// Their bytes.
const MAX_BYTES: usize = 16 << 20;
/// The shops of which something waits. The reader pauses beyond that: each of them may be named in
/// the positions, which travel with every event.
const MAX_SHOPS: usize = 64;
/// The lines that a turn is worth.
const LINES_PER_TURN: usize = 25;

/// The messages of a source that wait, and the position of those that were taken.
#[derive(Debug)]
pub(crate) struct Window<T> {
    shops: HashMap<Shop, Waiting<T>>,
    /// The shops that have messages in memory, in the order of their turns.
    turns: VecDeque<Shop>,
    /// Whether the turn of the first of them has begun.
    in_turn: bool,
    /// Everything up to here was offered, or is not for this reader.
    read: u64,
    /// What was taken is handled in the order in which it was taken: the position after that.
    position: Position,
    /// Messages of shops whose turn was passed over in the last [`Self::take`].
    held: usize,
}

/// Messages of a shop that are to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) shop: Shop,
    pub(crate) after: u64,
    pub(crate) until: u64,
    pub(crate) max_messages: usize,
    pub(crate) max_bytes: usize,
}

/// What a batch still takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchCapacity {
    pub(crate) inputs: usize,
    pub(crate) lines: usize,
    /// Whether one input is taken though there is no room.
    pub(crate) at_least_one: bool,
}

impl BatchCapacity {
    pub(crate) fn is_there(&self) -> bool {
        self.at_least_one || (self.inputs > 0 && self.lines > 0)
    }

    fn take(&mut self, lines: usize) {
        self.at_least_one = false;
        self.inputs = self.inputs.saturating_sub(1);
        self.lines = self.lines.saturating_sub(lines);
    }
}

impl<T> Window<T> {
    /// A window behind `position`. Of the shops that are behind, everything is left out at first.
    pub(crate) fn new(position: Position) -> Self {
        let read = position.sequence;
        let waiting = |(shop, after): (&String, &u64)| {
            Some((Shop::parse_or_unknown(shop).ok()?, Waiting::behind(*after, read)))
        };
        Self {
            shops: position.behind.iter().filter_map(waiting).collect(),
            turns: VecDeque::new(),
            in_turn: false,
            read,
            position,
            held: 0,
        }
    }

    /// Whether the reader may go on.
    pub(crate) fn has_room(&self) -> bool {
        self.shops.len() < MAX_SHOPS
    }

    /// How many messages are in memory, and how many of those may be taken now.
    pub(crate) fn len(&self) -> (usize, usize) {
        let (messages, _) = self.in_memory();
        let ready = self.shops.values().map(Waiting::len).sum::<usize>();
        (messages, ready.saturating_sub(self.held))
    }

    /// How many messages were left out, as far as is known.
    pub(crate) fn left_out(&self) -> u64 {
        self.shops.values().map(Waiting::left_out).sum()
    }

    /// The first message in memory of each shop.
    pub(crate) fn first(&self) -> impl Iterator<Item = &T> {
        self.shops.values().filter_map(Waiting::front)
    }

    /// Notes that there is nothing for this reader up to `sequence`.
    pub(crate) fn pass(&mut self, sequence: u64) {
        self.read = self.read.max(sequence);
    }

    /// Whether a message of a shop would be kept, rather than left out.
    pub(crate) fn keeps(&self, shop: &Shop, bytes: usize) -> bool {
        let waiting = self.shops.get(shop);
        let (of_shop, bytes_of_shop) = waiting.map_or((0, 0), Waiting::in_memory);
        let (free, free_bytes) = self.free();
        waiting.is_none_or(Waiting::is_complete)
            && of_shop < free
            && bytes_of_shop + bytes <= free_bytes
    }

    /// The next message that the reader has read. It is kept if there is room, and `content` is
    /// there.
    pub(crate) fn offer(&mut self, shop: Shop, sequence: u64, bytes: usize, content: Option<T>) {
        self.pass(sequence);
        let content = content.filter(|_| self.keeps(&shop, bytes));
        let waiting = self.shops.entry(shop.clone()).or_default();
        let had = waiting.len();
        match content {
            Some(content) => waiting.push(Message { sequence, bytes, content }),
            None => waiting.leave_out(sequence),
        }
        if had == 0 && waiting.len() > 0 {
            self.turns.push_back(shop);
        }
    }

    /// What of the shops is to be read again now: of `max` of them at most at the same time, those
    /// with the fewest messages in memory first.
    pub(crate) fn request(&mut self, max: usize) -> Vec<Request> {
        let (free, free_bytes) = self.free();
        let running = self.shops.values().filter(|waiting| waiting.is_requested()).count();
        let mut short: Vec<_> = self
            .shops
            .iter_mut()
            .filter(|(_, waiting)| {
                let (messages, bytes) = waiting.in_memory();
                !waiting.is_complete() && messages < free / 2 && bytes < free_bytes / 2
            })
            .collect();
        short.sort_by_key(|(shop, waiting)| (waiting.len(), (*shop).clone()));
        let requests = short.into_iter().take(max.saturating_sub(running));
        let requests = requests.filter_map(|(shop, waiting)| {
            let (messages, bytes) = waiting.in_memory();
            let (after, until) = waiting.request()?;
            Some(Request {
                shop: shop.clone(),
                after,
                until,
                max_messages: ((free - messages) / 2).max(1),
                max_bytes: ((free_bytes - bytes) / 2).max(1),
            })
        });
        requests.collect()
    }

    /// What was requested has come: all messages of the shop up to `reached`.
    pub(crate) fn refill(
        &mut self,
        shop: &Shop,
        reached: u64,
        messages: impl IntoIterator<Item = (u64, usize, T)>,
    ) {
        let Some(waiting) = self.shops.get_mut(shop) else { return };
        let had = waiting.len();
        let message = |(sequence, bytes, content)| Message { sequence, bytes, content };
        waiting.refill(reached, messages.into_iter().map(message));
        if had == 0 && waiting.len() > 0 {
            self.turns.push_back(shop.clone());
        }
        self.forget_if_done(shop);
    }

    /// Takes messages, the shops in turn, as long as there is room; in the order of the stream, each
    /// with the position after it. `lines` says how many a message has, or that its shop has to wait:
    /// `None`.
    pub(crate) fn take(
        &mut self,
        room: &mut BatchCapacity,
        mut lines: impl FnMut(&mut T) -> Option<usize>,
    ) -> Vec<(T, Position)> {
        let (mut taken, mut held) = (Vec::new(), Vec::new());
        self.held = 0;
        while room.is_there()
            && let Some(shop) = self.turns.front().cloned()
            && let Some(waiting) = self.shops.get_mut(&shop)
        {
            if !std::mem::replace(&mut self.in_turn, true) {
                waiting.credit += LINES_PER_TURN;
            }
            let mut is_held = false;
            while room.is_there()
                && let Some(first) = waiting.front_mut()
            {
                let Some(lines) = lines(first) else {
                    is_held = true;
                    break;
                };
                if lines > waiting.credit {
                    break;
                }
                waiting.credit -= lines;
                room.take(lines);
                taken.extend(waiting.pop().map(|message| (shop.clone(), message)));
            }
            if !room.is_there() && waiting.len() > 0 && !is_held {
                // Its turn goes on in the next batch.
                break;
            }
            self.in_turn = false;
            self.turns.pop_front();
            if waiting.len() == 0 {
                waiting.credit = 0;
            } else if is_held {
                waiting.credit = 0;
                self.held += waiting.len();
                held.push(shop);
            } else {
                self.turns.push_back(shop);
            }
        }
        self.turns.extend(held);
        self.with_positions(taken)
    }

    /// Sorts what was taken, and says of each message how far everything is handled with it.
    fn with_positions(&mut self, mut taken: Vec<(Shop, Message<T>)>) -> Vec<(T, Position)> {
        taken.sort_by_key(|(_, message)| message.sequence);
        // The first that is left of each shop, when what is taken before it is handled.
        let mut next: HashMap<&Shop, u64> = HashMap::new();
        let mut nexts: Vec<_> = taken
            .iter()
            .rev()
            .map(|(shop, message)| {
                let left = || self.shops.get(shop).and_then(Waiting::first);
                next.insert(shop, message.sequence).or_else(left)
            })
            .collect();
        nexts.reverse();
        let end = self.position.sequence;
        let mut passed: Vec<_> = waiting(&self.shops).filter(|(first, _)| *first > end).collect();
        passed.sort_unstable();
        let mut passed = passed.into_iter().peekable();
        let mut position = std::mem::take(&mut self.position);
        let mut positions = Vec::with_capacity(taken.len());
        for ((shop, message), next) in taken.iter().zip(nexts) {
            position.sequence = position.sequence.max(message.sequence);
            let end = position.sequence;
            while let Some((first, shop)) = passed.next_if(|(first, _)| *first <= end) {
                position.behind.insert(shop.to_string(), first - 1);
            }
            match next {
                Some(next) if next <= end => {
                    position.behind.insert(shop.to_string(), next - 1);
                }
                _ => _ = position.behind.remove(shop.as_str()),
            }
            positions.push(position.clone());
        }
        self.position = position;
        for (shop, _) in &taken {
            self.forget_if_done(shop);
        }
        taken.into_iter().map(|(_, message)| message.content).zip(positions).collect()
    }

    /// The position when all that was taken is handled, as far as the reader has read.
    pub(crate) fn settle(&mut self) -> &Position {
        let first = waiting(&self.shops).map(|(first, _)| first).min();
        self.position.advance(first.map_or(self.read, |first| first - 1));
        let end = self.position.sequence;
        let behind = waiting(&self.shops).filter(|(first, _)| *first <= end);
        self.position.behind = behind.map(|(first, shop)| (shop.to_string(), first - 1)).collect();
        &self.position
    }

    /// The same position, with the end of what was read as its sequence: every shop of which something
    /// waits is behind. It says of as many shops as possible how far they are.
    pub(crate) fn by_shop(&self) -> Position {
        let behind = waiting(&self.shops).map(|(first, shop)| (shop.to_string(), first - 1));
        Position { sequence: self.read, behind: behind.collect() }
    }

    /// The messages in memory, and their bytes.
    fn in_memory(&self) -> (usize, usize) {
        let each = self.shops.values().map(Waiting::in_memory);
        each.fold((0, 0), |(messages, bytes), of| (messages + of.0, bytes + of.1))
    }

    /// How many messages, and how many bytes, there is room for.
    fn free(&self) -> (usize, usize) {
        let (messages, bytes) = self.in_memory();
        (MAX_MESSAGES.saturating_sub(messages), MAX_BYTES.saturating_sub(bytes))
    }

    fn forget_if_done(&mut self, shop: &Shop) {
        if self.shops.get(shop).is_some_and(|waiting| waiting.first().is_none()) {
            self.shops.remove(shop);
        }
    }
}

/// The shops of which something waits, with the first that may.
fn waiting<T>(shops: &HashMap<Shop, Waiting<T>>) -> impl Iterator<Item = (u64, &Shop)> {
    shops.iter().filter_map(|(shop, waiting)| Some((waiting.first()?, shop)))
}
