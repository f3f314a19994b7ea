//! What traces keep, as their headers say, for people (text) and for programs (`reenact.policy/1`).

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::Serialize;

use crate::anonymise::{Policy, Statement};
use crate::trace::{Header, Source};

/// The document that `reenact inspect --policy --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Policies {
    /// `reenact.policy/1`
    pub schema: &'static str,
    /// Each file's policy, in order.
    pub files: Vec<FilePolicy>,
}

/// One file's policy.
#[derive(Debug, Clone, Serialize)]
pub struct FilePolicy {
    /// The file.
    pub file: PathBuf,
    /// Where its exchanges come from.
    pub source: Source,
    /// Share of conversations recorded.
    pub sample_rate: f64,
    /// Whether its blocks are sealed to age recipients.
    pub sealed: bool,
    /// What was asked of the recorder; absent where none wrote it, or one before policies were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// What that comes to, a line for each kind of information.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Statement>,
}

impl Policies {
    /// Of files and their headers.
    pub fn new(headers: Vec<(PathBuf, Header)>) -> Self {
        let files = headers.into_iter().map(|(file, header)| FilePolicy {
            file,
            source: header.source,
            sample_rate: f64::from(header.sample_ppm) / 1e6,
            sealed: header.envelope.is_some(),
            statements: header
                .policy
                .as_ref()
                .map_or_else(Vec::new, Policy::statements),
            policy: header.policy,
        });
        Self {
            schema: "reenact.policy/1",
            files: files.collect(),
        }
    }
}

impl FilePolicy {
    /// Whether the same can be said of both, but for the name.
    fn says_the_same(&self, other: &Self) -> bool {
        self.source == other.source
            && self.sealed == other.sealed
            && self.policy == other.policy
            && self.sample_rate.to_bits() == other.sample_rate.to_bits()
    }
}

/// One table for files in a row that say the same.
impl Display for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = |a: &FilePolicy, b: &FilePolicy| a.says_the_same(b);
        for (number, files) in self.files.chunk_by(same).enumerate() {
            let (Some(first), Some(last)) = (files.first(), files.last()) else {
                continue;
            };
            if number > 0 {
                writeln!(f)?;
            }
            match files.len() {
                1 => writeln!(f, "{}", first.file.display())?,
                many => writeln!(
                    f,
                    "{many} files, {} to {}",
                    first.file.display(),
                    last.file.display()
                )?,
            }
            first.table(f)?;
        }
        Ok(())
    }
}

impl FilePolicy {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.statements.is_empty() {
            return match self.source {
                Source::Recorded => writeln!(f, "  its recorder did not keep its policy yet"),
                _ => writeln!(
                    f,
                    "  not recorded by reenact: ask its publisher what was kept; `reenact audit` shows what is there"
                ),
            };
        }
        for Statement {
            what,
            treatment,
            how,
        } in &self.statements
        {
            writeln!(f, "  {what:<34}{treatment:<15}{how}")?;
        }
        let sample = self.sample_rate * 100.0;
        writeln!(f, "  {:<34}{:<15}{sample} %", "share of conversations", "")?;
        let rest = match self.sealed {
            true => "sealed to age recipients; the header, and how many exchanges when, in clear",
            false => "not encrypted; mode 0600",
        };
        writeln!(f, "  {:<34}{:<15}{rest}", "at rest", "")
    }
}
