//! How columns stand in a document: a map from column number to bytes, or to planes of bytes.
//!
//! A column whose numbers take several bytes is laid out in planes: the first bytes of all numbers, then the second bytes of those
//! that have one, and so on. What is random in a number (low bits of a time) and what repeats (how large it is) then stand
//! apart, and each plane gets entropy tables of its own: 2.6 bytes less for each live exchange of 45.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_bytes::Bytes;

use super::columns::{ColumnNumbers, Columns};
use crate::trace::varint::{Numbers, short_run};

/// The most bytes of a number.
const MOST_PLANES: usize = 10;

/// Columns shorter than this stay as they are: planes have lengths of their own.
const LONG: usize = 64;

/// Columns as they are written.
pub(super) struct LaidOut<'a>(Vec<(u8, Layout<'a>)>);

enum Layout<'a> {
    Plain(&'a [u8]),
    Planes(Vec<Vec<u8>>),
}

impl<'a> LaidOut<'a> {
    pub(super) fn of(columns: &'a Columns) -> Self {
        let laid_out = |(number, bytes): (u8, &'a [u8])| {
            let layout = match bytes.len() >= LONG && bytes.iter().any(|&byte| byte >= 0x80) {
                true => Layout::Planes(planes_of(bytes)),
                false => Layout::Plain(bytes),
            };
            (number, layout)
        };
        Self(columns.telling().map(laid_out).collect())
    }

    /// Lengths of the pieces of bytes as they stand in the document, in their order.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(|(_, layout)| {
            let (plain, planes) = match layout {
                Layout::Plain(bytes) => (Some(bytes.len()), [].as_slice()),
                Layout::Planes(planes) => (None, planes.as_slice()),
            };
            plain.into_iter().chain(planes.iter().map(Vec::len))
        })
    }
}

fn planes_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut planes: Vec<Vec<u8>> = Vec::new();
    let mut place = 0;
    for &byte in bytes {
        match planes.get_mut(place) {
            Some(plane) => plane.push(byte),
            None => {
                let mut plane = Vec::with_capacity(bytes.len());
                plane.push(byte);
                planes.push(plane);
            }
        }
        place = if byte >= 0x80 { place + 1 } else { 0 };
    }
    planes
}

impl Serialize for LaidOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (number, layout) in &self.0 {
            match layout {
                Layout::Plain(bytes) => map.serialize_entry(number, Bytes::new(bytes))?,
                Layout::Planes(planes) => {
                    let planes: Vec<_> = planes.iter().map(|plane| Bytes::new(plane)).collect();
                    map.serialize_entry(number, &planes)?;
                }
            }
        }
        map.end()
    }
}

/// Columns as they are read: planes put together again. Takes no more memory than the document.
#[derive(Default)]
pub(super) struct ColumnBytes<'a>(Vec<(u64, Cow<'a, [u8]>)>);

impl ColumnBytes<'_> {
    /// Those that this version knows.
    pub(super) fn numbers(&self) -> ColumnNumbers<'_> {
        let mut columns = ColumnNumbers::default();
        for (number, bytes) in &self.0 {
            if let Some(column) = columns.set(*number) {
                *column = Numbers::new(bytes);
            }
        }
        columns
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ColumnBytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ColumnMap(PhantomData))
    }
}

struct ColumnMap<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ColumnMap<'a> {
    type Value = ColumnBytes<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map of column numbers to bytes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = ColumnBytes::default();
        while let Some(number) = map.next_key::<u64>()? {
            columns.0.push((number, map.next_value::<Column<'a>>()?.0));
        }
        Ok(columns)
    }
}

struct Column<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Column<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnValue(PhantomData))
    }
}

struct ColumnValue<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ColumnValue<'a> {
    type Value = Column<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes, or planes of them")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Column(Cow::Borrowed(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut planes: [&[u8]; MOST_PLANES] = [&[]; MOST_PLANES];
        let mut count = 0;
        while let Some(plane) = seq.next_element::<&'de Bytes>()? {
            match planes.get_mut(count) {
                Some(place) => *place = plane,
                None => return Err(A::Error::custom("a column has too many planes")),
            }
            count += 1;
        }
        together(planes)
            .map(|bytes| Column(Cow::Owned(bytes)))
            .ok_or_else(|| A::Error::custom("the planes of a column do not fit"))
    }
}

/// Numbers whose bytes stand in planes, one after another; `None` where a plane has too few bytes or too many.
fn together(mut planes: [&[u8]; MOST_PLANES]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(planes.iter().map(|plane| plane.len()).sum());
    let [first, rest @ ..] = &mut planes;
    loop {
        let (run, left) = first.split_at(short_run(first, first.len()));
        out.extend_from_slice(run);
        let Some((&byte, left)) = left.split_first() else {
            break;
        };
        *first = left;
        out.push(byte);
        let mut more = byte >= 0x80;
        let mut deeper = rest.iter_mut();
        while more {
            let plane = deeper.next()?;
            let (&byte, left) = plane.split_first()?;
            *plane = left;
            out.push(byte);
            more = byte >= 0x80;
        }
    }
    rest.iter().all(|plane| plane.is_empty()).then_some(out)
}
