//! What waits of one shop: messages in memory, and behind them what was left out.

use std::collections::VecDeque;

/// A message in memory.
#[derive(Debug)]
pub(super) struct Message<T> {
    pub(super) sequence: u64,
    pub(super) bytes: usize,
    pub(super) content: T,
}

/// What waits of one shop, in its order.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    messages: VecDeque<Message<T>>,
    /// The bytes of all messages in memory.
    bytes: usize,
    /// The lines that its turns have been worth and that it has not used.
    pub(super) credit: usize,
    left_out: Option<LeftOut<T>>,
}

/// Messages that the reader has passed over: those after one sequence up to another.
#[derive(Debug)]
struct LeftOut<T> {
    after: u64,
    until: u64,
    /// How many there are, as far as is known.
    count: u64,
    /// Whether they are being read again.
    is_requested: bool,
    /// What has come since that began: it is behind what is left out.
    later: VecDeque<Message<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), bytes: 0, credit: 0, left_out: None }
    }
}

impl<T> LeftOut<T> {
    fn new(after: u64, until: u64) -> Self {
        Self { after, until, count: 0, is_requested: false, later: VecDeque::new() }
    }
}

impl<T> Waiting<T> {
    /// A shop of which nothing is in memory, and everything after one sequence up to another was
    /// left out.
    pub(super) fn behind(after: u64, until: u64) -> Self {
        Self { left_out: Some(LeftOut::new(after, until)), ..Self::default() }
    }

    /// The messages in memory, and their bytes.
    pub(super) fn in_memory(&self) -> (usize, usize) {
        let later = self.left_out.as_ref().map_or(0, |left_out| left_out.later.len());
        (self.messages.len() + later, self.bytes)
    }

    /// The messages that can be taken before anything is read again.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.messages.front().map(|message| &message.content)
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut T> {
        self.messages.front_mut().map(|message| &mut message.content)
    }

    /// The sequence of its first message; where that was left out, the first that it can have.
    /// `None`: nothing waits.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.messages.front().map(|message| message.sequence);
        first.or_else(|| self.left_out.as_ref().map(|left_out| left_out.after + 1))
    }

    /// How many messages were left out, as far as is known.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.as_ref().map_or(0, |left_out| left_out.count)
    }

    pub(super) fn is_requested(&self) -> bool {
        self.left_out.as_ref().is_some_and(|left_out| left_out.is_requested)
    }

    /// Whether a next message can be kept: all before it are in memory, or soon will be.
    pub(super) fn is_complete(&self) -> bool {
        self.left_out.as_ref().is_none_or(|left_out| left_out.is_requested)
    }

    /// Keeps the next message. Call when [`Self::is_complete`].
    pub(super) fn push(&mut self, message: Message<T>) {
        self.bytes += message.bytes;
        match &mut self.left_out {
            Some(left_out) => left_out.later.push_back(message),
            None => self.messages.push_back(message),
        }
    }

    /// Leaves the next message out, and with it what has come since the rest was requested.
    pub(super) fn leave_out(&mut self, sequence: u64) {
        let left_out = self.left_out.get_or_insert_with(|| LeftOut::new(sequence - 1, sequence));
        left_out.until = sequence;
        left_out.count += 1 + left_out.later.len() as u64;
        self.bytes -= left_out.later.drain(..).map(|message| message.bytes).sum::<usize>();
    }

    pub(super) fn pop(&mut self) -> Option<Message<T>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        Some(message)
    }

    /// Begins to read again what was left out: after which sequence up to which. `None` when nothing
    /// was, or when that has begun.
    pub(super) fn request(&mut self) -> Option<(u64, u64)> {
        let left_out = self.left_out.as_mut().filter(|left_out| !left_out.is_requested)?;
        left_out.is_requested = true;
        Some((left_out.after, left_out.until))
    }

    /// What was requested has come: all up to `reached`.
    pub(super) fn refill(&mut self, reached: u64, messages: impl Iterator<Item = Message<T>>) {
        let Some(mut left_out) = self.left_out.take() else { return };
        for message in messages {
            left_out.count = left_out.count.saturating_sub(1);
            self.push(message);
        }
        if reached >= left_out.until {
            self.messages.append(&mut left_out.later);
            return;
        }
        (left_out.after, left_out.is_requested) = (reached, false);
        // What came since is behind the gap that is still there.
        let last = left_out.later.pop_back();
        self.left_out = Some(left_out);
        if let Some(last) = last {
            self.bytes -= last.bytes;
            self.leave_out(last.sequence);
        }
    }
}
