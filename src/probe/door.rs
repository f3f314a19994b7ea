//! A door of our own before a target, by which an evaluator's requests are counted: promptfoo repeats what was refused without a word, and
//! answers from a cache without asking. A model that the target does not have goes through it under the candidate's name.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, oneshot};

use crate::replay::{Dialer, Target};

/// What went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Requests.
    pub(super) requests: u64,
    /// Of them, answered with 429.
    pub(super) refused: u64,
    /// Models that were asked for and are not the target's: its own was asked for in their place.
    pub(super) renamed: Vec<String>,
}

/// Forwards to a target, on a thread of its own, until it is dropped.
pub(super) struct Door {
    addr: SocketAddr,
    counts: Arc<Counts>,
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    refused: AtomicU64,
    renamed: std::sync::Mutex<BTreeSet<String>>,
}

impl Door {
    /// Opens it on this machine's loopback. `model` is asked for in place of those that the target does not have.
    ///
    /// # Errors
    /// What it lacks, in words.
    pub(super) fn open(target: &Target, model: &str) -> Result<Self, String> {
        let told =
            |error: &dyn std::fmt::Display| format!("its requests cannot be counted: {error}");
        let dialer = Dialer::new(target, CONNECT).map_err(|error| told(&error))?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|e| told(&e))?;
        listener.set_nonblocking(true).map_err(|e| told(&e))?;
        let addr = listener.local_addr().map_err(|e| told(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| told(&e))?;
        let counts = Arc::<Counts>::default();
        let (close, closed) = oneshot::channel();
        let way = Arc::new(Way {
            host: HeaderValue::from_str(&target.url.authority()).map_err(|e| told(&e))?,
            target: target.clone(),
            model: model.to_owned(),
            dialer,
            counts: Arc::clone(&counts),
        });
        let thread = std::thread::Builder::new()
            .name("probe-door".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, way) => {}
                        _ = closed => {}
                    }
                });
            })
            .map_err(|e| told(&e))?;
        Ok(Self {
            addr,
            counts,
            close: Some(close),
            thread: Some(thread),
        })
    }

    /// Its own URL, in place of the target's.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What went through so far.
    pub(super) fn passed(&self) -> Passed {
        Passed {
            requests: self.counts.requests.load(Ordering::Acquire),
            refused: self.counts.refused.load(Ordering::Acquire),
            renamed: self.counts.renamed().iter().cloned().collect(),
        }
    }
}

impl Counts {
    fn renamed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.renamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.close.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Way {
    target: Target,
    /// The candidate's.
    model: String,
    host: HeaderValue,
    dialer: Dialer,
    counts: Arc<Counts>,
}

type Body = Either<Incoming, Full<Bytes>>;

async fn accept(listener: std::net::TcpListener, way: Arc<Way>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors for a moment, perhaps.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let way = Arc::clone(&way);
        tokio::spawn(async move {
            // One connection behind it for each before it.
            let behind = Arc::new(Mutex::new(None));
            let service = service_fn(move |request| {
                let (way, behind) = (Arc::clone(&way), Arc::clone(&behind));
                async move {
                    let mut behind = behind.lock().await;
                    Ok::<_, Infallible>(way.forward(request, &mut behind).await)
                }
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Way {
    async fn forward(
        &self,
        request: Request<Incoming>,
        behind: &mut Option<SendRequest<Full<Bytes>>>,
    ) -> Response<Body> {
        self.counts.requests.fetch_add(1, Ordering::AcqRel);
        let (mut head, body) = request.into_parts();
        let asked = head.uri.path_and_query();
        let path = self
            .target
            .url
            .path(asked.map_or("/", |asked| asked.as_str()));
        let (Ok(path), Ok(body)) = (path.parse(), body.collect().await) else {
            return refuse();
        };
        head.uri = path;
        head.headers.insert(header::HOST, self.host.clone());
        head.headers.insert(PROBE, HeaderValue::from_static("1"));
        self.target.headers.put_into(&mut head.headers);
        let body = body.to_bytes();
        let other = other_model(&body, &self.model);
        if let Some((_, renamed)) = &other.as_ref().filter(|(name, _)| self.knows_not(name)) {
            return self.send(&head, renamed.clone(), behind).await;
        }
        let answer = self.send(&head, body, behind).await;
        match other {
            // Of a model that it does not have vLLM says that it is not found, as it does of a path.
            Some((name, renamed)) if answer.status() == StatusCode::NOT_FOUND => {
                let again = self.send(&head, renamed, behind).await;
                if again.status() != StatusCode::NOT_FOUND {
                    let mut known = self.counts.renamed();
                    if known.len() < MOST_MODELS {
                        known.insert(name);
                    }
                }
                again
            }
            _ => answer,
        }
    }

    fn knows_not(&self, model: &str) -> bool {
        self.counts.renamed().contains(model)
    }

    async fn send(
        &self,
        head: &http::request::Parts,
        body: Bytes,
        behind: &mut Option<SendRequest<Full<Bytes>>>,
    ) -> Response<Body> {
        let mut head = head.clone();
        head.headers.remove(header::TRANSFER_ENCODING);
        // The client of hyper writes the length of what is sent, unless it stands there already.
        head.headers.remove(header::CONTENT_LENGTH);
        let mut sender = behind.take();
        if let Some(open) = &mut sender
            && open.ready().await.is_err()
        {
            // It was closed since the answer before.
            sender = None;
        }
        if sender.is_none() {
            sender = self.dial().await;
        }
        let Some(mut sender) = sender else {
            return refuse();
        };
        let request = Request::from_parts(head, Full::new(body));
        let Ok(response) = sender.send_request(request).await else {
            return refuse();
        };
        *behind = Some(sender);
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            self.counts.refused.fetch_add(1, Ordering::AcqRel);
        }
        response.map(Either::Left)
    }

    async fn dial(&self) -> Option<SendRequest<Full<Bytes>>> {
        let io = self.dialer.open().await.ok()?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
        let (sender, connection) = shaken.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}

/// The model that a body asks for, where that is not `model`, and the same body asking for `model`: every other value as it came.
fn other_model(body: &[u8], model: &str) -> Option<(String, Bytes)> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    let asked: String = serde_json::from_str(fields.get("model")?.get()).ok()?;
    if asked == model {
        return None;
    }
    fields.insert(
        "model".to_owned(),
        serde_json::value::to_raw_value(model).ok()?,
    );
    Some((asked, serde_json::to_vec(&fields).ok()?.into()))
}

/// The target is not there, which an evaluator understands as an error of its provider.
fn refuse() -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from("the target does not answer\n")));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// A recorder in between leaves them out.
const PROBE: HeaderName = HeaderName::from_static("x-reenact-probe");
const CONNECT: Duration = Duration::from_secs(10);
/// Models that are remembered; the target is asked first under any other's own name.
const MOST_MODELS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_renamed_and_else_as_it_was() {
        let body = br#"{"model":"gpt-4o-mini","temperature":1e-1,"messages":[{"role":"user","content":"\u00e9"}]}"#;
        let (asked, renamed) = other_model(body, "served").unwrap();
        assert_eq!(asked, "gpt-4o-mini");
        assert_eq!(
            &renamed[..],
            br#"{"messages":[{"role":"user","content":"\u00e9"}],"model":"served","temperature":1e-1}"#
        );
        for same in [
            &b"{\"model\":\"served\"}"[..],
            b"{\"input\":1}",
            b"",
            b"[1]",
        ] {
            assert_eq!(other_model(same, "served"), None);
        }
    }
}
