//! `reenact record` over real sockets: raw clients on one side, scripted upstreams on the other.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod differential;
mod echo;
mod failures;
mod forwarding;
mod http2;
mod in_flight;
mod lifecycle;
mod readers;
mod recording;
mod redirect;
mod smuggling;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod transparency;

use std::path::Path;

use reenact::shape::Exchange;
use reenact::trace::Trace;
use support::Server;
use support::wire::{Upstream, Wire};

/// A recorder between a scripted upstream and a raw client.
struct Between {
    recorder: Server,
    upstream: Upstream,
    dir: tempfile::TempDir,
}

impl Between {
    fn start(args: &[&str]) -> Self {
        let upstream = Upstream::start();
        let dir = tempfile::tempdir().unwrap();
        let recorder = Server::recorder(&upstream.url(), dir.path(), args);
        Self {
            recorder,
            upstream,
            dir,
        }
    }

    fn client(&self) -> Wire {
        Wire::connect(&self.recorder.url)
    }

    /// Sends a request and gives both ends, the upstream's with the head already read.
    fn exchange(&self, request: &str) -> (Wire, Wire, String) {
        let mut client = self.client();
        client.send(request);
        let mut server = self.upstream.accept();
        let head = server.read_head();
        (client, server, head)
    }

    /// Ends the recorder and gives what it wrote.
    fn finish(self) -> Vec<Exchange> {
        let (status, log) = self.recorder.terminate();
        assert!(status.success(), "{log}");
        exchanges(self.dir.path())
    }
}

/// A recorder that only forwards, with an admin endpoint, without listeners and upstreams.
const FORWARDER: &[&str] = &["record", "--no-record", "--admin", "127.0.0.1:0"];
/// A listener of its own.
const LISTEN: &[&str] = &["--listen", "127.0.0.1:0"];

fn exchanges(dir: &Path) -> Vec<Exchange> {
    let mut trace = Trace::open(&[dir.to_owned()]).unwrap();
    trace.exchanges().collect::<Result<_, _>>().unwrap()
}

const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: model.test\r\n\r\n";

/// A small answer.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
