//! A request's head that is accepted reads the same to another parser, and once written for the upstream reads the same to us.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::fuzzing::{Read, Request, request};

fuzz_target!(|bytes: &[u8]| {
    let Some(read) = request(bytes) else { return };
    let Some(seen) = as_httparse_reads(&bytes[..read.len]) else {
        return;
    };
    assert_eq!(seen, (read.first.method.clone(), read.fields.clone()));
    if read.first.connect {
        return;
    }
    for written in [&read.written, &read.written_otherwise] {
        let again = request(written).expect("what is written is read");
        assert_eq!(again.len, written.len(), "one head was written");
        assert_eq!(again.framed, read.framed);
        assert_eq!(
            (&again.first.method, &again.first.path),
            (&read.first.method, &read.first.path)
        );
        assert!(!again.first.old);
        let method_and_fields = (again.first.method.clone(), again.fields.clone());
        assert!(as_httparse_reads(written).is_none_or(|seen| seen == method_and_fields));
    }
    let again = request(&read.written).expect("what is written is read");
    nothing_is_made_up(&read, &again);
    // The fields for one hop may change their places once; then nothing does.
    assert_eq!(sorted(&again.written), sorted(&read.written));
    let third = request(&again.written).expect("what is written twice is read");
    assert_eq!(third.written, again.written);
});

/// Method and fields; `None` where there are more of these than it is given room for.
fn as_httparse_reads(head: &[u8]) -> Option<(Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>)> {
    let mut room = [httparse::EMPTY_HEADER; 256];
    let mut seen = httparse::Request::new(&mut room);
    match seen.parse(head) {
        Ok(httparse::Status::Complete(len)) => assert_eq!(len, head.len()),
        Err(httparse::Error::TooManyHeaders) => return None,
        // It wants the target to be UTF-8, where it is not ASCII.
        Err(httparse::Error::Token) if std::str::from_utf8(head).is_err() => return None,
        other => panic!("we accept what httparse does not: {other:?}"),
    }
    let fields = seen
        .headers
        .iter()
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()));
    Some((seen.method?.as_bytes().to_vec(), fields.collect()))
}

/// Every field of what is written was in what was read, but for those that a proxy must add.
fn nothing_is_made_up(read: &Read<Request>, again: &Read<Request>) {
    for (name, value) in &again.fields {
        let ours = match &name[..] {
            b"Host" => true,
            b"TE" => value == b"trailers",
            b"Connection" => value == b"Upgrade",
            _ => false,
        };
        assert!(
            ours || read.fields.contains(&(name.clone(), value.clone())),
            "{name:?} was not there"
        );
    }
}

fn sorted(head: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = head.split(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines
}
