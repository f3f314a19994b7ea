use crate::net::http1::Malformed;
use crate::record::answer::Refusal;
use crate::record::tape::parcel::End;

/// How an exchange over one upstream connection ended.
#[derive(Debug)]
pub(super) enum Fate {
    /// The answer has been passed on whole.
    Answered,
    /// The two have left HTTP.
    Upgraded,
    /// The client is gone.
    ClientGone,
    /// The client sent something that is no body.
    BadBody(Malformed),
    /// The client takes too long over its body.
    SlowBody,
    /// Nothing of an answer has been passed on.
    Unanswered(Refusal),
    /// The answer broke off.
    Broken(Break),
}

/// How an answer broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The upstream closed its side before the end.
    Closed,
    /// It reset the connection, or its framing makes no sense.
    Reset,
    /// Nothing came for too long.
    Silent,
}

impl Break {
    pub(super) const fn end(self) -> End {
        match self {
            Self::Closed | Self::Reset => End::Reset,
            Self::Silent => End::Timeout,
        }
    }
}
