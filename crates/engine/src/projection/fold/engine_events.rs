//! What the engine records for itself, folded into its own rows.

use protocol::proto::engine_event::Kind;

use super::{Projection, is_replica};
use crate::{Recorded, Service, projection::engine_rows::ParkedRow};

impl<S: Service> Projection<S> {
    /// Folds an event that the engine records for itself.
    pub(super) fn fold_engine_event(&mut self, recorded: Recorded<()>, kind: Kind, sequence: u64) {
        match kind {
            Kind::Positions(_) | Kind::Voided(_) => {}
            Kind::Answered(_) if sequence < self.forgotten_later => {}
            Kind::Answered(answered) => {
                let answers = &mut self.state(&recorded.shop).answers;
                answers.put(answered.command_id.clone(), (answered, sequence).into());
            }
            Kind::Parked(parked) => {
                let id = recorded.id.to_string();
                let row = ParkedRow {
                    id: id.clone(),
                    partition: self.partition,
                    shop: recorded.shop.clone(),
                    aggregate_id: parked.aggregate_id,
                    source: parked.source,
                    sequence: parked.sequence,
                    subject: parked.subject,
                    payload: parked.payload,
                    is_in_source: parked.is_in_source,
                    reason: parked.reason,
                    parked_at: recorded.time,
                    log_sequence: sequence,
                    cause_id: parked.cause_id,
                    correlation_id: recorded.context.correlation_id,
                    traceparent: recorded.context.traceparent,
                };
                let aggregate = (row.shop.clone(), row.aggregate_id.clone());
                self.pending.parked.push((id.clone(), aggregate));
                self.state(&recorded.shop).parked.put(id, row);
            }
            Kind::Redriven(redriven) => {
                self.state(&recorded.shop).parked.remove(&redriven.parked_id);
                self.pending.unparked.push(redriven.parked_id);
            }
            Kind::Dropped(dropped) => {
                self.state(&recorded.shop).parked.remove(&dropped.parked_id);
                self.pending.unparked.push(dropped.parked_id.clone());
                if !dropped.command_id.is_empty() && sequence >= self.forgotten_later {
                    let answers = &mut self.state(&recorded.shop).answers;
                    answers.put(dropped.command_id.clone(), (dropped, sequence).into());
                }
            }
            Kind::AnswersForgotten(forgotten) => {
                let days = self.pending.days.get_or_insert_with(|| self.days.clone());
                days.retain(|(_, first)| *first >= forgotten.before);
                self.pending.forgotten = Some(forgotten.before);
            }
            // A replica is read from the beginning, whatever somebody once recorded.
            Kind::PositionReset(reset) if is_replica::<S>(&reset.source) => {}
            Kind::PositionReset(reset) => {
                let positions =
                    self.pending.positions.get_or_insert_with(|| self.positions.clone());
                positions.set(&reset.source, reset.sequence);
            }
        }
    }
}
