use std::future::{Future, poll_fn};
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
        let mut task = Box::pin(task);
        tokio::task::spawn_local(poll_fn(move |cx| {
            lane.begin_turn();
            task.as_mut().poll(cx)
        }));
    }
}
