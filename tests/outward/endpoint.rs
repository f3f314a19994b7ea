//! A service that keeps what it is sent.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{http, python};

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// In lower case.
    pub(crate) head: String,
    as_it_came: String,
    body: Vec<u8>,
}

impl Received {
    /// The value of a header, named in small letters, to the letter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.as_it_came.lines();
        lines.find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A service that keeps what it is sent, and answers as it is told to.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Endpoint {
    /// `answer` is asked with the path and how many requests came before: status line and headers, and the body.
    pub(crate) fn new(
        answer: impl Fn(&str, usize) -> (&'static str, &'static [u8]) + Send + Sync + 'static,
    ) -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&received);
        let (url, _) = http::upstream(move |mut stream| {
            while let Some(request) = http::read_request(&mut stream) {
                let end = request.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
                let (head, body) = request.split_at(end);
                let head = String::from_utf8(head.to_vec()).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let before = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Received {
                        path: path.clone(),
                        head: head.to_lowercase(),
                        as_it_came: head,
                        body: body.to_vec(),
                    });
                    kept.len() - 1
                };
                let (status, body) = answer(&path, before);
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                    return;
                }
            }
        });
        Self { url, received }
    }

    /// One that takes everything.
    pub(crate) fn taking() -> Self {
        Self::new(|_, _| ("200 OK", b""))
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The bodies that came to a path, read by their owners' own code.
    pub(crate) fn read(&self, dir: &Path, kind: &str, path: &str) -> Vec<Value> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outward/decode.py");
        let mut command = python();
        command.args([script, kind]);
        let received = self.received();
        let bodies = received.iter().filter(|one| one.path == path);
        for (number, one) in bodies.enumerate() {
            let file = dir.join(format!("{kind}-{number}"));
            std::fs::write(&file, &one.body).unwrap();
            command.arg(file);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
