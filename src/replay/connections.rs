use std::num::NonZeroUsize;
use std::str::FromStr;

/// Which connections requests go over where each serves one after another (HTTP/1.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connections {
    /// As recorded where the trace tells, and else shared.
    #[default]
    AsTold,
    /// A request that began its client's connection gets a new one, the others go over one that is idle.
    AsRecorded,
    /// Shared by all requests, the freshest first; another is opened where none is idle.
    Shared,
    /// Shared, and never more open to a target than this.
    AtMost(NonZeroUsize),
}

impl Connections {
    /// The most that may be open to a target at once; any number where absent.
    pub fn limit(self) -> Option<NonZeroUsize> {
        match self {
            Self::AsTold | Self::AsRecorded | Self::Shared => None,
            Self::AtMost(limit) => Some(limit),
        }
    }
}

impl FromStr for Connections {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "recorded" => Ok(Self::AsRecorded),
            "shared" => Ok(Self::Shared),
            number => number
                .parse()
                .map(Self::AtMost)
                .map_err(|_| "neither a number from 1 on, nor `recorded`, nor `shared`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_as_recorded_or_shared_or_so_many() {
        let parse = str::parse::<Connections>;
        assert_eq!(parse("recorded"), Ok(Connections::AsRecorded));
        assert_eq!(parse("shared"), Ok(Connections::Shared));
        let four = parse("4").unwrap();
        assert_eq!(four.limit().map(NonZeroUsize::get), Some(4));
        assert_eq!(parse("recorded").unwrap().limit(), None);
        for bad in ["0", "-1", "", "all"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
