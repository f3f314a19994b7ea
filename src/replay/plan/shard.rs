use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::draw::{Draw, Purpose};

/// The part of a plan that one of several processes sends. The shards of a plan hold each of its requests exactly once, at the
/// instant and under the index that it has in the whole; a conversation is in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Shard `index` of `count`, counted from 0; `None` where there is no such.
    pub fn new(index: u32, count: u32) -> Option<Self> {
        (index < count).then_some(Self { index, count })
    }

    /// Which it is, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether a request is in it. Lone requests are dealt in turn, conversations by a hash of theirs.
    pub(super) fn holds(self, session: Option<u64>, index: u64, seed: u64) -> bool {
        let number = match session {
            Some(session) => Draw::new(seed, Purpose::Shard, session).below(u64::from(self.count)),
            None => index % u64::from(self.count),
        };
        number == u64::from(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some((index.trim().parse().ok()?, count.trim().parse().ok()?))
        });
        let (index, count): (u32, u32) =
            parts.ok_or_else(|| "not a shard; write I/N, such as 0/4".to_owned())?;
        Self::new(index, count).ok_or_else(|| match count.checked_sub(1) {
            None => "there are no shards of 0; write I/N, such as 0/4".to_owned(),
            Some(last) => format!("shards count from 0: of {count}, 0/{count} to {last}/{count}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_read_as_written_and_count_from_zero() {
        let shard: Shard = "3/4".parse().unwrap();
        assert_eq!((shard.index(), shard.count()), (3, 4));
        assert_eq!(shard.to_string(), "3/4");
        assert!("4/4".parse::<Shard>().unwrap_err().contains("0/4 to 3/4"));
        for bad in ["", "3", "a/b", "-1/4", "0/0", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_request_is_in_one_shard() {
        for (session, index) in (0..300).map(|n| ((n % 3 > 0).then_some(n / 7), n)) {
            let holders = (0..5)
                .filter(|&i| Shard::new(i, 5).unwrap().holds(session, index, 9))
                .count();
            assert_eq!(holders, 1);
        }
    }
}
