//! The messages of a plan in parts: each is appended as one, with the positions of the inputs that it
//! comes from.

use super::{MAX_BATCH_BYTES, Planner};
use crate::{
    Service,
    jetstream::{
        headers::POSITIONS,
        publish::{MAX_BATCH, MAX_SINGLES, Outgoing},
    },
    projection::{fold::is_replica, positions::LOG},
    worker::inputs::Input,
};

impl<S: Service> Planner<'_, S> {
    /// The input's events go into the part at hand, or into the next one when they do not fit:
    /// a part ends where an input ends.
    pub(super) fn finish_input(&mut self, input: &Input<S>) {
        let bytes = self.current.iter().map(|message| message.payload.len()).sum::<usize>();
        let is_full = self.part.len() + self.current.len() > MAX_BATCH
            || self.part_bytes + bytes > MAX_BATCH_BYTES;
        if is_full {
            self.close_part();
        }
        if !self.current.is_empty() && input.redriven.is_some() {
            self.plan.redriven.push((input.shop.clone(), input.aggregate.clone()));
        }
        if std::mem::take(&mut self.stays_parked) {
            self.still_parked.insert((input.shop.clone(), input.aggregate.clone()));
        }
        self.part_bytes += bytes;
        self.part.append(&mut self.current);
        self.plan.replies.append(&mut self.replies);
        self.plan.after_append.append(&mut self.after_append);
        for kind in self.kinds.drain(..) {
            *self.plan.events.entry(kind).or_default() += 1;
        }
        if let Some(position) = &input.position {
            self.projection.positions.set(input.source, position.clone());
        }
        // What may be stored alone carries its own positions: see `close_part`.
        if self.part.len() <= MAX_SINGLES {
            self.add_positions();
        }
    }

    /// Lets the last message carry the positions as they are.
    fn add_positions(&mut self) {
        if let Some(last) = self.part.last_mut() {
            let header = self.projection.positions.to_header(is_not_in_header::<S>);
            last.headers.insert(POSITIONS, header);
        }
    }

    /// Ends a part. A few events, each of an input of its own, are sooner in the log one by one: for
    /// an atomic batch the server makes a store in files of its own.
    pub(super) fn close_part(&mut self) {
        if self.part.is_empty() {
            return;
        }
        self.add_positions();
        let part = std::mem::take(&mut self.part);
        self.part_bytes = 0;
        self.projection.fence();
        let carries = |message: &Outgoing| message.headers.get(POSITIONS).is_some();
        if part.len() <= MAX_SINGLES && part.iter().all(carries) {
            self.plan.parts.extend(part.into_iter().map(|message| vec![message]));
        } else {
            self.plan.parts.push(part);
        }
    }
}

/// Whether a position has no place in the header: replicas are read from the beginning by a rebuild,
/// and the position in the log is the sequence of the message itself.
fn is_not_in_header<S: Service>(source: &str) -> bool {
    source == LOG || is_replica::<S>(source)
}
