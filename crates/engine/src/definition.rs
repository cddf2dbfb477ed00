//! A service as it is registered, and as an operator handles all services alike.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    Effects, Engine, Error, Rebuilt, Service, Verified, Voided, worker::effects::EffectsOf,
};

/// A service, and what it can do beside what every service does.
pub struct Definition<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) effects: Option<EffectsOf<S>>,
}

impl<S: Service> Clone for Definition<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), effects: self.effects }
    }
}

impl<S: Service> std::fmt::Debug for Definition<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has_effects = self.effects.is_some();
        f.debug_struct(S::NAME).field("has_effects", &has_effects).finish_non_exhaustive()
    }
}

impl<S: Service> Definition<S> {
    /// A service without effects.
    pub fn new(service: S) -> Self {
        Self { service: Arc::new(service), effects: None }
    }

    /// The service asks something of the outside world.
    #[must_use]
    pub fn with_effects(mut self) -> Self
    where
        S: Effects,
    {
        self.effects = Some(EffectsOf::new());
        self
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }
}

/// What comes of an operator's command.
type Outcome<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What an operator does with a service, without one that runs.
#[derive(Clone, Copy)]
pub struct Operator {
    /// The name of the service.
    pub name: &'static str,
    rebuild: fn(&Engine) -> Outcome<'_, Rebuilt>,
    verify: fn(&Engine) -> Outcome<'_, Verified>,
    void: for<'a> fn(&'a Engine, u32, u64, &'a str) -> Outcome<'a, Voided>,
    reset: for<'a> fn(&'a Engine, u32, &'a str, u64, &'a str) -> Outcome<'a, u64>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Operator {
    /// The operator of a service.
    pub const fn of<S: Service>() -> Self {
        Self {
            name: S::NAME,
            rebuild: |engine| Box::pin(engine.rebuild::<S>()),
            verify: |engine| Box::pin(engine.verify::<S>()),
            void: |engine, partition, sequence, reason| {
                Box::pin(engine.void_message::<S>(partition, sequence, reason))
            },
            reset: |engine, partition, source, sequence, reason| {
                Box::pin(engine.reset_position::<S>(partition, source, sequence, reason))
            },
        }
    }

    /// See [`Engine::rebuild`].
    pub async fn rebuild(&self, engine: &Engine) -> Result<Rebuilt, Error> {
        (self.rebuild)(engine).await
    }

    /// See [`Engine::verify`].
    pub async fn verify(&self, engine: &Engine) -> Result<Verified, Error> {
        (self.verify)(engine).await
    }

    /// See [`Engine::void_message`].
    pub async fn void_message(
        &self,
        engine: &Engine,
        partition: u32,
        sequence: u64,
        reason: &str,
    ) -> Result<Voided, Error> {
        (self.void)(engine, partition, sequence, reason).await
    }

    /// See [`Engine::reset_position`].
    pub async fn reset_position(
        &self,
        engine: &Engine,
        partition: u32,
        source: &str,
        sequence: u64,
        reason: &str,
    ) -> Result<u64, Error> {
        (self.reset)(engine, partition, source, sequence, reason).await
    }
}
