use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::directory::ReportError;
use crate::replay::RequestOutcome;

/// `requests.jsonl.zst`: one line for each request, as it ends; no content. Written beside its final name and renamed at
/// the end.
pub struct RequestLog {
    path: PathBuf,
    partial: PathBuf,
    encoder: zstd::Encoder<'static, BufWriter<File>>,
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

impl RequestLog {
    pub(super) fn create(path: &Path) -> Result<Self, ReportError> {
        let partial = path.with_extension("zst.partial");
        let encoder = File::create(&partial)
            .and_then(|file| zstd::Encoder::new(BufWriter::new(file), LEVEL))
            .map_err(|source| ReportError::Io {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            encoder,
        })
    }

    /// Adds a request of the target's run (or step) number `run`, from 0.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(
        &mut self,
        target: &str,
        run: u64,
        outcome: &RequestOutcome,
    ) -> Result<(), ReportError> {
        let line = Line {
            target,
            run,
            outcome,
            longest_gap_us: outcome.gaps_us.iter().copied().max(),
        };
        let mut write = || {
            serde_json::to_writer(&mut self.encoder, &line)?;
            self.encoder.write_all(b"\n")
        };
        write().map_err(|source| ReportError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When it cannot be written or renamed.
    pub fn finish(self) -> Result<(), ReportError> {
        let Self {
            path,
            partial,
            encoder,
        } = self;
        let close = || {
            let file = encoder
                .finish()?
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
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

const LEVEL: i32 = 3;
