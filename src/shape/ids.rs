use serde::{Deserialize, Serialize};

/// Microseconds since the trace's epoch, on the recorder's monotonic clock. The epoch is the first arrival's neighbourhood,
/// never a wall-clock instant.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TraceTime(u64);

impl TraceTime {
    /// The instant `us` microseconds after the epoch.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the epoch.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch, for display and rates.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact below 2^53 us = 285 years"
    )]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

macro_rules! pseudonym {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }
    };
}

pseudonym!(
    /// One block of a prompt chain, numbered from 0 in order of first appearance in its trace. Equal ids mean equal
    /// content *and* equal content before it.
    BlockId, "block"
);
pseudonym!(
    /// A model name, numbered from 0 in order of first appearance; shown as `model-3` unless the name is allow-listed.
    ModelId, "model"
);
pseudonym!(
    /// A conversation, numbered from 0 in order of first appearance.
    SessionId, "session"
);
pseudonym!(
    /// A client, numbered from 0 in order of first appearance; its address is never kept.
    ClientId, "client"
);
