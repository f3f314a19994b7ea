use std::path::{Path, PathBuf};

use super::damage::Damage;
use super::error::TraceError;
use super::exchanges::Exchanges;
use super::file::{TraceFile, header_of};
use super::frame::IdLimits;
use super::header::Header;
use super::openings::LeftOpen;
use super::placement::{ModelNames, Placement};
use super::store::Places;
use super::totals::Totals;
use crate::shape::{BlockId, ClientId, Exchange, ModelId, SessionId, TraceTime};

/// One or more trace files read as one trace, in time order.
///
/// * Files of one recorder run share its epoch. A file of another run is placed so that its epoch is the last arrival of the
///   files before it.
/// * Ids of later files are moved up so that they never meet those of earlier ones: numbers of different files cannot be
///   linked, since each was given under a key of its own. (The files of a run that was recorded under an operator's key share
///   their numbers.) Models whose name is kept are the same in all files.
pub struct Trace {
    pub(super) files: Vec<Placed>,
    /// All blocks of exchanges, by first arrival.
    pub(super) schedule: Vec<Scheduled>,
    pub(super) names: ModelNames,
    /// Whether all names are known that a reader might see too late.
    pub(super) knows_names: bool,
    /// What reading the exchanges showed, beside what opening did.
    pub(super) read_damage: Damage,
    open_damage: Damage,
    /// The wall-clock instant of the trace's epoch, where files were placed by it.
    epoch_unix_us: Option<u64>,
}

/// The files behind some paths, each with the number of its path.
struct Gathered {
    files: Vec<(usize, TraceFile)>,
    damage: Damage,
}

impl Gathered {
    fn from(paths: &[PathBuf]) -> Result<Self, TraceError> {
        let mut gathered = Self {
            files: Vec::new(),
            damage: Damage::default(),
        };
        let mut places = Places::default();
        for (number, path) in paths.iter().enumerate() {
            let (found, is_directory) = places.of(path)?;
            let mut stillborn = None;
            let before = gathered.files.len();
            for place in found {
                match TraceFile::open(&place) {
                    Ok(file) => gathered.files.push((number, file)),
                    Err(error @ (TraceError::Empty { .. } | TraceError::TornHeader { .. }))
                        if is_directory =>
                    {
                        gathered.damage.unfinished_files += 1;
                        gathered.damage.bad_bytes += match &error {
                            TraceError::TornHeader { offset, .. } => *offset,
                            _ => 0,
                        };
                        stillborn = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            if gathered.files.len() == before {
                return Err(
                    stillborn.unwrap_or_else(|| TraceError::NoTraces { path: path.clone() })
                );
            }
        }
        if gathered.files.is_empty() {
            return Err(TraceError::NoTraces {
                path: PathBuf::new(),
            });
        }
        Ok(gathered)
    }
}

/// A file and where it stands in the trace.
pub(super) struct Placed {
    pub(super) file: TraceFile,
    pub(super) shift_us: u64,
    offsets: IdLimits,
}

/// A block in the order in which blocks must be loaded. Its place also breaks ties between equal arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scheduled {
    pub(super) first_at_us: u64,
    pub(super) file: usize,
    pub(super) block: usize,
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
        let gathered = Gathered::from(paths)?;
        let mut trace = Self::with_damage(gathered.damage);
        let mut placement = Placement::default();
        for (_, file) in gathered.files {
            let shift_us = placement.after_others(&file);
            trace.place(file, shift_us, &mut placement)?;
        }
        trace.schedule.sort_unstable();
        Ok(trace)
    }

    /// The same, but files of different runs are placed by the wall clocks of their recorders: each file's epoch plus the skew
    /// of the path it was found at (microseconds that its clock was behind), from the earliest of them on.
    ///
    /// # Errors
    /// As [`Trace::open`]; when a file's wall clock was not kept.
    pub fn open_by_clock(paths: &[(PathBuf, i64)]) -> Result<Self, TraceError> {
        let (paths, skews): (Vec<_>, Vec<_>) = paths.iter().cloned().unzip();
        let gathered = Gathered::from(&paths)?;
        let epoch = |(path, file): &(usize, TraceFile)| {
            let skew_us = skews.get(*path).copied().unwrap_or(0);
            let epoch_us = file.header.epoch_unix_us.map(i128::from);
            epoch_us
                .map(|us| us + i128::from(skew_us))
                .ok_or_else(|| TraceError::NoClock {
                    path: file.path.clone(),
                })
        };
        let epochs: Vec<_> = gathered.files.iter().map(epoch).collect::<Result<_, _>>()?;
        let earliest = epochs.iter().copied().min().unwrap_or(0);
        let mut trace = Self::with_damage(gathered.damage);
        let mut placement = Placement::default();
        for ((_, file), epoch) in gathered.files.into_iter().zip(epochs) {
            let shift_us = u64::try_from(epoch - earliest).unwrap_or(u64::MAX);
            trace.place(file, shift_us, &mut placement)?;
        }
        trace.epoch_unix_us = u64::try_from(earliest).ok();
        trace.schedule.sort_unstable();
        Ok(trace)
    }

    fn with_damage(open_damage: Damage) -> Self {
        Self {
            files: Vec::new(),
            schedule: Vec::new(),
            names: ModelNames::default(),
            knows_names: false,
            read_damage: Damage::default(),
            open_damage,
            epoch_unix_us: None,
        }
    }

    fn place(
        &mut self,
        file: TraceFile,
        shift_us: u64,
        placement: &mut Placement,
    ) -> Result<(), TraceError> {
        let offsets = placement.take(&file, shift_us)?;
        // What was in flight when a file of the run was left is in the next one, as that or ended, once that has a block.
        let before = self.files.iter_mut().map(|placed| &mut placed.file);
        let is_told_here =
            |before: &&mut TraceFile| file.is_begun && before.header.run == file.header.run;
        for before in before.filter(is_told_here) {
            before.left_open = LeftOpen::default();
            self.open_damage.doubtful_in_flight -=
                std::mem::take(&mut before.damage.doubtful_in_flight);
        }
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

    /// The headers of files and directories of them, which can be read of sealed traces, too.
    ///
    /// # Errors
    /// When one is missing, empty, foreign or of a newer major version.
    pub fn headers_of(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Header)>, TraceError> {
        let mut headers = Vec::new();
        let mut places = Places::default();
        for path in paths {
            for place in places.of(path)?.0 {
                headers.push((place.path(), header_of(&place)?));
            }
        }
        if headers.is_empty() {
            return Err(TraceError::NoTraces {
                path: paths.first().cloned().unwrap_or_default(),
            });
        }
        Ok(headers)
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
            policy: None,
            envelope: None,
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

    /// The first arrival and the last, from the indexes; `None` where there is no exchange.
    pub fn ends(&self) -> Option<(TraceTime, TraceTime)> {
        let of_file = |placed: &Placed| {
            let (first, last) = placed.file.ends_us()?;
            let shifted = |us: u64| TraceTime::from_us(us.saturating_add(placed.shift_us));
            Some((shifted(first), shifted(last)))
        };
        let files = self.files.iter().filter_map(of_file);
        files.reduce(|(first, last), (a, b)| (first.min(a), last.max(b)))
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

    /// The exchanges in order of arrival, streamed. Memory holds the blocks that overlap in time, usually one or two, and never
    /// more than some 128 MiB of them.
    pub fn exchanges(&mut self) -> Exchanges<'_> {
        self.exchanges_from(TraceTime::from_us(0))
    }

    /// The same from a moment on. Blocks that end before it are not read.
    pub fn exchanges_from(&mut self, from: TraceTime) -> Exchanges<'_> {
        self.read_damage = Damage::default();
        Exchanges::new(self, from)
    }

    /// The wall-clock instant of the trace's epoch in microseconds since 1970, where it is kept and the same for all files.
    pub fn epoch_unix_us(&self) -> Option<u64> {
        let one_run = self.run().is_some();
        let of_header = self.header().epoch_unix_us.filter(|_| one_run);
        self.epoch_unix_us.or(of_header)
    }

    /// The recorder run that all files are of, if they are of one.
    pub fn run(&self) -> Option<u64> {
        let run = self.header().run;
        self.headers()
            .all(|header| header.run == run)
            .then_some(run)
    }

    /// Whether runs that their wall clocks place beside one another are read one after another here.
    pub fn parts_clocks(&self) -> bool {
        let placed = |placed: &Placed| {
            let epoch_us = placed.file.header.epoch_unix_us?;
            Some((epoch_us, placed.shift_us))
        };
        // Each beside the one before it: between others there may have been a pause, which is not in the trace.
        let follows = |before: &(u64, u64), after: &(u64, u64)| {
            after.0.saturating_sub(before.0) >= after.1.saturating_sub(before.1)
        };
        let clocks = self.files.iter().filter_map(placed);
        !clocks.is_sorted_by(follows)
    }

    /// By how much each file's times were moved to stand in the trace's, with its path.
    pub fn shifts_us(&self) -> impl Iterator<Item = (&Path, u64)> {
        let shift = |placed: &'_ Placed| placed.shift_us;
        self.files
            .iter()
            .map(move |placed| (placed.file.path.as_path(), shift(placed)))
    }
}

impl Trace {
    /// Takes in the names of a file's models.
    pub(super) fn learn(&mut self, file: usize, models: Vec<(ModelId, String)>) {
        let placed = self.files.get(file);
        let offset = placed.map_or(0, |placed| placed.offsets.models);
        for (ModelId(id), name) in models {
            self.names.learn(ModelId(id.saturating_add(offset)), name);
        }
    }

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
        self.learn(file, models);
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
