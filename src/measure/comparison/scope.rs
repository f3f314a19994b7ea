use std::fmt::{Display, Formatter};

use serde::{Serialize, Serializer};

/// What a comparison's intervals speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A trace, and so many runs of each target.
    Trace {
        /// Of each.
        runs: u64,
    },
    /// Traffic that came once, and does not come again.
    LiveTraffic,
}

impl Scope {
    /// Of so many runs, or of live traffic.
    pub fn of(live: bool, runs: usize) -> Self {
        match live {
            true => Self::LiveTraffic,
            false => Self::Trace { runs: runs as u64 },
        }
    }

    /// What would decide a figure that so many more runs of each would
    /// ([`MetricComparison::more_runs`](super::MetricComparison::more_runs)). Live traffic cannot be run again, but waited for.
    pub fn would_tell(self, more_runs: u64) -> String {
        match (self, more_runs) {
            (Self::LiveTraffic, more) => {
                format!("{} times as much traffic", more.saturating_add(1))
            }
            (Self::Trace { .. }, 1) => "one more run of each".to_owned(),
            (Self::Trace { .. }, more) => format!("{more} more runs of each"),
        }
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LiveTraffic => f.write_str("this live traffic alone"),
            Self::Trace { runs: 0 | 1 } => f.write_str("this trace, this run"),
            Self::Trace { runs } => write!(f, "this trace, {runs} runs of each"),
        }
    }
}

/// As its words.
impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
