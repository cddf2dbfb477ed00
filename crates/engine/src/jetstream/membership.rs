//! Who runs which partition.
//!
//! Each process is one member. It renews its membership with one message, whatever it runs, and
//! claims each partition once, with a message that names it; a claim of a member that is not alive
//! is free. Everybody follows the stream and holds all of it in memory ([`table`]), so nobody asks
//! the server for anything. The stream is in the server's memory: renewals cost no write to its
//! disk, and when it is lost, its members write themselves and their claims into it again.
//!
//! Two processes that run with one identity, because its file was copied, would take each other's
//! claims for their own. The one that started later notices that the other renews the membership as
//! well, and takes another identity.
//!
//! Claims are for efficiency: two workers on one partition would only waste work. Safety is the
//! expectation on every append and the compare-and-set in every projection.

mod follow;
mod identity;
mod table;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{Context, stream::Config},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    identity::Identity,
    table::{Next, Slot, Table},
};
use crate::{
    Error,
    jetstream::publish::{Outgoing, PublishError, publish},
    jetstream::retry::jittered,
};

pub(crate) use self::table::ClaimLost;

/// The stream of the members and their claims.
pub(crate) const STREAM: &str = "LEASES";
/// The pause before something is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// This process among all that share the partitions; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    shared: Arc<Shared>,
    /// Renews and follows as long as there is a clone.
    _task: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    context: Context,
    /// The stream, as it is made again when it is lost.
    stream: Config,
    identity: Mutex<Identity>,
    instance: String,
    /// This start of the process.
    start: String,
    /// Renewals sent.
    renewals: AtomicU64,
    table: Mutex<Table>,
    /// What the process takes part in, and how many times; the number of times in all.
    participations: watch::Sender<BTreeMap<Option<&'static str>, usize>>,
    /// Tells that the table changed.
    changed: watch::Sender<()>,
}

impl Membership {
    /// Joins. With a file, the process has the identity of the one before it that used the file,
    /// and need not wait for the claims of that one.
    pub(crate) fn join(
        context: &Context,
        stream: Config,
        instance: &str,
        identity_file: Option<&Path>,
    ) -> Self {
        let identity = Identity::take(identity_file);
        let shared = Arc::new(Shared {
            context: context.clone(),
            stream,
            table: Mutex::new(Table::new(&identity.id)),
            identity: Mutex::new(identity),
            instance: instance.to_owned(),
            start: identity::fresh(),
            renewals: AtomicU64::new(0),
            participations: watch::Sender::default(),
            changed: watch::Sender::default(),
        });
        let running = shared.clone();
        let task = tokio::spawn(async move {
            tokio::join!(running.renew_repeatedly(), running.follow_repeatedly());
        });
        Self { shared, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Takes part in sharing the partitions of a service, or, without one, only in the members
    /// that are alive.
    pub(crate) async fn participate(&self, service: Option<&'static str>) -> Participation {
        self.shared.participations.send_modify(|all| *all.entry(service).or_default() += 1);
        self.shared.renew().await;
        Participation { membership: self.clone(), service, is_counted: true }
    }

    /// Waits until this process should run a partition, one of `partitions` of the service, and
    /// claims it. The process takes part in the service.
    pub(crate) async fn claim(
        &self,
        service: &'static str,
        partition: u32,
        partitions: u32,
    ) -> Claim {
        self.claim_within(service, partition, Some(partitions)).await
    }

    /// Claims a partition, whatever this process's share is. An error when another process has it
    /// and does not release it before the timeout.
    pub(crate) async fn acquire(
        &self,
        service: &'static str,
        partition: u32,
        within: Duration,
    ) -> Result<Claim, Error> {
        if let Ok(claim) = timeout(within, self.claim_within(service, partition, None)).await {
            return Ok(claim);
        }
        let table = self.shared.table();
        match table.holder(&(service.to_owned(), partition)) {
            Some(holder) => Err(Error::LeaseHeld { service, partition, holder }),
            None => Err(Error::jetstream("claim a partition in", STREAM, "timed out")),
        }
    }

    async fn claim_within(
        &self,
        service: &'static str,
        partition: u32,
        partitions: Option<u32>,
    ) -> Claim {
        let slot = (service.to_owned(), partition);
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let next = self.shared.table().next(&slot, partitions);
            let (by, revision) = match next {
                Next::Wait => {
                    // The sender lives as long as `self`.
                    changed.changed().await.ok();
                    continue;
                }
                Next::Take(revision) => (Some(self.shared.id()), revision),
                Next::GiveUp(revision) => (None, revision),
            };
            let is_taken = by.is_some();
            match self.shared.write(&slot, by, revision).await {
                Ok(()) if is_taken => {
                    let shared = self.shared.clone();
                    return Claim { shared, slot, service, partitions, is_released: false };
                }
                Ok(()) => {}
                // Somebody else was first: the table is about to say who.
                Err(error) => {
                    tracing::debug!(service, partition, %error, "could not write a claim");
                    sleep(jittered(RETRY_PAUSE)).await;
                }
            }
        }
    }
}

/// A service of which this process takes its share.
#[derive(Debug)]
pub(crate) struct Participation {
    membership: Membership,
    service: Option<&'static str>,
    is_counted: bool,
}

impl Participation {
    /// Asks for no more partitions, and lets the others take those that are released from now on.
    pub(crate) async fn withdraw(&mut self) {
        if let Some(service) = self.service.take() {
            self.membership.shared.participations.send_modify(|all| {
                remove(all, Some(service));
                *all.entry(None).or_default() += 1;
            });
            self.membership.shared.renew().await;
        }
    }

    /// Leaves. With the last participation the process says that it is no longer a member, so that
    /// nobody waits for it.
    pub(crate) async fn leave(mut self) {
        self.end();
        self.membership.shared.renew().await;
        // So that it is on its way before the process ends.
        self.membership.shared.context.client().flush().await.ok();
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.membership.shared.participations.send_modify(|all| remove(all, self.service));
        }
    }
}

/// For tests, as if the process was killed: nobody is informed.
impl Drop for Participation {
    fn drop(&mut self) {
        self.end();
    }
}

fn remove(all: &mut BTreeMap<Option<&'static str>, usize>, service: Option<&'static str>) {
    if let Some(count) = all.get_mut(&service) {
        *count -= 1;
        if *count == 0 {
            all.remove(&service);
        }
    }
}

/// A partition that this process runs. Dropped without [`Claim::release`], the claim stays with the
/// process, and its next worker takes it.
#[derive(Debug)]
pub(crate) struct Claim {
    shared: Arc<Shared>,
    slot: Slot,
    service: &'static str,
    partitions: Option<u32>,
    is_released: bool,
}

impl Claim {
    /// Waits until the worker must stop, and says why. As long as nobody else has claimed the
    /// partition, an unreachable server is no reason: nobody else can claim it then either.
    pub(crate) async fn lost(&self) -> ClaimLost {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(lost) = self.shared.table().lost(&self.slot, self.partitions) {
                return lost;
            }
            changed.changed().await.ok();
        }
    }

    /// The error of a worker whose partition another process has taken.
    pub(crate) fn taken_over(&self) -> Error {
        Error::LeaseLost { service: self.service, partition: self.slot.1 }
    }

    /// Releases the partition, so that the next worker need not wait.
    pub(crate) async fn release(mut self) {
        self.is_released = true;
        let revision = self.shared.table().let_go(&self.slot, true);
        if let Some(revision) = revision
            && let Err(error) = self.shared.write(&self.slot, None, revision).await
        {
            let (service, partition) = (self.service, self.slot.1);
            tracing::debug!(service, partition, %error, "could not release the partition");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_released {
            self.shared.table().let_go(&self.slot, false);
            self.shared.changed.send_replace(());
        }
    }
}

/// A claim that is being written; what came of it is noted when this is dropped, so that a write
/// that nobody waits for any more does not count for ever.
struct Writing<'a> {
    shared: &'a Shared,
    slot: &'a Slot,
    by: Option<String>,
    stored: Option<(u64, u64)>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.shared.table().written(self.slot, self.by.take(), self.stored);
        self.shared.changed.send_replace(());
    }
}

impl Shared {
    /// The member that this process is.
    fn id(&self) -> String {
        self.identity().id.clone()
    }

    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a claim or its release, after the revision that is known.
    async fn write(
        &self,
        slot: &Slot,
        by: Option<String>,
        revision: u64,
    ) -> Result<(), PublishError> {
        let payload = by.clone().unwrap_or_default();
        let mut writing = Writing { shared: self, slot, by, stored: None };
        let epoch = self.table().epoch();
        let sequence = self.publish_claim(slot, payload, revision).await?;
        writing.stored = Some((sequence, epoch));
        Ok(())
    }

    async fn publish_claim(
        &self,
        (service, partition): &Slot,
        payload: String,
        revision: u64,
    ) -> Result<u64, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
        let subject = format!("lease.{service}.{partition}");
        let message = Outgoing { subject, headers, payload: payload.into_bytes().into() };
        publish(&self.context.client(), vec![message], None).await.map(|stored| stored.sequence)
    }
}
