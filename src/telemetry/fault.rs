use super::series::seconds;

/// What went wrong with a source first, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Microseconds since sampling began.
    at_us: u64,
    what: String,
    /// Empty where there is no more to say.
    why: String,
}

impl Fault {
    pub(super) fn new(at_us: u64, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            at_us,
            what: what.into(),
            why: why.into(),
        }
    }

    /// In words, for a run that began `lead_us` after the sampling.
    pub(super) fn told(&self, lead_us: u64) -> String {
        let when = match self.at_us.checked_sub(lead_us) {
            Some(since_us) => format!("at {:.1} s", seconds(since_us)),
            None => "before the run began".to_owned(),
        };
        match self.why.as_str() {
            "" => format!("{} {when}", self.what),
            why => format!("{} {when}: {why}", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_moment_counts_from_the_run() {
        let fault = Fault::new(601_500_000, "no figures", "it stalled");
        assert_eq!(fault.told(0), "no figures at 601.5 s: it stalled");
        assert_eq!(fault.told(600_000_000), "no figures at 1.5 s: it stalled");
        let bare = Fault::new(5, "the driver told Xid 31", "");
        assert_eq!(bare.told(6), "the driver told Xid 31 before the run began");
    }
}
