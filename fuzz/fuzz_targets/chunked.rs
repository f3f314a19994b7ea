//! A chunked body reads the same wherever it is cut, and the same to another parser.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::fuzzing::chunks;

fuzz_target!(|input: &[u8]| {
    let Some((body, pieces)) = pieces::cut(input) else {
        return;
    };
    let whole = chunks(&[body]);
    let cut = chunks(&pieces);
    // What is wrong may be found in another place where the end of a piece hid it.
    assert_eq!(whole.is_ok(), cut.is_ok(), "{whole:?} {cut:?}");
    let Ok(whole) = whole else { return };
    assert_eq!(Ok(&whole), cut.as_ref());
    let (data, taken, over) = whole;
    if over {
        assert_eq!((data, taken), as_httparse_reads(body));
    }
});

/// Data and length of a body that is over.
fn as_httparse_reads(body: &[u8]) -> (Vec<u8>, usize) {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(&body[at..])
        else {
            panic!("we accept a chunk that httparse does not");
        };
        at += head;
        if size == 0 {
            break;
        }
        let end = at + usize::try_from(size).expect("it is there");
        data.extend_from_slice(&body[at..end]);
        assert_eq!(&body[end..end + 2], b"\r\n");
        at = end + 2;
    }
    let mut room = [httparse::EMPTY_HEADER; 4096];
    let Ok(httparse::Status::Complete((trailers, _))) =
        httparse::parse_headers(&body[at..], &mut room)
    else {
        panic!("we accept trailers that httparse does not");
    };
    (data, at + trailers)
}
