use super::fields::end_of_head;
use super::framing::Framing;
use super::{Malformed, ResponseHead};

/// What was read of an answer.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// Its head. Interim ones (1xx) are passed over.
    Head(ResponseHead<'a>),
    /// Some of its body.
    Data(&'a [u8]),
}

/// Reads one answer from whatever pieces its connection brings, for whoever asked. Copies nothing but a head that came in
/// pieces; holds nothing of a body.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    state: State,
    /// A head that is not all there yet, and how far it was looked through for its end.
    head: Vec<u8>,
    scanned: usize,
    keeps: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(Framing),
    Over,
}

/// A head may be this long.
const MAX_HEAD: usize = 256 << 10;

impl Answer {
    /// Reads on in `bytes`, tells `seen` what is in them, and says how many are of this answer.
    ///
    /// # Errors
    /// When they are not HTTP/1, or could be read in more than one way; before the answer's end that is seen at the first byte
    /// that shows it.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut seen: impl FnMut(Seen<'_>),
    ) -> Result<usize, Malformed> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(taken);
            }
            taken += match &mut self.state {
                State::Head if self.head.is_empty() => match self.whole_head(rest)? {
                    Some(end) => {
                        self.begin(rest.get(..end).unwrap_or_default(), &mut seen)?;
                        end
                    }
                    None => {
                        self.head.extend_from_slice(rest);
                        rest.len()
                    }
                },
                State::Head => {
                    let mut head = std::mem::take(&mut self.head);
                    let before = head.len();
                    head.extend_from_slice(rest);
                    match self.whole_head(&head)? {
                        Some(end) => {
                            self.begin(head.get(..end).unwrap_or_default(), &mut seen)?;
                            end - before
                        }
                        None => {
                            self.head = head;
                            rest.len()
                        }
                    }
                }
                State::Body(framing) => {
                    let run = |run| seen(Seen::Data(rest.get(run).unwrap_or_default()));
                    let took = framing.scan(rest, run)?;
                    if framing.is_over() {
                        self.state = State::Over;
                    }
                    took
                }
                State::Over => return Ok(taken),
            };
        }
    }

    /// The connection has ended. Whether the answer ends with it.
    pub(crate) fn close(&mut self) -> bool {
        if matches!(self.state, State::Body(Framing::UntilClose)) {
            self.state = State::Over;
        }
        self.is_over()
    }

    /// Whether all of it was read.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether its head was read.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// Whether the connection may bring another answer after this one.
    pub(crate) fn keeps_connection(&self) -> bool {
        self.is_over() && self.keeps
    }

    /// Where the head ends that `bytes` begin with, if all of it is there.
    fn whole_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        // Told apart at once: what is no HTTP may never send a line's end.
        let start = bytes.len().min(VERSION.len());
        if bytes.get(..start) != VERSION.get(..start) {
            return Err(Malformed::FirstLine);
        }
        let end = end_of_head(bytes, &mut self.scanned)?;
        if end.is_none() && bytes.len() > MAX_HEAD {
            return Err(Malformed::HeadTooLarge);
        }
        Ok(end)
    }

    fn begin(&mut self, head: &[u8], seen: &mut impl FnMut(Seen<'_>)) -> Result<(), Malformed> {
        self.scanned = 0;
        let head = ResponseHead::read(head)?;
        if head.is_interim() {
            return Ok(());
        }
        let framing = head.framing(false);
        let until_close = matches!(framing, Framing::UntilClose);
        // Nobody asked for another protocol, so nobody knows how a connection goes on that has changed to one.
        self.keeps = !head.closes && !until_close && head.status != 101;
        self.state = if framing.is_over() {
            State::Over
        } else {
            State::Body(framing)
        };
        seen(Seen::Head(head));
        Ok(())
    }
}

/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of an answer that came in these pieces: status, body, bytes taken, whether it is over, whether the
    /// connection is kept.
    type Read = (Vec<u16>, Vec<u8>, usize, bool, bool);

    fn read(pieces: &[&[u8]]) -> Result<Read, Malformed> {
        let mut answer = Answer::default();
        let (mut heads, mut body, mut taken) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            taken += answer.feed(piece, |seen| match seen {
                Seen::Head(head) => heads.push(head.status),
                Seen::Data(data) => body.extend_from_slice(data),
            })?;
        }
        Ok((
            heads,
            body,
            taken,
            answer.is_over(),
            answer.keeps_connection(),
        ))
    }

    const ANSWERS: [(&str, u16, &str, bool); 8] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n",
            200,
            "hello",
            true,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        (
            "HTTP/1.1 429 Slow Down\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
            429,
            "{}",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
            true,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            101,
            "",
            false,
        ),
    ];

    #[test]
    fn an_answer_reads_the_same_wherever_it_is_cut() {
        for (text, status, body, keeps) in ANSWERS {
            let with_next = format!("{text}HTTP/1.1");
            let expected = (vec![status], body.into(), text.len(), true, keeps);
            assert_eq!(
                read(&[with_next.as_bytes()]),
                Ok(expected.clone()),
                "{text}"
            );
            for cut in 0..text.len() {
                let (a, b) = with_next.as_bytes().split_at(cut);
                assert_eq!(read(&[a, b]), Ok(expected.clone()), "{text} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), Ok(expected), "{text} byte by byte");
        }
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection_and_no_other_does() {
        let mut answer = Answer::default();
        let mut body = Vec::new();
        let text = b"HTTP/1.1 200 OK\r\n\r\nsome";
        let taken = answer.feed(text, |seen| {
            if let Seen::Data(data) = seen {
                body.extend_from_slice(data);
            }
        });
        assert_eq!(taken, Ok(text.len()));
        assert!(answer.has_begun() && !answer.is_over());
        assert!(answer.close() && !answer.keeps_connection());
        assert_eq!(body, b"some");

        for (text, ..) in ANSWERS {
            for cut in 0..text.len() {
                let mut answer = Answer::default();
                let taken = answer.feed(&text.as_bytes()[..cut], |_| {});
                assert_eq!(taken, Ok(cut));
                assert!(!answer.close(), "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_http_is_told_at_its_first_wrong_byte() {
        for text in ["S", "HTTP/2", "\r\n", "220 mail\r\n\r\n", "HTTPS"] {
            assert_eq!(
                read(&[text.as_bytes()]),
                Err(Malformed::FirstLine),
                "{text}"
            );
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD));
        assert_eq!(read(&[endless.as_bytes()]), Err(Malformed::HeadTooLarge));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx";
        assert_eq!(read(&[chunk]), Err(Malformed::Chunk));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_cuts_never_matter(
            which in 0..ANSWERS.len(),
            at in proptest::prelude::any::<proptest::sample::Index>(),
            byte in proptest::prelude::any::<u8>(),
            step in 1..30_usize,
        ) {
            let mut bytes = ANSWERS[which].0.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
            let whole = read(&[&bytes]);
            if whole.is_ok() {
                proptest::prop_assert_eq!(read(&pieces), whole);
            } else {
                proptest::prop_assert!(read(&pieces).is_err());
            }
        }
    }
}
