use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Records in temporary files without a name: written one after another, read in any order, and gone with the process, however
/// it ends. A file is given back when all of its records have been taken.
#[derive(Default)]
pub(super) struct Spill {
    files: BTreeMap<u64, Segment>,
    /// The file that is written to.
    current: u64,
    bytes: u64,
    peak_bytes: u64,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) struct Place {
    file: u64,
    offset: u64,
    bytes: u32,
    /// Without compression.
    whole: u32,
}

struct Segment {
    file: File,
    written: u64,
    /// What is not yet in the file.
    pending: Vec<u8>,
    live: u64,
}

/// A file takes no more than this.
const SEGMENT: u64 = 64 << 20;
/// Written in pieces of this size.
const PIECE: usize = 1 << 20;
/// Waiting records are read once and soon: speed counts.
const LEVEL: i32 = 1;

impl Spill {
    pub(super) fn put(&mut self, record: &[u8]) -> io::Result<Place> {
        let too_large = |_| io::Error::other("a request's record is larger than 4 GiB");
        let whole = u32::try_from(record.len()).map_err(too_large)?;
        let packed = zstd::bulk::compress(record, LEVEL)?;
        let bytes = u32::try_from(packed.len()).map_err(too_large)?;
        if self
            .files
            .get(&self.current)
            .is_some_and(|segment| segment.end() >= SEGMENT)
        {
            self.current += 1;
        }
        let file = self.current;
        let segment = match self.files.entry(file) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Segment::new(file)?),
        };
        let offset = segment.end();
        segment.pending.extend_from_slice(&packed);
        segment.live += 1;
        if segment.pending.len() >= PIECE {
            segment.file.write_all(&segment.pending)?;
            segment.written = segment.end();
            segment.pending.clear();
        }
        self.bytes += u64::from(bytes);
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        Ok(Place {
            file,
            offset,
            bytes,
            whole,
        })
    }

    pub(super) fn take(&mut self, place: Place) -> io::Result<Vec<u8>> {
        let lost = || io::Error::other("a record that waited in a temporary file is gone");
        let segment = self.files.get_mut(&place.file).ok_or_else(lost)?;
        let record = segment.read(place)?;
        segment.live -= 1;
        if segment.live == 0 {
            self.files.remove(&place.file);
            // What is written next must not be found under the places of what was there.
            self.current = self.current.max(place.file + 1);
        }
        self.bytes -= u64::from(place.bytes);
        Ok(record)
    }

    /// Bytes of records that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most that ever did.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }
}

impl Segment {
    fn new(number: u64) -> io::Result<Self> {
        let directory = std::env::temp_dir();
        let id = getrandom::u64().map_err(io::Error::other)?;
        let path = directory.join(format!("reenact-turns-{number}-{id:016x}"));
        let open = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|error: io::Error| {
            let place = directory.display();
            io::Error::new(error.kind(), format!("{place}: {error}"))
        })?;
        Ok(Self {
            file,
            written: 0,
            pending: Vec::new(),
            live: 0,
        })
    }

    fn end(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let lost = || io::Error::other("a record that waited in a temporary file is gone");
        let length = place.bytes as usize;
        let mut packed = vec![0; length];
        match place.offset.checked_sub(self.written) {
            Some(at) => {
                let at = usize::try_from(at).map_err(io::Error::other)?;
                let there = self.pending.get(at..at + length).ok_or_else(lost)?;
                packed.copy_from_slice(there);
            }
            None => self.file.read_exact_at(&mut packed, place.offset)?,
        }
        zstd::bulk::decompress(&packed, place.whole as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_any_order_and_files_go_when_they_are_empty() {
        let mut spill = Spill::default();
        // Not compressible, so that several pieces and files are written.
        let noise = |bytes: usize| {
            let mut record = vec![0; bytes];
            getrandom::fill(&mut record).unwrap();
            record
        };
        let records: Vec<Vec<u8>> = (0..100).map(|i| noise(1 << 20 | i)).collect();
        let places: Vec<Place> = records.iter().map(|it| spill.put(it).unwrap()).collect();
        assert_eq!(spill.files.len(), 2);
        for i in (0..100).rev() {
            assert_eq!(spill.take(places[i]).unwrap(), records[i]);
        }
        assert!(spill.files.is_empty());
        assert_eq!(spill.bytes(), 0);
        assert!(spill.peak_bytes() > 100 << 20);
        let again = spill.put(b"again").unwrap();
        assert_eq!(spill.take(again).unwrap(), b"again");
    }
}
