use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::TraceError;
use super::exchanges::Exchanges;
use super::file::TraceFile;
use super::frame::IdLimits;
use super::header::Header;
use super::totals::Totals;
use crate::shape::{BlockId, ClientId, Exchange, ModelId, SessionId, TraceTime};

/// One or more trace files read as one trace, in time order.
///
/// * Files of one recorder run share its epoch. A file of another run is placed so that its epoch is the last arrival of the
///   files before it.
/// * Ids of later files are moved up so that they never meet those of earlier ones: numbers of different files cannot be
///   linked, since each was given under a key of its own. Models whose name is kept are the same in all files.
pub struct Trace {
    pub(super) files: Vec<Placed>,
    /// All blocks of exchanges, by first arrival.
    pub(super) schedule: Vec<Scheduled>,
    pub(super) names: ModelNames,
    /// What reading the exchanges showed, beside what opening did.
    pub(super) read_damage: Damage,
    open_damage: Damage,
}

/// A file and where it stands in the trace.
pub(super) struct Placed {
    pub(super) file: TraceFile,
    shift_us: u64,
    offsets: IdLimits,
}

/// A block in the order in which blocks must be loaded. Its place also breaks ties between equal arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scheduled {
    pub(super) first_at_us: u64,
    pub(super) file: usize,
    pub(super) block: usize,
}

/// What a reader had to leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Files without a footer (their recorder crashed or still runs).
    pub unfinished_files: u64,
    /// Blocks skipped because they were torn or did not match their checksum.
    pub bad_blocks: u64,
    /// Bytes skipped.
    pub bad_bytes: u64,
    /// Exchanges in the skipped blocks, where that could still be read.
    pub lost_exchanges: u64,
}

impl Damage {
    /// Whether anything was left out. A file that merely has no footer is whole.
    pub fn is_loss(&self) -> bool {
        self.bad_blocks > 0 || self.bad_bytes > 0
    }

    fn add(&mut self, other: &Self) {
        self.unfinished_files += other.unfinished_files;
        self.bad_blocks += other.bad_blocks;
        self.bad_bytes += other.bad_bytes;
        self.lost_exchanges += other.lost_exchanges;
    }
}

/// What was left out, in words: `1 block and 512 bytes could not be read; 40 exchanges are known to be lost`.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let (blocks, bytes, lost) = (self.bad_blocks, self.bad_bytes, self.lost_exchanges);
        write!(
            f,
            "{blocks} block{} and {bytes} byte{} could not be read; {lost} exchange{} known to be lost",
            plural(blocks),
            plural(bytes),
            if lost == 1 { " is" } else { "s are" },
        )
    }
}

impl Trace {
    /// Opens files and directories of `*.rt` files as one trace. Reads headers and indexes only.
    ///
    /// In a directory, a file that was never written beyond its header's end (its recorder was killed as it began) is left
    /// out and counted; one that is named is an error.
    ///
    /// # Errors
    /// When one is missing, empty, foreign or of a newer major version.
    pub fn open(paths: &[PathBuf]) -> Result<Self, TraceError> {
        let mut trace = Self {
            files: Vec::new(),
            schedule: Vec::new(),
            names: ModelNames::default(),
            read_damage: Damage::default(),
            open_damage: Damage::default(),
        };
        let mut placement = Placement::default();
        for path in paths {
            if path.is_dir() {
                trace.open_directory(path, &mut placement)?;
            } else {
                let file = TraceFile::open(path)?;
                trace.place(file, &mut placement)?;
            }
        }
        if trace.files.is_empty() {
            return Err(TraceError::NoTraces {
                path: paths.first().cloned().unwrap_or_default(),
            });
        }
        trace.schedule.sort_unstable();
        Ok(trace)
    }

    fn open_directory(
        &mut self,
        directory: &Path,
        placement: &mut Placement,
    ) -> Result<(), TraceError> {
        let mut stillborn = None;
        let before = self.files.len();
        for path in traces_in(directory)? {
            match TraceFile::open(&path) {
                Ok(file) => self.place(file, placement)?,
                Err(error @ (TraceError::Empty { .. } | TraceError::TornHeader { .. })) => {
                    self.open_damage.unfinished_files += 1;
                    self.open_damage.bad_bytes += path.metadata().map_or(0, |meta| meta.len());
                    stillborn = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if self.files.len() > before {
            return Ok(());
        }
        Err(stillborn.unwrap_or_else(|| TraceError::NoTraces {
            path: directory.to_owned(),
        }))
    }

    fn place(&mut self, file: TraceFile, placement: &mut Placement) -> Result<(), TraceError> {
        let (shift_us, offsets) = placement.next(&file)?;
        self.open_damage.add(&file.damage);
        let number = self.files.len();
        let scheduled = file
            .blocks
            .iter()
            .enumerate()
            .map(|(block, entry)| Scheduled {
                first_at_us: entry.first_at_us.saturating_add(shift_us),
                file: number,
                block,
            });
        self.schedule.extend(scheduled);
        // Behind the file's blocks stands what it has left open.
        self.schedule
            .extend(file.left_open.first_at().map(|at| Scheduled {
                first_at_us: at.us().saturating_add(shift_us),
                file: number,
                block: file.blocks.len(),
            }));
        self.files.push(Placed {
            file,
            shift_us,
            offsets,
        });
        Ok(())
    }

    /// The files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let paths = self.files.iter().map(|placed| placed.file.path.clone());
        paths.collect()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|placed| placed.file.bytes).sum()
    }

    /// The first file's header.
    pub fn header(&self) -> &Header {
        // `open` never makes a trace without a file.
        static NONE: Header = Header {
            tool: String::new(),
            source: super::header::Source::Other,
            block: None,
            epoch_unix_us: None,
            run: 0,
            sample_ppm: 0,
        };
        self.files
            .first()
            .map_or(&NONE, |placed| &placed.file.header)
    }

    /// Every file's header, in order.
    pub fn headers(&self) -> impl Iterator<Item = &Header> {
        self.files.iter().map(|placed| &placed.file.header)
    }

    /// The accounts, summed over files.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for placed in &self.files {
            sum.add(&placed.file.totals);
        }
        sum
    }

    /// Exchanges that can be read, from the indexes.
    pub fn exchange_count(&self) -> u64 {
        let in_file = |file: &TraceFile| {
            let blocks = file.blocks.iter().map(|block| u64::from(block.count));
            blocks.sum::<u64>() + file.left_open.exchanges.len() as u64
        };
        self.files.iter().map(|placed| in_file(&placed.file)).sum()
    }

    /// The last arrival, from the indexes; `None` where there is no exchange.
    pub fn last_at(&self) -> Option<TraceTime> {
        let last_of = |placed: &Placed| {
            let last = placed.file.last_at_us();
            last.map(|us| us.saturating_add(placed.shift_us))
        };
        let last = self.files.iter().filter_map(last_of).max();
        last.map(TraceTime::from_us)
    }

    /// What had to be left out, as far as it is known yet.
    pub fn damage(&self) -> Damage {
        let mut damage = self.open_damage.clone();
        damage.add(&self.read_damage);
        damage
    }

    /// A model's name, where it was kept. Complete once the exchanges have been read.
    pub fn model_name(&self, model: ModelId) -> Option<&str> {
        self.names.by_id.get(&model).map(String::as_str)
    }

    /// The exchanges in order of arrival, streamed. Memory holds the blocks that overlap in time, usually one or two.
    pub fn exchanges(&mut self) -> Exchanges<'_> {
        self.read_damage = Damage::default();
        Exchanges::new(self)
    }
}

/// Where the next file goes.
#[derive(Default)]
struct Placement {
    shifts: HashMap<u64, u64>,
    last_at_us: u64,
    next: IdLimits,
}

impl Placement {
    fn next(&mut self, file: &TraceFile) -> Result<(u64, IdLimits), TraceError> {
        let shift_us = *self
            .shifts
            .entry(file.header.run)
            .or_insert(self.last_at_us);
        if let Some(last) = file.last_at_us() {
            self.last_at_us = self.last_at_us.max(last.saturating_add(shift_us));
        }
        let offsets = self.next;
        let add = |offset: u32, ids: u32, what| {
            offset
                .checked_add(ids)
                .ok_or_else(|| TraceError::TooManyIds {
                    path: file.path.clone(),
                    what,
                })
        };
        self.next = IdLimits {
            blocks: add(offsets.blocks, file.ids.blocks, "prompt blocks")?,
            models: add(offsets.models, file.ids.models, "models")?,
            sessions: add(offsets.sessions, file.ids.sessions, "sessions")?,
            clients: add(offsets.clients, file.ids.clients, "clients")?,
        };
        Ok((shift_us, offsets))
    }
}

/// The `*.rt` files of a directory, by name.
fn traces_in(directory: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(TraceError::io(directory))? {
        let path = entry.map_err(TraceError::io(directory))?.path();
        if path.extension().is_some_and(|end| end == "rt") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Names that were kept, and which models of different files are the same.
#[derive(Default)]
pub(super) struct ModelNames {
    by_id: HashMap<ModelId, String>,
    by_name: HashMap<String, ModelId>,
    /// Models of later files that an earlier file has under another number.
    same: HashMap<ModelId, ModelId>,
}

impl ModelNames {
    fn learn(&mut self, model: ModelId, name: String) {
        let first = *self.by_name.entry(name.clone()).or_insert(model);
        if first != model {
            self.same.insert(model, first);
        }
        self.by_id.insert(model, name);
    }

    fn unified(&self, model: ModelId) -> ModelId {
        self.same.get(&model).copied().unwrap_or(model)
    }
}

impl Trace {
    /// Moves a block's exchanges from their file's numbers and times to the trace's.
    pub(super) fn adopt(
        &mut self,
        file: usize,
        models: Vec<(ModelId, String)>,
        exchanges: &mut [Exchange],
    ) {
        let Some(placed) = self.files.get(file) else {
            return;
        };
        let Placed {
            shift_us, offsets, ..
        } = *placed;
        let model = |ModelId(id)| ModelId(id.saturating_add(offsets.models));
        for (id, name) in models {
            self.names.learn(model(id), name);
        }
        if shift_us == 0 && offsets == IdLimits::default() && self.names.same.is_empty() {
            return;
        }
        for exchange in exchanges {
            exchange.at = TraceTime::from_us(exchange.at.us().saturating_add(shift_us));
            if let Some(id) = &mut exchange.model {
                *id = self.names.unified(model(*id));
            }
            if let Some(SessionId(id)) = &mut exchange.session {
                *id = id.saturating_add(offsets.sessions);
            }
            if let Some(ClientId(id)) = &mut exchange.client {
                *id = id.saturating_add(offsets.clients);
            }
            for BlockId(id) in &mut exchange.request.blocks {
                *id = id.saturating_add(offsets.blocks);
            }
        }
    }
}
