//! What whoever measures a mirror is told, and where what comes of it goes.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::felt::Lost;
use super::missing::Unmeasured;
use crate::anonymise::Conversation;
use crate::dialect::ResponseSight;
use crate::shape::Exchange;

/// A request that was to be mirrored, once both sides are done with it. Moments are microseconds since the mirror began.
#[derive(Debug, Clone)]
pub struct Mirrored {
    /// Which, from 0, in the order in which they were to be mirrored.
    pub index: u64,
    /// The conversation that it is a turn of.
    pub conversation: Option<Conversation>,
    /// When it was whole at the recorder.
    pub whole_us: u64,
    /// From its arrival at the recorder until then.
    pub upload_us: u64,
    /// From its arrival until production had a connection for it; `None` where it never had.
    pub connected_us: Option<u64>,
    /// When it was handed to the mirror.
    pub offered_us: u64,
    /// The candidate's side.
    pub candidate: CandidateSide,
    /// Production's, without names and without its prompt. Moments in it are since its arrival.
    pub production: Exchange,
    /// A simulated server was production.
    pub production_simulated: bool,
}

/// What a mirrored request came to at the candidate. Moments are microseconds since the mirror began.
#[derive(Debug, Clone, Default)]
pub struct CandidateSide {
    /// When its turn came, and a connection for it was looked for; `None` where its turn never came.
    pub taken_us: Option<u64>,
    /// When it was handed to a connection; `None` where there was none.
    pub sent_us: Option<u64>,
    /// When the head of the answer was there.
    pub headers_us: Option<u64>,
    /// When it was over.
    pub end_us: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there is no whole answer.
    pub lost: Option<Lost>,
    /// A simulated server answered.
    pub simulated: bool,
    /// What was read of the answer. Moments in it are since `sent_us`.
    pub sight: ResponseSight,
}

/// Measures what mirrored requests come to. It is called on a thread of its own, below the priority of traffic.
pub trait MirrorResults: Send {
    /// Takes one. False where it will be in no result.
    fn add(&mut self, mirrored: Mirrored) -> bool;

    /// Writes what all of them came to.
    ///
    /// # Errors
    /// When that cannot be written.
    fn finish(self: Box<Self>, ending: Ending<'_>) -> Result<(), Box<dyn Error>>;
}

/// What a result is told as it ends.
pub struct Ending<'a> {
    /// What is not in it.
    pub unmeasured: Unmeasured,
    /// How late the thread was, at P99, that takes the candidate's times, in microseconds; `None` where it had nothing to do.
    pub late_p99_us: Option<u64>,
    /// To be called once the result is whole but for what takes long to work out: that is not waited for much longer.
    pub is_whole: &'a dyn Fn(),
}

/// Where what mirrored requests come to is written.
#[derive(Clone)]
pub struct MirrorOut {
    /// The directory.
    pub dir: PathBuf,
    /// Begins a result there, once the process has given up what it does not need.
    pub begin: BeginResults,
}

/// Begins a result in a directory.
pub type BeginResults = Arc<
    dyn Fn(&Path) -> Result<Box<dyn MirrorResults>, Box<dyn Error + Send + Sync>> + Send + Sync,
>;

impl fmt::Debug for MirrorOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorOut")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}
