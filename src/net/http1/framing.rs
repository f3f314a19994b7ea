//! Where a body's data lies in its bytes, and where the body ends. The bytes are passed on as they are; nothing is framed anew.

use super::Malformed;
use super::fields::{Fields, end_of_head};

/// What of a body is still to come.
#[derive(Debug)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks, a last chunk and trailers.
    Chunked(Chunked),
    /// Everything until the connection's end.
    UntilClose,
}

impl Framing {
    /// No body.
    pub(crate) const NONE: Self = Self::Length(0);

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => matches!(chunked.state, State::Over),
            Self::UntilClose => false,
        }
    }

    /// The lines of the trailer section, once it has been read.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(chunked) if self.is_over() => {
                chunked.trailers.get(2..).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Reads on in `bytes`, tells each run of data, and says how many bytes are of this body.
    ///
    /// # Errors
    /// When chunks are not framed as RFC 9112, 7.1 says, to the byte.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(std::ops::Range<usize>),
    ) -> Result<usize, Malformed> {
        match self {
            Self::Length(left) => {
                let take = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= take as u64;
                if take > 0 {
                    data(0..take);
                }
                Ok(take)
            }
            Self::UntilClose => {
                if !bytes.is_empty() {
                    data(0..bytes.len());
                }
                Ok(bytes.len())
            }
            Self::Chunked(chunked) => chunked.scan(bytes, data),
        }
    }
}

/// Appends to `out` the data alone of `bytes`, whose `runs` then say where it lies in `out`.
pub(crate) fn append_data(bytes: &[u8], runs: &mut [std::ops::Range<usize>], out: &mut Vec<u8>) {
    for run in runs {
        let from = out.len();
        out.extend_from_slice(bytes.get(run.clone()).unwrap_or_default());
        *run = from..out.len();
    }
}

/// Reads the chunked coding.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// Of the chunk being read.
    left: u64,
    /// Digits of its size, or bytes of its extension.
    seen: usize,
    /// The trailer section so far.
    trailers: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
    Over,
}

/// A chunk's extension may be this long, and all trailers together.
const MAX_EXTENSION: usize = 1 << 10;
const MAX_TRAILERS: usize = 16 << 10;
/// Hexadecimal digits of a chunk's size: 2⁶⁰ bytes are enough.
const MAX_DIGITS: usize = 15;

impl Chunked {
    fn scan(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(std::ops::Range<usize>),
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Size => {
                    if let Some(digit) = (byte as char).to_digit(16) {
                        if self.seen == MAX_DIGITS {
                            return Err(Malformed::Chunk);
                        }
                        self.seen += 1;
                        self.left = self.left * 16 + u64::from(digit);
                    } else {
                        if self.seen == 0 {
                            return Err(Malformed::Chunk);
                        }
                        self.seen = 0;
                        self.state = match byte {
                            b'\r' => State::SizeLineFeed,
                            b';' => State::Extension,
                            _ => return Err(Malformed::Chunk),
                        };
                    }
                    at += 1;
                }
                State::Extension => {
                    self.seen += 1;
                    if byte == b'\r' {
                        self.seen = 0;
                        self.state = State::SizeLineFeed;
                    } else if !super::fields::is_text(byte) || self.seen > MAX_EXTENSION {
                        return Err(Malformed::Chunk);
                    }
                    at += 1;
                }
                State::SizeLineFeed => {
                    expect(byte, b'\n')?;
                    at += 1;
                    self.state = if self.left == 0 {
                        State::Trailers
                    } else {
                        State::Data
                    };
                }
                State::Data => {
                    let rest = bytes.len() - at;
                    let take = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                    data(at..at + take);
                    at += take;
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = State::DataReturn;
                    }
                }
                State::DataReturn => {
                    expect(byte, b'\r')?;
                    at += 1;
                    self.state = State::DataLineFeed;
                }
                State::DataLineFeed => {
                    expect(byte, b'\n')?;
                    at += 1;
                    self.state = State::Size;
                }
                State::Trailers => {
                    at += self.read_trailers(bytes.get(at..).unwrap_or_default())?;
                }
                State::Over => break,
            }
        }
        Ok(at)
    }

    fn read_trailers(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        // The section ends in a blank line; with a line end before it, that is how a head ends.
        if self.trailers.is_empty() {
            if let [b'\r', b'\n', ..] = bytes {
                self.state = State::Over;
                return Ok(2);
            }
            self.trailers.extend_from_slice(b"\r\n");
        }
        let before = self.trailers.len();
        let mut scanned = before.saturating_sub(1);
        self.trailers.extend_from_slice(bytes);
        let Some(end) = end_of_head(&self.trailers, &mut scanned)? else {
            if self.trailers.len() > MAX_TRAILERS {
                return Err(Malformed::Trailer);
            }
            return Ok(bytes.len());
        };
        let lines = self.trailers.get(2..end - 2).unwrap_or_default();
        for field in Fields(lines) {
            let field = field?;
            let framing = ["content-length", "transfer-encoding", "host", "trailer"];
            if framing.iter().any(|name| field.is(name)) {
                return Err(Malformed::Trailer);
            }
        }
        self.trailers.truncate(end - 2);
        self.state = State::Over;
        Ok(end - before)
    }
}

fn expect(byte: u8, wanted: u8) -> Result<(), Malformed> {
    if byte == wanted {
        Ok(())
    } else {
        Err(Malformed::Chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunked() -> Framing {
        Framing::Chunked(Chunked::default())
    }

    /// The data, and how many bytes were of the body, when it arrives in these pieces.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut framing = chunked();
        let (mut found, mut taken) = (Vec::new(), 0);
        for piece in pieces {
            taken += framing.scan(piece, |run| found.extend_from_slice(&piece[run]))?;
        }
        Ok((found, taken, framing.is_over()))
    }

    #[test]
    fn chunks_read_the_same_wherever_they_are_cut() {
        let body = b"5\r\nhello\r\nA;x=\"y\"\r\n, my world\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\nGET";
        let whole = (b"hello, my world".to_vec(), body.len() - 3, true);
        assert_eq!(read(&[body]), Ok(whole.clone()));
        for cut in 0..body.len() - 3 {
            let (a, b) = body.split_at(cut);
            assert_eq!(read(&[a, b]), Ok(whole.clone()), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body[..body.len() - 3].chunks(1).collect();
        assert_eq!(read(&bytes), Ok(whole));
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_refused() {
        for bad in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "\r\nhello\r\n0\r\n\r\n",
            ";a\r\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "1000000000000000\r\n",
            "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
            "5\r\nhello\r\n0\r\nX : 3\r\n\r\n",
            "5\r\nhello\r\n0\r\nX: 3\n\r\n",
            "5\r\nhello\r\n0\r\n X: 3\r\n\r\n",
            "5\r\nhello\r\n0\r\n\n",
        ] {
            assert!(read(&[bad.as_bytes()]).is_err(), "{bad:?}");
            let bytes: Vec<&[u8]> = bad.as_bytes().chunks(1).collect();
            assert!(read(&bytes).is_err(), "{bad:?} byte by byte");
        }
        let long = format!("5;{}\r\n", "x".repeat(MAX_EXTENSION + 1));
        assert_eq!(read(&[long.as_bytes()]), Err(Malformed::Chunk));
        let long = format!("0\r\nX: {}", "x".repeat(MAX_TRAILERS));
        assert_eq!(read(&[long.as_bytes()]), Err(Malformed::Trailer));
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.scan(b"abc", |_| {}), Ok(3));
        assert!(!framing.is_over());
        assert_eq!(framing.scan(b"deGET", |run| assert_eq!(run, 0..2)), Ok(2));
        assert!(framing.is_over() && Framing::NONE.is_over());
    }

    proptest! {
        #[test]
        fn any_chunks_give_their_data_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1usize..17, 1..60),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let mut rest = &wire[..];
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(read(&pieces), Ok((chunks.concat(), wire.len(), true)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[&bytes]);
        }
    }
}
