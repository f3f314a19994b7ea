use std::fmt;

use serde::Serialize;

use crate::wording::{counted, counted_are};

/// What a reader had to leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Files without a footer (their recorder crashed or still runs).
    pub unfinished_files: u64,
    /// Blocks skipped because they were torn or did not match their checksum.
    pub bad_blocks: u64,
    /// Bytes skipped.
    pub bad_bytes: u64,
    /// Exchanges in the skipped blocks, where that could still be read.
    pub lost_exchanges: u64,
    /// Exchanges that read as in flight at a kill, and may have ended in what was skipped.
    pub doubtful_in_flight: u64,
}

impl Damage {
    /// Whether anything was left out. A file that merely has no footer is whole.
    pub fn is_loss(&self) -> bool {
        self.bad_blocks > 0 || self.bad_bytes > 0
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.unfinished_files += other.unfinished_files;
        self.bad_blocks += other.bad_blocks;
        self.bad_bytes += other.bad_bytes;
        self.lost_exchanges += other.lost_exchanges;
        self.doubtful_in_flight += other.doubtful_in_flight;
    }
}

/// What was left out, in words: `1 block and 512 bytes could not be read; 40 exchanges are known to be lost`.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blocks, bytes, lost) = (self.bad_blocks, self.bad_bytes, self.lost_exchanges);
        write!(
            f,
            "{} and {} could not be read; {} known to be lost",
            counted(blocks, "block"),
            counted(bytes, "byte"),
            counted_are(lost, "exchange"),
        )?;
        match self.doubtful_in_flight {
            0 => Ok(()),
            doubtful => write!(
                f,
                "; {doubtful} that read as in flight may have ended there"
            ),
        }
    }
}
