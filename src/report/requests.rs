use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::ReportError;
use crate::replay::RequestOutcome;

/// `requests.jsonl.zst`: one line for each request, as it ends; no content. Written beside its final name and renamed at
/// the end.
pub struct RequestLog {
    path: PathBuf,
    partial: PathBuf,
    /// Lines are gathered before they are compressed: the encoder's own price is by the call, and a line is fifty pieces. The
    /// error once a line could not be written: half a log would pass for a whole one.
    encoder: Result<BufWriter<zstd::Encoder<'static, File>>, ReportError>,
}

/// A line of the log, read again. The gaps between its tokens are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LoggedRequest {
    /// The target.
    pub target: String,
    /// Which of the target's runs or steps, from 0.
    #[serde(default)]
    pub run: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: RequestOutcome,
    /// The longest gap between its tokens.
    #[serde(default)]
    pub longest_gap_us: Option<u32>,
}

/// Reads `requests.jsonl.zst`, line by line.
///
/// # Errors
/// When the file cannot be opened. What is wrong with a line, or behind it, is an item.
pub fn read_requests(
    path: &Path,
) -> Result<impl Iterator<Item = Result<LoggedRequest, ReportError>>, ReportError> {
    let io = {
        let path = path.to_owned();
        move |source| ReportError::Io {
            path: path.clone(),
            source,
        }
    };
    let lines = File::open(path).and_then(zstd::Decoder::new).map_err(&io)?;
    let path = path.to_owned();
    let lines = BufReader::new(lines).lines().zip(1_u64..);
    Ok(lines.map(move |(line, number)| {
        serde_json::from_str(&line.map_err(&io)?).map_err(|error| ReportError::Foreign {
            path: path.clone(),
            why: format!("line {number}: {error}"),
        })
    }))
}

#[derive(Serialize)]
struct Line<'a> {
    target: &'a str,
    /// Which of the target's runs or steps, from 0.
    #[serde(skip_serializing_if = "is_first")]
    run: u64,
    #[serde(flatten)]
    outcome: &'a RequestOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_gap_us: Option<u32>,
}

/// Where a log lies until it is whole.
fn partial(path: &Path) -> PathBuf {
    path.with_extension("zst.partial")
}

impl RequestLog {
    /// Takes a log away that was begun and holds nothing.
    pub(super) fn forsake(path: &Path) {
        let partial = partial(path);
        if std::fs::metadata(&partial).is_ok_and(|begun| begun.len() == 0) {
            let _ = std::fs::remove_file(partial);
        }
    }

    pub(super) fn create(path: &Path) -> Result<Self, ReportError> {
        let partial = partial(path);
        let encoder = File::create(&partial)
            .and_then(|file| zstd::Encoder::new(file, LEVEL))
            .map(|encoder| BufWriter::with_capacity(GATHERED, encoder))
            .map_err(|source| ReportError::Io {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            encoder: Ok(encoder),
        })
    }

    /// Adds a request of the target's run (or step) number `run`, from 0. Where it cannot be written the log is given up, which
    /// [`Self::finish`] tells.
    pub fn add(&mut self, target: &str, run: u64, outcome: &RequestOutcome) {
        self.put(&Line {
            target,
            run,
            outcome,
            longest_gap_us: outcome.gaps_us.iter().copied().max(),
        });
    }

    /// Adds a request of another log as it is there, in the same way.
    pub fn copy(&mut self, request: &LoggedRequest) {
        self.put(&Line {
            target: &request.target,
            run: request.run,
            outcome: &request.outcome,
            longest_gap_us: request.longest_gap_us,
        });
    }

    fn put(&mut self, line: &Line<'_>) {
        let Ok(encoder) = &mut self.encoder else {
            return;
        };
        let mut write = || {
            serde_json::to_writer(&mut *encoder, line)?;
            encoder.write_all(b"\n")
        };
        if let Err(source) = write() {
            let path = self.path.clone();
            self.encoder = Err(ReportError::Io { path, source });
            let _ = std::fs::remove_file(&self.partial);
        }
    }

    /// Why it was given up, where it was.
    pub fn trouble(&self) -> Option<&ReportError> {
        self.encoder.as_ref().err()
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When a line could not be written, or it cannot be completed or renamed.
    pub fn finish(self) -> Result<(), ReportError> {
        let Self {
            path,
            partial,
            encoder,
        } = self;
        let encoder = encoder?;
        let close = || {
            let encoder = encoder
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            let file = encoder.finish()?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)
        };
        close().map_err(|source| {
            let _ = std::fs::remove_file(&partial);
            ReportError::Io {
                path: path.clone(),
                source,
            }
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_first(run: &u64) -> bool {
    *run == 0
}

/// The fastest but for those that hardly compress: it is done while requests are sent.
const LEVEL: i32 = 1;
/// Bytes.
const GATHERED: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_written_is_given_up_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("requests.jsonl.zst");
        let partial = dir.path().join("requests.jsonl.zst.partial");
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let mut log = RequestLog::create(&path).unwrap();
        let mut add = |index| {
            // What compresses badly.
            let gap = |i: u64| (index * 7919 + i * i * 104_729) as u32 % 1_000_000;
            let outcome = RequestOutcome {
                index,
                planned_us: index * 1_299_709 % 10_000_019,
                gaps_us: (0..9).map(gap).collect(),
                ..RequestOutcome::default()
            };
            log.add("a", 0, &outcome);
        };
        (0..50_000).for_each(&mut add);
        assert!(!partial.is_symlink(), "given up at once");
        assert!(log.trouble().is_some());
        let failed = log.finish().unwrap_err();
        assert!(
            failed.to_string().contains("requests.jsonl.zst"),
            "{failed}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
