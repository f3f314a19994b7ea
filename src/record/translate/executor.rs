use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use crate::record::lane::Lane;

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

/// The same for a client's exchanges, and counts their turns.
#[derive(Clone)]
pub(super) struct TurnsExecutor(pub(super) Rc<Lane>);

impl<F> hyper::rt::Executor<F> for TurnsExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        let lane = Rc::clone(&self.0);
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                lane.begin_turn();
                task.as_mut().poll(cx)
            })
            .await
        });
    }
}
