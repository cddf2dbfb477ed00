//! What can keep payments from running.

/// Payments do not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger of the simulated provider does not open.
    #[error("the ledger of the simulated provider, {file}, does not open")]
    Provider {
        /// The ledger.
        file: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The engine stopped.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}
