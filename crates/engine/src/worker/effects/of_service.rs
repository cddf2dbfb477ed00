//! The effects of a service, whatever their type.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{Attempt, Attempted, Context, Effects, Operation, OperationColumn};

/// The effects of a service, whatever their type: what the worker calls.
pub(crate) struct EffectsOf<S: crate::Service> {
    pub(crate) column: OperationColumn,
    pub(crate) destination: fn(&S, &Operation) -> String,
    pub(crate) context: fn(&Operation) -> Context,
    #[expect(clippy::type_complexity, reason = "a future behind a function pointer")]
    pub(crate) execute:
        fn(Arc<S>, Operation, Attempt) -> Pin<Box<dyn Future<Output = Attempted<S::Input>> + Send>>,
}

impl<S: crate::Service> Clone for EffectsOf<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: crate::Service> Copy for EffectsOf<S> {}

impl<S: Effects> EffectsOf<S> {
    pub(crate) fn new() -> Self {
        Self {
            column: S::OPERATION,
            destination: S::destination,
            context: S::context,
            execute: |service, operation, attempt| {
                Box::pin(async move { service.execute(&operation, attempt).await })
            },
        }
    }
}
