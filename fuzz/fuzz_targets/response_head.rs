//! An answer's head that is accepted reads the same to another parser, and once written for the client reads the same to us.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::fuzzing::{Framed, response};

fuzz_target!(|bytes: &[u8]| {
    let Some(read) = response(bytes) else { return };
    assert!(
        as_httparse_reads(&bytes[..read.len])
            .is_none_or(|seen| seen == (read.first.status, read.fields.clone()))
    );
    let again = response(&read.written).expect("what is written is read");
    assert_eq!(again.len, read.written.len(), "one head was written");
    assert_eq!((&again.first, again.framed), (&read.first, read.framed));
    assert_eq!(again.written, read.written);
    for field in &again.fields {
        assert!(read.fields.contains(field), "a field was not there");
    }
    // Without chunks, the body of an old client's answer ends with its connection.
    let old = response(&read.written_otherwise).expect("what is written for HTTP/1.0 is read");
    assert_eq!(old.len, read.written_otherwise.len());
    let unframed = if read.framed == Framed::Chunked {
        Framed::UntilClose
    } else {
        read.framed
    };
    assert_eq!((&old.first, old.framed), (&read.first, unframed));
});

/// Status and fields; `None` where there are more of these than it is given room for.
fn as_httparse_reads(head: &[u8]) -> Option<(u16, Vec<(Vec<u8>, Vec<u8>)>)> {
    let mut room = [httparse::EMPTY_HEADER; 256];
    let mut seen = httparse::Response::new(&mut room);
    match seen.parse(head) {
        Ok(httparse::Status::Complete(len)) => assert_eq!(len, head.len()),
        Err(httparse::Error::TooManyHeaders) => return None,
        other => panic!("we accept what httparse does not: {other:?}"),
    }
    let fields = seen
        .headers
        .iter()
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()));
    Some((seen.code?, fields.collect()))
}
