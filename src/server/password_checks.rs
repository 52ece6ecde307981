//! Password checks are slow on purpose. They run beside the threads that serve clients, a few at once, and
//! only so many wait: a flood of CONNECTs neither stops the node nor fills its memory.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::broker::{PasswordCheck, UserName};
use crate::codec::ReasonCode;
use crate::tasks::Tasks;

/// Clients that wait for their check or have it done; more are told that the server is busy.
const WAITING_MAX: usize = 1_024;

/// The node's checks.
pub(super) struct PasswordChecks {
    tasks: Tasks,
    /// Threads that may be kept busy.
    threads: Arc<Semaphore>,
    places: Semaphore,
}

impl PasswordChecks {
    /// Half of the machine's threads check, one at least, so that the other half serves those who are in.
    pub(super) fn new(tasks: Tasks) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() / 2).max(1);
        Self::with_bounds(tasks, threads, WAITING_MAX)
    }

    fn with_bounds(tasks: Tasks, threads: usize, places: usize) -> Self {
        Self { tasks, threads: Arc::new(Semaphore::new(threads)), places: Semaphore::new(places) }
    }

    /// Who the password proves its client to be; first come, first served. Dropping the future gives up the
    /// place, and a check that has begun keeps its thread until its end.
    ///
    /// # Errors
    /// Too many wait already, or the node is stopping.
    pub(super) async fn run(&self, check: PasswordCheck) -> Result<Option<UserName>, ReasonCode> {
        let _place = self.places.try_acquire().map_err(|_| ReasonCode::ServerBusy)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| ReasonCode::ServerUnavailable)?;
        let checked = self.tasks.compute("password check", move || {
            let user = check.run();
            drop(thread);
            user
        });
        checked.await.ok_or(ReasonCode::ServerUnavailable)
    }
}
