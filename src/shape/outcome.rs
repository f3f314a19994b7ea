use serde::{Deserialize, Serialize};

/// How an exchange ended. Moments are microseconds since the exchange's arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Outcome {
    /// The response arrived whole, with a status under 400.
    #[default]
    Completed,
    /// The client went away first.
    ClientCancelled {
        /// When the recorder saw it.
        at_us: u64,
    },
    /// No connection to the upstream.
    UpstreamRefused {
        /// When the recorder gave up.
        at_us: u64,
    },
    /// The upstream broke the connection before the response was whole.
    UpstreamReset {
        /// When it broke.
        at_us: u64,
    },
    /// The upstream did not answer in time.
    UpstreamTimeout {
        /// When the recorder gave up.
        at_us: u64,
    },
    /// The server answered with a status of 400 or more (see the response's status).
    Rejected,
    /// The response's framing was whole, but its content ended early: an error inside a stream, or a stream with no end mark.
    Truncated {
        /// When it ended.
        at_us: u64,
    },
    /// It was still in flight when its recorder was killed: how it went on is not known.
    InFlight {
        /// The last moment at which it is known to have been.
        at_us: u64,
    },
}

impl Outcome {
    /// Whether the client got what it asked for.
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Completed)
    }

    /// A short closed name, for counts and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientCancelled { .. } => "client_cancelled",
            Self::UpstreamRefused { .. } => "upstream_refused",
            Self::UpstreamReset { .. } => "upstream_reset",
            Self::UpstreamTimeout { .. } => "upstream_timeout",
            Self::Rejected => "rejected",
            Self::Truncated { .. } => "truncated",
            Self::InFlight { .. } => "in_flight",
        }
    }

    /// The moment at which it ended early, where there is one.
    pub const fn at_us(self) -> Option<u64> {
        match self {
            Self::Completed | Self::Rejected => None,
            Self::ClientCancelled { at_us }
            | Self::UpstreamRefused { at_us }
            | Self::UpstreamReset { at_us }
            | Self::UpstreamTimeout { at_us }
            | Self::Truncated { at_us }
            | Self::InFlight { at_us } => Some(at_us),
        }
    }
}
