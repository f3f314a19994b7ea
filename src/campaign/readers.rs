//! How fast clients take their answers: in words, in the result, and what came of it.

use super::Campaign;
use super::survey::Survey;
use crate::replay::{Evidence, Readers};
use crate::report::ReadersMode;

impl Campaign {
    /// How fast clients take their answers, now that it is known what the trace tells. Slow ones have connections of their own, so where the
    /// number of connections is limited there are none unless a rate was asked for.
    pub fn readers(&self, survey: &Survey) -> Readers {
        match self.run.readers {
            Readers::AsRecorded
                if !survey.plan.tells_readers() || self.run.connections.limit().is_some() =>
            {
                Readers::Fast
            }
            asked => asked,
        }
    }

    /// The same as the result has it; absent where a rate was asked for, and where the trace does not tell.
    pub(super) fn readers_mode(&self, survey: &Survey) -> Option<ReadersMode> {
        let mode = match self.readers(survey) {
            Readers::AsRecorded => ReadersMode::Recorded,
            Readers::Fast => ReadersMode::Fast,
            Readers::Drawn(_) => return None,
        };
        survey.plan.tells_readers().then_some(mode)
    }

    /// The same in words; nothing where all are as usual: no slow reader in the trace, and none asked for.
    pub(super) fn describe_readers(&self, survey: &Survey) -> Option<String> {
        let slow = survey.plan.slow_readers;
        let told = format!("{slow} requests had a slow one in the trace");
        match self.readers(survey) {
            Readers::Drawn(rate) => {
                let whose = match rate.share {
                    all if all >= 1.0 => String::new(),
                    share => format!(" of {} % of the sessions", share * 100.0),
                };
                let told = (slow > 0).then(|| format!("; {told}"));
                Some(format!(
                    "readers{whose} take at most {rate}{}",
                    told.unwrap_or_default()
                ))
            }
            Readers::AsRecorded => (slow > 0).then(|| format!("readers as recorded; {told}")),
            Readers::Fast => (slow > 0).then(|| format!("readers take all that comes; {told}")),
        }
    }
}

/// How many clients took their answers slowly, and how many of these came faster than that.
pub(super) fn remark(readers: Readers, slow_in_trace: u64, generator: &Evidence) -> Option<String> {
    let (slow, held_up) = (generator.read_slowly, generator.held_up);
    let theirs = "moments and latencies of these are their clients', not the target's";
    match readers {
        Readers::Drawn(rate) => Some(format!(
            "{slow} requests had clients that take at most {rate} (--read-rate), and {held_up} of their answers came faster than that: {theirs}"
        )),
        Readers::AsRecorded => (slow > 0).then(|| {
            format!(
                "{slow} requests had slow readers in the trace, and had them here at the recorded pace; {held_up} of their answers came faster than that: {theirs}"
            )
        }),
        Readers::Fast => (slow_in_trace > 0).then(|| {
            format!(
                "{slow_in_trace} requests had slow readers in the trace, and their answers were taken as they came: what was recorded of these holds their clients' waits"
            )
        }),
    }
}
