//! Holds a worker up before it appends, as a server that is slow would.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use engine::{Faults, Step};
use tokio::sync::oneshot;

/// Open at first.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Closed>>>);

struct Closed {
    /// Told when the first append waits.
    entered: Option<oneshot::Sender<()>>,
    /// What waits hears of its end.
    wait: Arc<Mutex<mpsc::Receiver<()>>>,
    _open: mpsc::Sender<()>,
}

impl Gate {
    /// Faults that never strike, and wait at the gate.
    pub(crate) fn faults(&self) -> Faults {
        self.faults_beside(|_| false)
    }

    /// Faults that strike where `strikes` says so, and wait at the gate.
    pub(crate) fn faults_beside(
        &self,
        strikes: impl Fn(Step) -> bool + Send + Sync + 'static,
    ) -> Faults {
        let gate = self.clone();
        Faults::when(move |_, step| {
            if step == Step::BeforePublish {
                gate.pass();
            }
            strikes(step)
        })
    }

    /// From now on nothing is appended; returns what says that something is about to be.
    pub(crate) fn close(&self) -> oneshot::Receiver<()> {
        let (entered, entering) = oneshot::channel();
        let (open, wait) = mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        *lock(&self.0) = Some(Closed { entered: Some(entered), wait, _open: open });
        entering
    }

    pub(crate) fn open(&self) {
        *lock(&self.0) = None;
    }

    fn pass(&self) {
        let closed = lock(&self.0).as_mut().map(|closed| {
            if let Some(entered) = closed.entered.take() {
                entered.send(()).ok();
            }
            closed.wait.clone()
        });
        if let Some(wait) = closed {
            // An error as soon as the other end is dropped.
            tokio::task::block_in_place(|| lock(&wait).recv().ok());
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
