//! Password checks are slow on purpose. They run beside the threads that serve clients, a few at once, and
//! only so many wait: a flood of CONNECTs neither stops the node nor fills its memory.

use std::sync::Arc;

use tokio::sync::Semaphore;

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

    /// The outcome of a check; first come, first served. Dropping the future gives up the place, but a check that
    /// has begun keeps its thread until its end.
    ///
    /// # Errors
    /// Too many wait already, or the node is stopping.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReasonCode> {
        let _place = self.places.try_acquire().map_err(|_| ReasonCode::ServerBusy)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| ReasonCode::ServerUnavailable)?;
        let checked = self.tasks.compute("password check", move || {
            let outcome = check();
            drop(thread);
            outcome
        });
        checked.await.ok_or(ReasonCode::ServerUnavailable)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test]
    async fn threads_and_places_are_bounded_and_come_back() {
        let checks = PasswordChecks::with_bounds(Tasks::new(), 1, 2);
        let (release, held) = sync_channel::<()>(0);
        let first = checks.run(move || held.recv().is_ok());
        let second = checks.run(|| "second");
        tokio::pin!(first, second);
        // Polled once: the first has the thread, the second waits for it, and there is no third place.
        for _ in 0..2 {
            tokio::select! {
                biased;
                outcome = &mut first => panic!("{outcome:?}"),
                outcome = &mut second => panic!("{outcome:?}"),
                outcome = checks.run(|| "third") => assert_eq!(outcome, Err(ReasonCode::ServerBusy)),
            }
        }
        release.send(()).unwrap();
        assert_eq!(first.await, Ok(true));
        assert_eq!(second.await, Ok("second"));
        assert_eq!(checks.run(|| "fourth").await, Ok("fourth"));
    }

    #[tokio::test]
    async fn a_check_that_panics_or_is_given_up_leaves_its_place() {
        let checks = PasswordChecks::with_bounds(Tasks::new(), 1, 1);
        let broken: Result<(), _> = checks.run(|| panic!("on purpose")).await;
        assert_eq!(broken, Err(ReasonCode::ServerUnavailable));
        let (release, held) = sync_channel::<()>(0);
        {
            let given_up = checks.run(move || held.recv().is_ok());
            tokio::pin!(given_up);
            tokio::select! {
                biased;
                outcome = &mut given_up => panic!("{outcome:?}"),
                () = std::future::ready(()) => {}
            }
        }
        // Its place is free at once, its thread when it ends.
        let next = checks.run(|| "next");
        tokio::pin!(next);
        tokio::select! {
            biased;
            outcome = &mut next => panic!("{outcome:?}"),
            () = std::future::ready(()) => {}
        }
        release.send(()).unwrap();
        assert_eq!(next.await, Ok("next"));
    }
}
