//! One trace file, opened: its header and where its blocks lie.

use std::io;
use std::path::{Path, PathBuf};

use super::block::{BlockDecoder, Terms};
use super::damage::Damage;
use super::error::TraceError;
use super::footer::{BlockEntry, Footer, TRAILER, footer_offset};
use super::frame::{FRAME, Frame, IdLimits, KIND_EXCHANGES, KIND_FOOTER};
use super::header::{Header, NotAHeader, PREAMBLE};
use super::openings::{LeftOpen, left_open};
use super::scan::{Scan, scan};
use super::seal::unlock;
use super::store::{Bytes, Place};
use super::totals::Totals;
use super::varint::Malformed;

/// A file's header and index. The file itself is opened again when its blocks are read: a trace may have thousands.
#[derive(Debug)]
pub(super) struct TraceFile {
    pub(super) place: Place,
    pub(super) path: PathBuf,
    /// The file's length when it was opened.
    pub(super) bytes: u64,
    pub(super) header: Header,
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) totals: Totals,
    pub(super) ids: IdLimits,
    pub(super) damage: Damage,
    /// Exchanges that were in flight when the recorder was killed.
    pub(super) left_open: LeftOpen,
    /// Whether anything stands behind the header. If so, what was in flight when the file of the run before it was left is here, as
    /// that or ended.
    pub(super) is_begun: bool,
}

impl TraceFile {
    pub(super) fn open(place: &Place) -> Result<Self, TraceError> {
        let path = place.path();
        let io = || TraceError::io(&path);
        let file = place.open().map_err(io())?;
        let len = file.len().map_err(io())?;
        let (header, start) = read_header(&file, &path)?;
        unlock(header.envelope.as_ref(), &path)?;
        if let Some(footer) = read_footer(&file, start, len).map_err(io())? {
            return Ok(Self {
                place: place.clone(),
                path,
                bytes: len,
                header,
                blocks: footer.blocks,
                totals: footer.totals,
                ids: footer.ids,
                damage: Damage::default(),
                left_open: LeftOpen::default(),
                is_begun: true,
            });
        }
        let Scan {
            blocks,
            mut openings,
            ids,
            bad_blocks,
            bad_bytes,
            lost_exchanges,
            wounds,
            footers,
            ..
        } = scan(&file, start, len).map_err(io())?;
        let terms = header.terms();
        let is_begun = !(blocks.is_empty() && openings.is_empty() && footers.is_empty());
        // A footer, even one whose content does not read, says that the file was closed in order.
        openings.retain(|entry| footers.iter().all(|&footer| footer < entry.offset));
        let left_open = left_open(&file, &openings, &blocks, &wounds, terms).map_err(io())?;
        Ok(Self {
            totals: last_totals(&file, &blocks, terms).map_err(io())?,
            place: place.clone(),
            path,
            bytes: len,
            header,
            blocks,
            ids,
            damage: Damage {
                unfinished_files: 1,
                bad_blocks: bad_blocks + left_open.bad_blocks,
                bad_bytes: bad_bytes + left_open.bad_bytes,
                lost_exchanges: lost_exchanges + left_open.too_many,
                doubtful_in_flight: left_open.doubtful,
            },
            left_open,
            is_begun,
        })
    }
}

impl TraceFile {
    /// The first arrival and the last, by the file's own clock; `None` where there is no exchange.
    pub(super) fn ends_us(&self) -> Option<(u64, u64)> {
        let blocks = self.blocks.iter();
        let blocks = blocks.map(|block| (block.first_at_us, block.last_at_us));
        let open = self.left_open.exchanges.iter();
        let open = open.map(|exchange| (exchange.at.us(), exchange.at.us()));
        blocks
            .chain(open)
            .reduce(|(first, last), (a, b)| (first.min(a), last.max(b)))
    }
}

/// A file's header.
pub(super) fn header_of(place: &Place) -> Result<Header, TraceError> {
    let path = place.path();
    let file = place.open().map_err(TraceError::io(&path))?;
    read_header(&file, &path).map(|(header, _)| header)
}

/// The header, and where the blocks begin.
pub(super) fn read_header(file: &Bytes, path: &Path) -> Result<(Header, u64), TraceError> {
    let refused = |offset: usize, not: NotAHeader| {
        let (path, offset) = (path.to_owned(), offset as u64);
        match not {
            NotAHeader::Empty => TraceError::Empty { path },
            NotAHeader::Foreign(looks_like) => TraceError::Foreign { path, looks_like },
            NotAHeader::LineEnds => TraceError::LineEnds { path },
            NotAHeader::Newer(major) => TraceError::Newer { path, major },
            NotAHeader::Torn => TraceError::TornHeader { path, offset },
            NotAHeader::Bad(reason) => TraceError::BadHeader {
                path,
                offset: PREAMBLE as u64,
                reason,
            },
        }
    };
    let read = |len| file.start(len).map_err(TraceError::io(path));
    let start = read(PREAMBLE)?;
    let extent = Header::extent(&start).map_err(|not| refused(start.len(), not))?;
    let start = read(extent)?;
    Header::decode(&start).map_err(|not| refused(start.len(), not))
}

/// The footer, if the file ends in a good one.
pub(super) fn read_footer(file: &Bytes, start: u64, len: u64) -> io::Result<Option<Footer>> {
    let Some(trailer_at) = len.checked_sub(TRAILER as u64).filter(|&at| at >= start) else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER];
    if !read_at(file, &mut trailer, trailer_at)? {
        return Ok(None);
    }
    let Some(offset) =
        footer_offset(&trailer).filter(|&offset| offset >= start && offset < trailer_at)
    else {
        return Ok(None);
    };
    let Some((frame, payload)) = read_block(file, offset, trailer_at)? else {
        return Ok(None);
    };
    let whole = offset + frame.len() == trailer_at && frame.kind == KIND_FOOTER;
    let footer = if whole {
        // Footers are in clear, in sealed files too.
        let mut decoder = BlockDecoder::new(Terms::default())?;
        let document = decoder.unpack(&frame, &payload);
        document.and_then(|document| Footer::decode(&frame, &document))
    } else {
        Err(Malformed("it does not stand where it should"))
    };
    // An index that points out of the file is as good as none.
    Ok(footer.ok().filter(|footer| {
        footer
            .blocks
            .iter()
            .all(|block| block.offset >= start && block.offset < offset)
    }))
}

/// The frame and payload at an offset; `None` where there is no whole block.
pub(super) fn read_block(
    file: &Bytes,
    offset: u64,
    len: u64,
) -> io::Result<Option<(Frame, Vec<u8>)>> {
    let mut frame = [0; FRAME];
    if !read_at(file, &mut frame, offset)? {
        return Ok(None);
    }
    let Some(frame) = Frame::decode(&frame) else {
        return Ok(None);
    };
    if offset.saturating_add(frame.len()) > len {
        return Ok(None);
    }
    let mut payload = vec![0; frame.payload_len as usize];
    let whole = read_at(file, &mut payload, offset + FRAME as u64)?;
    Ok(whole.then_some((frame, payload)))
}

fn read_at(file: &Bytes, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The accounts of the last block that reads: they are cumulative.
fn last_totals(file: &Bytes, blocks: &[BlockEntry], terms: Terms) -> io::Result<Totals> {
    let mut decoder = BlockDecoder::new(terms)?;
    for block in blocks.iter().rev() {
        if let Some((frame, payload)) = read_block(file, block.offset, u64::MAX)?
            && frame.kind == KIND_EXCHANGES
            && let Ok(totals) = decoder.totals(&frame, &payload)
        {
            return Ok(totals);
        }
    }
    Ok(Totals::default())
}
