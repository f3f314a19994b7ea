//! See [`crate::fuzzing`].

use super::{Answer, Malformed, Seen};

/// An answer as whoever asked reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// Its status, if its head came.
    pub status: Option<u16>,
    /// Its body's data.
    pub data: Vec<u8>,
    /// Bytes that are of the answer.
    pub taken: usize,
    /// Whether it is over, and its connection may bring another.
    pub over: bool,
    /// The same for the connection.
    pub keeps: bool,
}

/// Reads an answer that comes in these pieces; the name of what is wrong where it is refused.
pub fn answer(pieces: &[&[u8]]) -> Result<Answered, &'static str> {
    let mut answer = Answer::default();
    let mut read = Answered::default();
    for piece in pieces {
        let took = answer
            .feed(piece, |seen| match seen {
                Seen::Head(head) => {
                    assert!(read.status.is_none(), "an answer has one head");
                    read.status = Some(head.status);
                }
                Seen::Data(data) => {
                    assert!(read.status.is_some(), "a body follows a head");
                    read.data.extend_from_slice(data);
                }
            })
            .map_err(Malformed::name)?;
        assert!(took == piece.len() || answer.is_over() && took < piece.len());
        read.taken += took;
    }
    read.over = answer.is_over();
    read.keeps = answer.keeps_connection();
    Ok(read)
}
