//! A block's document: its columns and what it says beside them, as a map that is then packed.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::layout::{ColumnBytes, LaidOut};
use crate::trace::frame::IdLimits;
use crate::trace::totals::Totals;
use crate::trace::varint::Malformed;

/// A block's payload, once unpacked.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) columns: &'a LaidOut<'a>,
    pub(super) coding: u8,
    pub(super) base: IdLimits,
    pub(super) totals: &'a Totals,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) models: &'a [(u32, String)],
    #[serde(skip_serializing_if = "<[_]>::is_empty", with = "serde_bytes")]
    pub(super) gone: &'a [u8],
}

#[derive(Deserialize)]
pub(super) struct DocumentRead<'a> {
    #[serde(borrow)]
    pub(super) columns: ColumnBytes<'a>,
    #[serde(default)]
    pub(super) coding: u8,
    #[serde(default)]
    pub(super) base: IdLimits,
    #[serde(default)]
    pub(super) models: Vec<(u32, String)>,
}

/// The parts of a document that need no decoding of exchanges.
#[derive(Deserialize)]
pub(super) struct Accounts {
    #[serde(default)]
    pub(super) totals: Totals,
}

#[derive(Deserialize)]
pub(super) struct Names {
    #[serde(default)]
    pub(super) models: Vec<(u32, String)>,
}

/// The numbers of a block's exchanges among those of the file that were written while in flight; 0 for none, else one more.
#[derive(Deserialize)]
pub(super) struct OpeningsRead<'a> {
    #[serde(borrow)]
    pub(super) columns: ColumnBytes<'a>,
    #[serde(borrow, default)]
    pub(super) gone: &'a serde_bytes::Bytes,
}

/// Reads of a document what `T` asks for.
pub(super) fn read<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T, Malformed> {
    rmp_serde::from_slice(document).map_err(|_| Malformed("its document does not read"))
}

/// Compresses a document. In a large one, every large column or plane becomes a zstd block of its own and so has its own entropy
/// tables: 6 % smaller for live traffic, and the same to any decoder.
pub(super) fn pack(
    compressor: &mut zstd::bulk::Compressor<'static>,
    document: &[u8],
    columns: &LaidOut<'_>,
) -> std::io::Result<Vec<u8>> {
    const LARGE: usize = 512;
    if document.len() < 16 * LARGE {
        return compressor.compress(document);
    }
    let mut out = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    out.set_pledged_src_size(Some(document.len() as u64))?;
    // The document begins with its columns: a map of one byte, their key of eight, their map of three at most, and for each
    // its number of one byte and its length of three or five. Where exactly a piece ends does not matter.
    let mut rest = document;
    let mut piece = 12;
    for len in columns.lengths() {
        if len < LARGE {
            piece += len + 3;
            continue;
        }
        for end in [piece, len + 4] {
            let (head, tail) = rest.split_at(end.min(rest.len()));
            out.write_all(head)?;
            out.flush()?;
            rest = tail;
        }
        piece = 0;
    }
    out.write_all(rest)?;
    out.finish()
}
