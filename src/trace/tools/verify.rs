//! Checks every byte of trace files: what a reader steps over silently or counts is told here with its place.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::trace::TraceError;
use crate::trace::block::BlockDecoder;
use crate::trace::file::{TraceFile, read_block, read_header};
use crate::trace::footer::BlockEntry;
use crate::trace::frame::{KIND_EXCHANGES, KIND_OPENINGS};
use crate::trace::scan::scan;
use crate::trace::store::{Bytes, Place, Places};
use crate::wording::counted;

/// What was found in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether it has its index. One without is being written, or its recorder was killed; nothing of it is lost for that.
    pub finished: bool,
    /// Blocks of exchanges that read, checksum and content.
    pub blocks: u64,
    /// Sound blocks of other kinds.
    pub other_blocks: u64,
    /// Exchanges in the blocks that read, and those that were in flight when the recorder was killed.
    pub exchanges: u64,
    /// Of them, those that were in flight.
    pub in_flight: u64,
    /// Of those, such as may have ended where the file is damaged.
    pub doubtful_in_flight: u64,
    /// Exchanges known to be lost with those that do not.
    pub lost_exchanges: u64,
    /// All that is wrong, in the order in which it stands in the file.
    pub faults: Vec<Fault>,
}

/// A place that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it spoils.
    pub bytes: u64,
    /// What is wrong there.
    pub what: String,
}

impl FileCheck {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for FileCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_sound(), self.finished) {
            (false, _) => "DAMAGED",
            (true, true) => "whole",
            (true, false) => "whole, but without an index",
        };
        write!(
            f,
            "{}: {state}: {}, {}, {}",
            self.path.display(),
            counted(self.blocks, "block"),
            counted(self.exchanges, "exchange"),
            counted(self.bytes, "byte")
        )?;
        if self.other_blocks > 0 {
            write!(
                f,
                ", {} of other kinds",
                counted(self.other_blocks, "block")
            )?;
        }
        if self.in_flight > 0 {
            write!(f, ", {} in flight at its end", self.in_flight)?;
        }
        if self.doubtful_in_flight > 0 {
            let doubtful = self.doubtful_in_flight;
            write!(
                f,
                " (of which {doubtful} may have ended where it is damaged)"
            )?;
        }
        for fault in &self.faults {
            write!(
                f,
                "\n  offset {}: {}: {}",
                fault.offset,
                counted(fault.bytes, "byte"),
                fault.what
            )?;
        }
        if self.lost_exchanges > 0 {
            write!(f, "\n  exchanges known to be lost: {}", self.lost_exchanges)?;
        }
        Ok(())
    }
}

/// Checks all files of some paths, each on its own: one that is no trace at all is a fault, not an error, unless it was named. Only what
/// was in flight at a file's end is told by what the next one of the run holds.
///
/// # Errors
/// When a path cannot be read, or what is named is no trace.
pub fn verify(paths: &[PathBuf]) -> Result<Vec<FileCheck>, TraceError> {
    let mut checks: Vec<FileCheck> = Vec::new();
    let mut runs = HashMap::new();
    let mut places = Places::default();
    for path in paths {
        let (found, is_directory) = places.of(path)?;
        if found.is_empty() {
            return Err(TraceError::NoTraces { path: path.clone() });
        }
        for place in found {
            let file = match TraceFile::open(&place) {
                Err(error) if is_directory && is_no_header(&error) => {
                    checks.push(unreadable(&place, &error)?);
                    continue;
                }
                other => other?,
            };
            let before = file
                .is_begun
                .then(|| runs.insert(file.header.run, checks.len()));
            if let Some(before) = before.flatten().and_then(|at| checks.get_mut(at)) {
                before.goes_on();
            }
            checks.push(check(&place, &file)?);
        }
    }
    Ok(checks)
}

/// Whether a file is no trace, or the beginning of one; one that cannot be opened for another reason may be sound.
fn is_no_header(error: &TraceError) -> bool {
    matches!(
        error,
        TraceError::Empty { .. }
            | TraceError::Foreign { .. }
            | TraceError::LineEnds { .. }
            | TraceError::TornHeader { .. }
            | TraceError::BadHeader { .. }
    )
}

/// A file of a directory whose start is no header.
fn unreadable(place: &Place, error: &TraceError) -> Result<FileCheck, TraceError> {
    let path = place.path();
    let bytes = place
        .open()
        .and_then(|bytes| bytes.len())
        .map_err(TraceError::io(&path))?;
    let what = error.to_string();
    let named = format!("{}: ", path.display());
    let fault = Fault {
        offset: 0,
        bytes,
        what: what.strip_prefix(&named).unwrap_or(&what).to_owned(),
    };
    Ok(FileCheck {
        path,
        bytes,
        finished: false,
        blocks: 0,
        other_blocks: 0,
        exchanges: 0,
        in_flight: 0,
        doubtful_in_flight: 0,
        lost_exchanges: 0,
        faults: vec![fault],
    })
}

fn check(place: &Place, file: &TraceFile) -> Result<FileCheck, TraceError> {
    let path = file.path.as_path();
    let io = || TraceError::io(path);
    let bytes = place.open().map_err(io())?;
    let (_, start) = read_header(&bytes, path)?;
    let scanned = scan(&bytes, start, file.bytes).map_err(io())?;
    let finished = file.damage.unfinished_files == 0;
    let mut check = FileCheck {
        path: path.to_owned(),
        bytes: file.bytes,
        finished,
        blocks: 0,
        other_blocks: 0,
        exchanges: 0,
        in_flight: file.left_open.exchanges.len() as u64,
        doubtful_in_flight: file.left_open.doubtful,
        lost_exchanges: 0,
        faults: Vec::new(),
    };
    check.exchanges += check.in_flight;
    let mut reader = BlockReader::of(&bytes, file.bytes, path)?;
    // What a reader goes by is the index where there is one.
    for entry in &file.blocks {
        match reader.exchanges(entry)? {
            Ok(exchanges) => {
                check.blocks += 1;
                check.exchanges += exchanges;
            }
            Err((bytes, what)) => check.fault(entry.offset, bytes, entry.count, what),
        }
    }
    for &offset in &scanned.others {
        match reader.other(offset)? {
            Ok(()) => check.other_blocks += 1,
            Err((bytes, what)) => check.fault(offset, bytes, 0, what),
        }
    }
    let known: HashSet<u64> = check.faults.iter().map(|fault| fault.offset).collect();
    for wound in &scanned.wounds {
        if !known.contains(&wound.offset) {
            // Those of a block that the index knows have been counted with it.
            let lost = if finished { 0 } else { wound.lost_exchanges };
            check.lost_exchanges += lost;
            check.faults.push(Fault {
                offset: wound.offset,
                bytes: wound.bytes,
                what: "no whole block".to_owned(),
            });
        }
    }
    for &offset in scanned.footers.iter().filter(|_| !finished) {
        let len = reader.other(offset)?.err().map_or(0, |(bytes, _)| bytes);
        check.fault(
            offset,
            len,
            0,
            "the index is damaged; nothing else is for that",
        );
    }
    if finished && check.is_sound() && scanned.blocks != file.blocks {
        check.fault(start, 0, 0, "the index does not name the blocks there are");
    }
    check.faults.sort_by_key(|fault| fault.offset);
    Ok(check)
}

impl FileCheck {
    /// The next file of the run tells of what was in flight here.
    fn goes_on(&mut self) {
        self.exchanges -= std::mem::take(&mut self.in_flight);
        self.doubtful_in_flight = 0;
    }

    fn fault(&mut self, offset: u64, bytes: u64, lost: u32, what: &str) {
        self.lost_exchanges += u64::from(lost);
        self.faults.push(Fault {
            offset,
            bytes,
            what: what.to_owned(),
        });
    }
}

struct BlockReader<'a> {
    bytes: &'a Bytes,
    len: u64,
    path: &'a Path,
    decoder: BlockDecoder,
}

/// What a block holds, or how many bytes of it are wrong and how.
type Read<T> = Result<T, (u64, &'static str)>;

impl<'a> BlockReader<'a> {
    fn of(bytes: &'a Bytes, len: u64, path: &'a Path) -> Result<Self, TraceError> {
        let (header, _) = read_header(bytes, path)?;
        Ok(Self {
            bytes,
            len,
            path,
            decoder: BlockDecoder::new(header.terms()).map_err(TraceError::io(path))?,
        })
    }

    fn exchanges(&mut self, entry: &BlockEntry) -> Result<Read<u64>, TraceError> {
        let block = read_block(self.bytes, entry.offset, self.len);
        Ok(match block.map_err(TraceError::io(self.path))? {
            Some((frame, payload)) if frame.kind == KIND_EXCHANGES => {
                if (frame.count, frame.first_at_us) != (entry.count, entry.first_at_us) {
                    return Ok(Err((0, "the index tells of another block")));
                }
                let decoded = self.decoder.decode(&frame, &payload);
                decoded
                    .map(|decoded| decoded.exchanges.len() as u64)
                    .map_err(|malformed| (frame.len(), malformed.0))
            }
            _ => Err((0, "there is no whole block")),
        })
    }

    /// A block of another kind. Of one that this version does not know only the checksum can be told.
    fn other(&mut self, offset: u64) -> Result<Read<()>, TraceError> {
        let block = read_block(self.bytes, offset, self.len).map_err(TraceError::io(self.path))?;
        Ok(match block {
            Some((frame, payload)) if frame.kind == KIND_OPENINGS => {
                let decoded = self.decoder.decode(&frame, &payload);
                decoded
                    .map(|_| ())
                    .map_err(|malformed| (frame.len(), malformed.0))
            }
            Some((frame, payload)) if crc32c::crc32c(&payload) == frame.payload_crc => Ok(()),
            Some((frame, _)) => Err((frame.len(), "it does not match its checksum")),
            None => Err((0, "there is no whole block")),
        })
    }
}
