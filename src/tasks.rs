//! The one place that spawns tasks: each has a name, all stop together, and an essential one that ends
//! early stops the node loudly.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// A handle to the node's tasks; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    failed: Arc<AtomicBool>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task whose panic harms only itself: it is logged and the node carries on.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.run(name, false, task);
    }

    /// Runs a task that the node cannot do without: when it ends before the node stops, by panic or by
    /// return, the node stops and [`Tasks::failed`] says so.
    pub fn spawn_essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.run(name, true, task);
    }

    fn run(&self, name: &'static str, essential: bool, task: impl Future<Output = ()> + Send + 'static) {
        let (stopping, failed) = (self.stopping.clone(), Arc::clone(&self.failed));
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        self.tracker.spawn(async move {
            let outcome = CatchUnwind(AssertUnwindSafe(Box::pin(task))).await;
            if outcome.is_err() {
                error!(task = name, "task panicked");
            }
            if essential && !stopping.is_cancelled() {
                error!(task = name, "essential task ended, stopping the node");
                failed.store(true, Ordering::SeqCst);
                stopping.cancel();
            }
        });
    }

    /// Runs `work`, which keeps a thread busy, beside the threads that run tasks. How many run at once is the
    /// caller's to bound. `None` when it panicked, which is logged, or when the runtime is gone.
    pub async fn compute<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let outcome = self.tracker.spawn_blocking(work).await;
        outcome.inspect_err(|error| error!(task = name, %error, "computation failed")).ok()
    }

    /// Cancelled once the node is to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Asks every task to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Whether an essential task ended early.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Asks every task to stop and waits for them, at most `grace`. True when all have ended.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.stop();
        self.tracker.close();
        let ended = tokio::time::timeout(grace, self.tracker.wait()).await.is_ok();
        if !ended {
            warn!(tasks = self.tracker.len(), "tasks still running after the grace period");
        }
        ended
    }
}

/// A future that turns a panic of the inner one into an error.
struct CatchUnwind<F>(AssertUnwindSafe<std::pin::Pin<Box<F>>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = std::thread::Result<F::Output>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let inner = &mut self.0.0;
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx))) {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(output)) => std::task::Poll::Ready(Ok(output)),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_an_ordinary_task_stops_nothing() {
        let tasks = Tasks::new();
        tasks.spawn("faulty", async { panic!("on purpose") });
        tokio::task::yield_now().await;
        assert!(!tasks.stopping().is_cancelled());
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
        assert!(!tasks.failed());
    }

    #[tokio::test]
    async fn a_panic_in_a_computation_stops_nothing() {
        let tasks = Tasks::new();
        assert_eq!(tasks.compute("sum", || 1 + 1).await, Some(2));
        let broken: Option<()> = tasks.compute("broken", || panic!("on purpose")).await;
        assert_eq!(broken, None);
        assert!(!tasks.stopping().is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_in_an_essential_task_stops_the_node() {
        let tasks = Tasks::new();
        tasks.spawn_essential("faulty", async { panic!("on purpose") });
        tasks.stopping().cancelled().await;
        assert!(tasks.failed());
    }

    #[tokio::test]
    async fn an_essential_task_may_end_when_the_node_stops() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        tasks.spawn_essential("loop", async move { stopping.cancelled().await });
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
        assert!(!tasks.failed());
    }
}
