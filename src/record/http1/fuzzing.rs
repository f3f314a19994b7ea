//! See [`crate::fuzzing`].

use std::ops::Range;

use super::request::RequestHead;
use super::response::{self, Taker};
use crate::net::http1::{Chunked, Fields, Framing, Malformed, ResponseHead, end_of_head};
use crate::record::front::arrival::Arrival;
use crate::record::front::forwarded::{Forwarded, Stamp};

/// A field's name and value.
type Line = (Vec<u8>, Vec<u8>);

/// A head that was accepted, and how it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// What it says first.
    pub first: T,
    /// Its fields as they came.
    pub fields: Vec<Line>,
    /// How its body is framed.
    pub framed: Framed,
    /// Its bytes, of all that were given.
    pub len: usize,
    /// As it is written for the other side.
    pub written: Vec<u8>,
    /// As it is written otherwise: for a request, with forwarded headers; for an answer, to a client of HTTP/1.0.
    pub written_otherwise: Vec<u8>,
}

/// A request's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Vec<u8>,
    /// The path, without its query.
    pub path: Vec<u8>,
    /// HTTP/1.0.
    pub old: bool,
    /// `CONNECT`, which is refused.
    pub connect: bool,
}

/// An answer's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in the RFC")]
pub enum Framed {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads a request's head at the front of these bytes. `None` where it is refused, or not all there.
pub fn request(bytes: &[u8]) -> Option<Read<Request>> {
    let len = whole(bytes)?;
    let (head, framing) = RequestHead::read(bytes.get(..len)?).ok()?;
    let arrival = Arrival {
        client: "192.0.2.1:1".parse().ok(),
        ..Arrival::default()
    };
    let stamp = Stamp::new(Forwarded::Append, &arrival);
    let written = |stamp: Option<&Stamp>| {
        let mut out = Vec::new();
        head.write("", b"upstream", stamp, &mut out);
        out
    };
    Some(Read {
        first: Request {
            method: head.method.to_vec(),
            path: head.path().to_vec(),
            old: head.old,
            connect: head.is_connect(),
        },
        fields: lines(bytes.get(..len)?),
        framed: framed(&framing),
        len,
        written: written(None),
        written_otherwise: written(stamp.as_ref()),
    })
}

/// Reads an answer's head at the front of these bytes.
pub fn response(bytes: &[u8]) -> Option<Read<Response>> {
    let len = whole(bytes)?;
    let head = ResponseHead::read(bytes.get(..len)?).ok()?;
    let written = |old| {
        let mut out = Vec::new();
        let taker = Taker {
            old,
            closes: old,
            upgrades: false,
        };
        response::write(&head, taker, &mut out);
        out
    };
    Some(Read {
        first: Response {
            status: head.status,
        },
        fields: lines(bytes.get(..len)?),
        framed: framed(&head.framing(false)),
        len,
        written: written(false),
        written_otherwise: written(true),
    })
}

/// Where the head ends, which must not depend on how much has been looked at before.
fn whole(bytes: &[u8]) -> Option<usize> {
    let at_once = end_of_head(bytes, &mut 0);
    let mut scanned = 0;
    let bit_by_bit = (0..=bytes.len())
        .map(|len| end_of_head(bytes.get(..len).unwrap_or(bytes), &mut scanned))
        .find(|found| !matches!(found, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(at_once, bit_by_bit, "the head's end depends on its pieces");
    at_once.ok().flatten()
}

fn lines(head: &[u8]) -> Vec<Line> {
    let first = memchr::memchr(b'\n', head).map_or(0, |at| at + 1);
    let end = head.len().saturating_sub(2);
    Fields(head.get(first..end).unwrap_or_default())
        .flatten()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

fn framed(framing: &Framing) -> Framed {
    match framing {
        Framing::Length(length) => Framed::Length(*length),
        Framing::Chunked(_) => Framed::Chunked,
        Framing::UntilClose => Framed::UntilClose,
    }
}

/// The data of a chunked body in these pieces, how many bytes are of the body, and whether it is over; else the name of what
/// is wrong with it.
pub fn chunks(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), &'static str> {
    let mut framing = Framing::Chunked(Chunked::default());
    let (mut data, mut taken) = (Vec::new(), 0);
    for piece in pieces {
        let mut before = 0;
        let note = |run: Range<usize>| {
            assert!(before <= run.start && run.start < run.end, "{run:?}");
            before = run.end;
            data.extend_from_slice(piece.get(run).unwrap_or_else(|| panic!("out of bounds")));
        };
        let took = framing.scan(piece, note).map_err(Malformed::name)?;
        assert!(before <= took && took <= piece.len());
        assert!(took == piece.len() || framing.is_over());
        taken += took;
    }
    Ok((data, taken, framing.is_over()))
}
