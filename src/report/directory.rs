use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::document::{Charts, ResultDocument};
use super::gaps::{self, RunGaps};
use super::histograms::{self, RunHistograms};
use super::requests::RequestLog;
use super::samples::{self, RunSamples};
use super::{csv, hgrm, html, junit, markdown};
use crate::directory;

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file that was to be read is something else.
    #[error("{path} cannot be read: {why}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A rendering failed.
    #[error("{what} cannot be rendered: {why}")]
    Render {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// The directory that a run's results go to. Files appear whole or not at all.
#[derive(Debug, Clone)]
pub struct ResultDirectory {
    path: PathBuf,
    /// What was not there before: it, and those above it, from below.
    made: Vec<PathBuf>,
}

impl ResultDirectory {
    /// Makes the directory, and makes sure that it can be written to: better before a run than after it.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        let io = |source| ReportError::Io {
            path: path.to_owned(),
            source,
        };
        let above = path.ancestors().take_while(|dir| !dir.exists());
        let directory = Self {
            path: path.to_owned(),
            made: above.map(Path::to_owned).collect(),
        };
        let trial = path.join(".reenact-trial");
        let tried = directory::make(path)
            .and_then(|()| File::create(&trial))
            .and_then(|_| std::fs::remove_file(&trial));
        match tried {
            Ok(()) => Ok(directory),
            Err(error) => {
                directory.forsake();
                Err(io(error))
            }
        }
    }

    /// Where nothing came of the run, takes away what was made for it and is empty.
    pub fn forsake(&self) {
        RequestLog::forsake(&self.path.join(REQUESTS));
        // What something is in stays, and so does what is above that.
        let mut made = self.made.iter().skip_while(|dir| !dir.exists());
        let gone = |dir: &PathBuf| std::fs::remove_dir(dir).is_ok();
        let _ = made.all(gone);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `requests.jsonl.zst`, which is written while the run goes on.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn request_log(&self) -> Result<RequestLog, ReportError> {
        RequestLog::create(&self.path.join(REQUESTS))
    }

    /// Writes what was sampled beside the requests, whole: merging has it from there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_samples(&self, runs: &[RunSamples]) -> Result<(), ReportError> {
        self.put(samples::NAME, &samples::render(runs)?)
    }

    /// Writes every rendering of a finished run, its whole histograms, and the gaps between tokens that comparisons look at, where all are known.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(
        &self,
        document: &ResultDocument,
        charts: &Charts,
        histograms: &[RunHistograms],
        gaps: Option<&[RunGaps]>,
    ) -> Result<(), ReportError> {
        // None at first: those that an earlier run left are not of this document.
        self.put_gaps(None)?;
        self.put(histograms::NAME, &histograms::render(histograms)?)?;
        self.put_document(document)?;
        self.put_pages(document, charts)?;
        self.put("timeline.csv", csv::timeline(document).as_bytes())?;
        let percentiles = csv::percentiles(document, charts);
        self.put("percentiles.csv", percentiles.as_bytes())?;
        self.put_logs(histograms)?;
        self.put_gaps(gaps)
    }

    /// Writes again what tells verdicts and comparisons, the document last.
    ///
    /// # Errors
    /// As [`ResultDirectory::write`].
    pub fn write_verdict(
        &self,
        document: &ResultDocument,
        charts: &Charts,
    ) -> Result<(), ReportError> {
        self.put_pages(document, charts)?;
        self.put_document(document)
    }

    fn put_document(&self, document: &ResultDocument) -> Result<(), ReportError> {
        let json = serde_json::to_vec_pretty(document).map_err(|error| ReportError::Render {
            what: "result.json",
            why: error.to_string(),
        })?;
        self.put("result.json", &json)
    }

    fn put_pages(&self, document: &ResultDocument, charts: &Charts) -> Result<(), ReportError> {
        self.put("report.html", html::render(document, charts)?.as_bytes())?;
        self.put("summary.md", markdown::render(document).as_bytes())?;
        self.put("junit.xml", junit::render(document)?.as_bytes())
    }

    /// Writes the gaps; where there are none, takes those away that an earlier run left.
    fn put_gaps(&self, runs: Option<&[RunGaps]>) -> Result<(), ReportError> {
        if let Some(runs) = runs {
            return self.put(gaps::NAME, &gaps::render(runs)?);
        }
        let path = self.path.join(gaps::NAME);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ReportError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Writes the percentile logs, and takes those away that an earlier run left.
    fn put_logs(&self, histograms: &[RunHistograms]) -> Result<(), ReportError> {
        let logs = hgrm::logs(histograms);
        let path = self.path.join("hgrm");
        let io = |source| ReportError::Io {
            path: path.clone(),
            source,
        };
        for old in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            if old.path().extension().is_some_and(|kind| kind == "hgrm") {
                std::fs::remove_file(old.path()).map_err(io)?;
            }
        }
        if logs.is_empty() {
            return Ok(());
        }
        directory::make(&path).map_err(io)?;
        logs.iter()
            .try_for_each(|(name, log)| write_whole(&path.join(name), log.as_bytes()))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        write_whole(&self.path.join(name), bytes)
    }
}

const REQUESTS: &str = "requests.jsonl.zst";

/// Writes a file that appears whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|source| {
        // What is half written is of no use to anybody.
        let _ = std::fs::remove_file(&partial);
        ReportError::Io {
            path: path.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_made_for_nothing_only_what_is_in_use_stays() {
        let home = tempfile::tempdir().unwrap();
        let [above, below] = ["above", "above/below"].map(|name| home.path().join(name));
        ResultDirectory::create(&below).unwrap().forsake();
        assert!(!above.exists() && home.path().exists());
        let begun = ResultDirectory::create(&below).unwrap();
        drop(begun.request_log().unwrap());
        begun.forsake();
        assert!(!above.exists(), "of a log nothing came either");
        let unmakeable = below.join("n".repeat(300));
        assert!(ResultDirectory::create(&unmakeable).is_err());
        assert!(!above.exists() && home.path().exists());

        let directory = ResultDirectory::create(&below).unwrap();
        ResultDirectory::create(&below).unwrap().forsake();
        assert!(below.exists(), "it was there before");
        let other = above.join("other");
        std::fs::write(&other, "").unwrap();
        directory.forsake();
        assert!(!below.exists() && other.exists());
    }
}
