//! The policy as a document: what of the traffic is kept, dropped, pseudonymised and made coarser. It is set when a recorder
//! starts, obeyed by the gate, written at the head of every trace and printed by `reenact inspect --policy`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lengths::Lengths;

/// What may leave the process, and how. The default keeps no name and no clock, and lengths and times as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Model names that may stand in traces and metrics as they are. All others become pseudonyms.
    pub keep_models: BTreeSet<String>,
    /// A model's name is kept, too, once a trace file has this many exchanges of it; 0 for never.
    pub name_threshold: u32,
    /// Whether files can be linked.
    pub keys: Keys,
    /// How exactly bytes and tokens are kept.
    pub lengths: Lengths,
    /// Each arrival is put off by a random time below this; 0 for none.
    pub time_jitter_us: u64,
    /// All arrivals of a recorder are put off by one random time below this; 0 for none.
    pub time_shift_us: u64,
    /// Share of conversations that are left out whole, in millionths.
    pub dropped_sessions_ppm: u32,
    /// How the gaps between token events are kept.
    pub gaps: Gaps,
    /// Whether the wall-clock time of the epoch is kept.
    pub wall_clock: bool,
}

/// The key that prompts are hashed under in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Keys {
    /// A random one for each file, in memory only: nobody can tell that two files share a prompt.
    #[default]
    PerFile,
    /// The operator's: the files of a run share their numbers, and recorders with the same key their samples.
    Operator,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How the gaps between token events are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gaps {
    /// How many of which length, not in order.
    #[default]
    Sketch,
    /// Each, in order: a known side channel.
    Full,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What becomes of one kind of information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Never written.
    Dropped,
    /// Numbers in its place, in order of first appearance.
    Pseudonymised,
    /// Written less exactly than it was seen.
    Coarsened,
    /// Written as it was seen.
    Kept,
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dropped => "dropped",
            Self::Pseudonymised => "pseudonymised",
            Self::Coarsened => "coarsened",
            Self::Kept => "kept",
        })
    }
}

/// One line of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What it is about.
    pub what: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// How exactly.
    pub how: String,
}

impl Policy {
    /// The share of conversations that may be recorded, of those that a sample of `share` would take.
    pub fn share_kept(&self, share: f64) -> f64 {
        share * (1.0 - f64::from(self.dropped_sessions_ppm.min(1_000_000)) / 1e6)
    }

    /// The policy for names that outlive a trace file (labels of metrics): a label must not change while it is in use.
    pub fn of_labels(&self) -> Self {
        Self {
            keep_models: self.keep_models.clone(),
            ..Self::default()
        }
    }

    /// The whole policy, a line for each kind of information, from the most to the least telling.
    pub fn statements(&self) -> Vec<Statement> {
        use Treatment::{Dropped, Kept};
        let say = |what, treatment, how: &str| Statement {
            what,
            treatment,
            how: how.to_owned(),
        };
        vec![
            say(
                "prompt and answer text",
                Dropped,
                "read in memory and let go; neither it nor a hash of it is written",
            ),
            say(
                "credentials, headers, queries",
                Dropped,
                "only the headers that frame a body are read",
            ),
            say(
                "paths",
                Dropped,
                "known endpoints by name, all others as `other`",
            ),
            say(
                "media types",
                Kept,
                "of bodies that no dialect reads, as one of a closed list; no other word of them",
            ),
            say("clients", Dropped, "no address, no name, no pseudonym"),
            say(
                "connections of clients",
                Kept,
                "one bit: whether a request was the first on its connection; nothing tells which others that connection had",
            ),
            say(
                "slow readers",
                Kept,
                "how long an answer waited for its client to take it, to the microsecond; less than a millisecond is 0",
            ),
            self.models(),
            self.prefixes(),
            self.arrivals(),
            match self.wall_clock {
                true => say(
                    "date and time of day",
                    Kept,
                    "the wall-clock time of the epoch",
                ),
                false => say(
                    "date and time of day",
                    Dropped,
                    "time starts at 0 with the recorder",
                ),
            },
            self.lengths(),
            self.pace(
                "pace of answers",
                "first token, end and longest stall exactly; gaps as counts in buckets of 3 %, not in order",
                "every gap between token events, in order: known to give away topics and words",
            ),
            self.pace(
                "pace of clients' frames",
                "over a WebSocket: when the first came and the longest pause exactly; gaps as counts in buckets of 3 %, not in order",
                "over a WebSocket: when the first came, and every gap, in order",
            ),
            say(
                "sizes of stream events",
                Dropped,
                "only their number and their sum; of frames that a client sends over a WebSocket, each (from the 17th in one read on their mean); of a server's, not in order, how many were below 1 KiB and in each doubling from there on",
            ),
            say(
                "parameters",
                Kept,
                "max_tokens, n, stream, kinds and sizes of tools, schemas, media and tensors, not their names, places of cache marks: integers and closed lists",
            ),
            say(
                "status, outcome, end of an answer",
                Kept,
                "closed lists, and moments relative to the arrival",
            ),
            self.sessions(),
        ]
    }

    fn models(&self) -> Statement {
        let mut clear = Vec::new();
        if !self.keep_models.is_empty() {
            let names: Vec<_> = self.keep_models.iter().map(String::as_str).collect();
            clear.push(format!("in clear: {}", names.join(", ")));
        }
        if self.name_threshold > 0 {
            clear.push(format!(
                "in clear once a file has {} exchanges of it",
                self.name_threshold
            ));
        }
        clear.push("model-0, model-1, … for the others".to_owned());
        Statement {
            what: "model names",
            treatment: match clear.len() {
                1 => Treatment::Pseudonymised,
                _ => Treatment::Kept,
            },
            how: match clear.len() {
                1 => "model-0, model-1, … in order of first appearance".to_owned(),
                _ => clear.join("; "),
            },
        }
    }

    fn prefixes(&self) -> Statement {
        let numbers = "blocks of prompts as numbers in order of first appearance: tells which prompts begin alike";
        Statement {
            what: "shared beginnings of prompts",
            treatment: Treatment::Pseudonymised,
            how: match self.keys {
                Keys::PerFile => format!("{numbers}, within one file"),
                Keys::Operator => format!(
                    "{numbers}, over all files of a run, under the operator's key: files can be linked"
                ),
                Keys::Unknown => {
                    format!("{numbers}, under a kind of key that this version does not know")
                }
            },
        }
    }

    fn arrivals(&self) -> Statement {
        let mut blurs = Vec::new();
        if self.time_jitter_us > 0 {
            let jitter = Duration::from_micros(self.time_jitter_us);
            blurs.push(format!("each put off by a random time below {jitter:?}"));
        }
        if self.time_shift_us > 0 {
            let shift = Duration::from_micros(self.time_shift_us);
            blurs.push(format!("all put off by one random time below {shift:?}"));
        }
        let (treatment, how) = match blurs.is_empty() {
            true => (
                Treatment::Kept,
                "to the microsecond, on a monotonic clock".to_owned(),
            ),
            false => (Treatment::Coarsened, blurs.join("; ")),
        };
        Statement {
            what: "arrivals",
            treatment,
            how,
        }
    }

    /// How a pace is kept: by the gaps' `sketch`, or in `full`.
    fn pace(&self, what: &'static str, sketch: &str, full: &str) -> Statement {
        let (treatment, how) = match self.gaps {
            Gaps::Sketch => (Treatment::Coarsened, sketch),
            Gaps::Full => (Treatment::Kept, full),
            Gaps::Unknown => (Treatment::Kept, "in a way that this version does not know"),
        };
        Statement {
            what,
            treatment,
            how: how.to_owned(),
        }
    }

    fn lengths(&self) -> Statement {
        let (treatment, how) = match self.lengths {
            Lengths::Exact => (Treatment::Kept, "to the byte and to the token".to_owned()),
            Lengths::Steps(step) => (
                Treatment::Coarsened,
                format!(
                    "to the nearest {step} tokens and {} bytes, 0 kept apart",
                    u64::from(step) * Lengths::BYTES_PER_TOKEN
                ),
            ),
            Lengths::Log => (
                Treatment::Coarsened,
                "to the nearest of 8 steps to each doubling, from 16 tokens and 64 bytes on, 0 kept apart"
                    .to_owned(),
            ),
            Lengths::Unknown => (
                Treatment::Coarsened,
                "in a way that this version does not know".to_owned(),
            ),
        };
        Statement {
            what: "lengths of prompts and answers",
            treatment,
            how,
        }
    }

    fn sessions(&self) -> Statement {
        let within = match self.keys {
            Keys::Operator => "all files of a run",
            _ => "one file",
        };
        let numbers =
            format!("where recognised, numbered in order of first appearance within {within}");
        Statement {
            what: "conversations",
            treatment: Treatment::Pseudonymised,
            how: match self.dropped_sessions_ppm {
                0 => numbers,
                ppm => format!(
                    "{numbers}; {} % of them left out at random, each with all its turns",
                    f64::from(ppm) / 1e4
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_versions_policy_still_reads() {
        #[derive(Serialize)]
        struct Later {
            keys: &'static str,
            lengths: &'static str,
            gaps: &'static str,
            novelty: u8,
        }
        let bytes = rmp_serde::to_vec_named(&Later {
            keys: "sealed_in_hardware",
            lengths: "golden-ratio",
            gaps: "wavelets",
            novelty: 1,
        })
        .unwrap();
        let read: Policy = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(
            (read.keys, read.lengths, read.gaps),
            (Keys::Unknown, Lengths::Unknown, Gaps::Unknown)
        );
    }

    #[test]
    fn every_choice_shows_in_the_statements() {
        let told = |policy: &Policy| format!("{:?}", policy.statements());
        let usual = told(&Policy::default());
        for choice in [
            Policy {
                keep_models: ["llama".to_owned()].into(),
                ..Policy::default()
            },
            Policy {
                name_threshold: 50,
                ..Policy::default()
            },
            Policy {
                keys: Keys::Operator,
                ..Policy::default()
            },
            Policy {
                lengths: Lengths::Log,
                ..Policy::default()
            },
            Policy {
                time_jitter_us: 1,
                ..Policy::default()
            },
            Policy {
                time_shift_us: 1,
                ..Policy::default()
            },
            Policy {
                dropped_sessions_ppm: 1,
                ..Policy::default()
            },
            Policy {
                gaps: Gaps::Full,
                ..Policy::default()
            },
            Policy {
                wall_clock: true,
                ..Policy::default()
            },
        ] {
            assert_ne!(told(&choice), usual, "{choice:?}");
        }
    }
}
