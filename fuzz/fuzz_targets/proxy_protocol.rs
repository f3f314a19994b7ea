//! A PROXY header is read to its last byte and no further, and says the same when it is written again in either version.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use reenact::fuzzing::{proxy_header, write_proxy_header};
use reenact::record::ProxyVersion;

fuzz_target!(|bytes: &[u8]| {
    let (header, taken) = read(bytes);
    assert!(taken <= 16 + 4096);
    let Some(ends) = header else { return };
    assert_eq!(
        read(&bytes[..taken]),
        (header, taken),
        "what follows a header changes it"
    );
    for len in 0..taken {
        assert_eq!(read(&bytes[..len]).0, None, "a part of a header is one");
    }
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let written = write_proxy_header(version, ends);
        let (again, taken) = read(&written);
        assert_eq!(taken, written.len());
        assert_eq!(
            again.map(|ends| ends.map(canonical)),
            Some(ends.map(canonical))
        );
    }
});

fn read(bytes: &[u8]) -> (Option<Option<(SocketAddr, SocketAddr)>>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(proxy_header(bytes))
}

/// An IPv4 address may be told in its IPv6 form.
fn canonical((client, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let one = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    (one(client), one(destination))
}
