use std::future::Future;

/// Runs hyper's tasks on the lane's own thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneExecutor;

impl<F> hyper::rt::Executor<F> for LaneExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
