use std::error::Error;
use std::io;

use crate::replay::FailureKind;

/// What a broken exchange is called. `answering`: the response head had arrived.
pub(super) fn kind_of(error: &hyper::Error, answering: bool) -> FailureKind {
    if error.is_parse() && !answering {
        return FailureKind::NotHttp;
    }
    if error.is_timeout() {
        return FailureKind::Timeout;
    }
    let broke = io_kind(error).is_some_and(|kind| kind != io::ErrorKind::UnexpectedEof);
    match answering {
        // It stopped in the middle, but by an orderly end of the connection.
        true if !broke => FailureKind::Truncated,
        _ => FailureKind::Reset,
    }
}

/// The kind of the I/O error at the root, where there is one.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        at = error.source();
    }
    None
}
