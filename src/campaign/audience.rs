use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::replay::Progress;

/// Who hears how a campaign goes.
pub trait Audience: Sync {
    /// A line for a person.
    fn say(&self, line: &str);

    /// A trace of `exchanges` is read, of which `read` have been so far. What comes back is dropped when it is over.
    fn reading(&self, exchanges: u64, read: &Arc<AtomicU64>) -> Box<dyn Send>;

    /// A run begins. What comes back is dropped when it is over.
    fn watch(&self, ticket: &Ticket, progress: &Progress) -> Box<dyn Send>;
}

/// A run, for those who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What is run, in a few words: the target's name, and the load where it changes.
    pub name: String,
    /// Requests that it will send.
    pub planned: u64,
    /// From its first send to its last.
    pub span: Duration,
    /// Which of how many, where there are several and their number is known.
    pub place: Option<(u64, u64)>,
}
