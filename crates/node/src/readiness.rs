//! Whether a process can do its work: measured all the time, and told to whoever asks it without a gateway.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use engine::{Engine, PartitionState as State, PartitionStatus};
pub use gateway::HealthAnswer;
use gateway::PartitionState;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::services::Component;

/// How often the broker is asked, and how long it may take to answer.
const READINESS_INTERVAL: Duration = Duration::from_secs(2);

/// How old the broker's last answer may be. It is twice renewed in this time, unless the process is stuck.
const MAX_CHECK_AGE: Duration = Duration::from_secs(10);

/// The health of this process, for a listener that is no gateway; cheap to clone. Until the process
/// [serves](crate::serve::serve), it runs and is not ready.
#[derive(Debug, Clone, Default)]
pub struct ProcessHealth(Arc<Mutex<Option<Serving>>>);

/// What a process that serves is known by.
#[derive(Debug)]
struct Serving {
    engine: Engine,
    services: OwnServices,
    shutdown: CancellationToken,
    /// When the broker was last asked, and why it could not be used then.
    checked: Option<(Instant, Option<BrokerProblem>)>,
}

type BrokerProblem = Arc<dyn Error + Send + Sync>;

fn broker_problem(problem: impl Into<Box<dyn Error + Send + Sync>>) -> BrokerProblem {
    Arc::from(problem.into())
}

impl ProcessHealth {
    /// What `/healthz` answers: the process runs.
    pub fn healthz() -> HealthAnswer {
        HealthAnswer::up()
    }

    /// What `/readyz` answers: every partition of the services that the process runs. Asks nobody.
    pub fn readyz(&self) -> HealthAnswer {
        let process = self.lock();
        let Some(serving) = &*process else {
            let problem = broker_problem("the process is not connected to NATS yet");
            return HealthAnswer::readiness(gateway::Readiness::default(), Some(problem));
        };
        if serving.shutdown.is_cancelled() {
            return HealthAnswer::stopping();
        }
        let problem = match &serving.checked {
            None => Some(broker_problem("the broker has not been asked yet")),
            Some((at, _)) if at.elapsed() > MAX_CHECK_AGE => Some(broker_problem(format!(
                "the process is stuck: it has not asked the broker for {:?}",
                at.elapsed()
            ))),
            Some((_, problem)) => problem.clone(),
        };
        HealthAnswer::readiness(serving.services.readiness(serving.engine.partitions()), problem)
    }

    /// Measures again and again until `shutdown` whether the process is ready, as `/readyz` says it.
    pub(crate) async fn measure(
        self,
        engine: Engine,
        services: OwnServices,
        shutdown: CancellationToken,
    ) {
        let client = engine.client();
        *self.lock() = Some(Serving {
            engine: engine.clone(),
            services: services.clone(),
            shutdown: shutdown.clone(),
            checked: None,
        });
        let mut was_usable = true;
        loop {
            let asked = timeout(READINESS_INTERVAL, client.ready()).await;
            let problem = match asked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(broker_problem(error)),
                Err(_) => Some(broker_problem(format!(
                    "JetStream did not answer within {READINESS_INTERVAL:?}"
                ))),
            };
            match &problem {
                Some(error) if was_usable => {
                    let error = format!("{:#}", anyhow::anyhow!(error.clone()));
                    tracing::error!(error, "the broker cannot be used");
                }
                None if !was_usable => tracing::info!("the broker can be used again"),
                _ => {}
            }
            was_usable = problem.is_none();
            if let Some(serving) = &mut *self.lock() {
                serving.checked = Some((Instant::now(), problem));
            }
            let can_work = was_usable && services.readiness(engine.partitions()).ready;
            engine::metrics::ready(can_work && !shutdown.is_cancelled());
            if shutdown.run_until_cancelled(sleep(READINESS_INTERVAL)).await.is_none() {
                return engine::metrics::ready(false);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Serving>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The services that a process runs.
#[derive(Debug, Clone)]
pub(crate) struct OwnServices {
    pub(crate) names: Vec<&'static str>,
    /// How many partitions each has.
    pub(crate) partitions: u32,
}

impl OwnServices {
    /// Those among the components.
    pub(crate) fn of(components: &[Component], partitions: u32) -> Self {
        let name = |component: &Component| match component {
            Component::Service(service) => Some(service.name),
            Component::Gateway => None,
        };
        Self { names: components.iter().filter_map(name).collect(), partitions }
    }

    /// A process is not ready when nothing of a service can be handled in it. One failing partition of
    /// several is named, and the others go on.
    pub(crate) fn readiness(&self, statuses: Vec<PartitionStatus>) -> gateway::Readiness {
        let is_failing = |status: &PartitionStatus| matches!(status.state, State::Failing { .. });
        let can_work = |name: &&str| {
            let mut of_service = statuses.iter().filter(|status| status.service == *name);
            of_service.any(|status| !is_failing(status))
        };
        let ready = self.names.iter().all(can_work);
        let has_not_begun = |name: &&&str| statuses.iter().all(|status| status.service != **name);
        let starting = self.names.iter().filter(has_not_begun).flat_map(|name| {
            (0..self.partitions).map(|partition| gateway::PartitionStatus {
                service: (*name).to_owned(),
                partition,
                state: PartitionState::Starting,
                error: None,
                problems: Vec::new(),
            })
        });
        let starting: Vec<_> = starting.collect();
        let partitions = statuses.into_iter().map(shown).chain(starting).collect();
        gateway::Readiness { ready, partitions }
    }
}

fn shown(status: PartitionStatus) -> gateway::PartitionStatus {
    let PartitionStatus { service, partition, state, problems } = status;
    let (state, error) = match state {
        State::Held => (PartitionState::Held, None),
        State::Waiting => (PartitionState::Waiting, None),
        State::Recovering => (PartitionState::Recovering, None),
        State::Failing { reason, .. } => (PartitionState::Failing, Some(reason)),
    };
    gateway::PartitionStatus { service, partition, state, error, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(service: &str, partition: u32, state: State) -> PartitionStatus {
        PartitionStatus { service: service.to_owned(), partition, state, problems: Vec::new() }
    }

    fn failing() -> State {
        State::Failing { reason: "no event".to_owned(), failures: 1 }
    }

    #[track_caller]
    fn check(statuses: &[PartitionStatus], ready: bool, shown: &[(&str, u32, PartitionState)]) {
        let services = OwnServices { names: vec!["order", "shop"], partitions: 2 };
        let found = services.readiness(statuses.to_vec());
        let listed: Vec<_> = found
            .partitions
            .iter()
            .map(|it| (it.service.as_str(), it.partition, it.state))
            .collect();
        assert_eq!((found.ready, listed.as_slice()), (ready, shown));
    }

    #[test]
    fn a_process_is_ready_when_some_partition_of_each_of_its_services_does_not_fail() {
        let [order, shop] = ["order", "shop"]
            .map(|service| [0, 1].map(|partition| status(service, partition, State::Held)));
        let held = |service, partition| (service, partition, PartitionState::Held);
        let all = [held("order", 0), held("order", 1), held("shop", 0), held("shop", 1)];
        check(&[&order[..], &shop[..]].concat(), true, &all);
        let starting = |service, partition| (service, partition, PartitionState::Starting);
        let some = [held("order", 0), held("order", 1), starting("shop", 0), starting("shop", 1)];
        check(&order, false, &some);

        let failed = |partition| status("shop", partition, failing());
        let shown = |partition| ("shop", partition, PartitionState::Failing);
        let one = [order[0].clone(), shop[0].clone(), failed(1)];
        check(&one, true, &[held("order", 0), held("shop", 0), shown(1)]);
        let both = [order[0].clone(), failed(0), failed(1)];
        check(&both, false, &[held("order", 0), shown(0), shown(1)]);
    }
}
