use std::fmt;

use super::plan::{Draw, Purpose};

/// Clients that take their answers slowly: how slowly, and how many of them there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadRate {
    /// Bytes that such a client takes from its connection in a second, at most.
    pub bytes_per_s: u64,
    /// The share of the sessions (and of the requests without one) whose clients are such.
    pub share: f64,
}

impl ReadRate {
    /// The slowest: below it the longest answers would not be over within any patience.
    pub const SLOWEST_BYTES_PER_S: u64 = 1024;

    /// Whether the client of a request is one of them. All turns of a session have the same client, in every run and every shard;
    /// those of a smaller share are among those of a larger one.
    pub(super) fn is_of(self, seed: u64, session: Option<u64>, index: u64) -> bool {
        let subject = session.unwrap_or(index);
        self.share >= 1.0 || Draw::new(seed, Purpose::ReadSlowly, subject).is_among(self.share)
    }
}

impl fmt::Display for ReadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", bytesize::ByteSize(self.bytes_per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_a_session_have_one_client_and_shares_are_nested() {
        let rate = |share| ReadRate {
            bytes_per_s: 65_536,
            share,
        };
        let of = |share, session| rate(share).is_of(3, Some(session), 0);
        let slow = (0..4000).filter(|&session| of(0.25, session)).count();
        assert!((850..1150).contains(&slow), "{slow}");
        for session in 0..4000 {
            assert_eq!(of(0.25, session), rate(0.25).is_of(3, Some(session), 77));
            assert!(of(0.5, session) || !of(0.25, session));
            assert!(of(1.0, session) && !of(0.0, session));
        }
        assert_eq!(rate(1.0).to_string(), "64.0 KiB/s");
    }
}
