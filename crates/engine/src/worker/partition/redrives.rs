//! Operators' requests to handle again what is parked.

use super::{BatchOutcome, Setup, Worker};
use crate::{
    Error, Service,
    operate::parked::{self, RedriveRequest},
    projection::{in_time::in_time, store},
    worker::batch::Batch,
};

impl<S: Service> Worker<'_, S> {
    /// Handles what is parked for an aggregate again, in order.
    pub(super) async fn redrive(&mut self, request: RedriveRequest) -> Result<(), Error> {
        let Setup { database, context, .. } = self.setup;
        let parked = in_time(store::parked_with(&database.pool, &request.redrive.id)).await?;
        match parked::inputs::<S>(context, parked, &request.redrive).await {
            Ok(inputs) => {
                let redriven = inputs.iter().filter_map(|input| input.redriven.as_ref());
                let ids = redriven.map(|redriven| redriven.parked_id.clone()).collect();
                let mut batch = Batch::empty();
                for input in inputs {
                    batch.push(input);
                }
                if let Some(BatchOutcome { batch }) = self.handle(batch).await? {
                    self.setup.projected.want(self.projection.last());
                    self.redrives.push((batch, request, ids));
                }
            }
            Err(problem) => request.answer(Err(problem)),
        }
        Ok(())
    }

    pub(super) async fn answer_redrives(&mut self) -> Result<(), Error> {
        let projected = self.projected;
        for (_, request, ids) in self.redrives.extract_if(.., |(batch, ..)| *batch <= projected) {
            let left = in_time(store::still_parked(&self.setup.database.pool, &ids)).await?;
            request.answer(Ok(parked::outcome(&ids, &left)));
        }
        Ok(())
    }
}
