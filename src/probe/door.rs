//! A door of our own before a target, by which an evaluator's requests are counted: promptfoo repeats what was refused without a word, and
//! answers from a cache without asking.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, oneshot};

use crate::replay::{Dialer, Target};

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Requests.
    pub(super) requests: u64,
    /// Of them, answered with 429.
    pub(super) refused: u64,
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
}

impl Door {
    /// Opens it on this machine's loopback.
    ///
    /// # Errors
    /// What it lacks, in words.
    pub(super) fn open(target: &Target) -> Result<Self, String> {
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
        }
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
        mut request: Request<Incoming>,
        behind: &mut Option<SendRequest<Incoming>>,
    ) -> Response<Body> {
        self.counts.requests.fetch_add(1, Ordering::AcqRel);
        let asked = request.uri().path_and_query();
        let path = self
            .target
            .url
            .path(asked.map_or("/", |asked| asked.as_str()));
        let Ok(path) = path.parse() else {
            return refuse();
        };
        *request.uri_mut() = path;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(PROBE, HeaderValue::from_static("1"));
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
        let Ok(response) = sender.send_request(request).await else {
            return refuse();
        };
        *behind = Some(sender);
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            self.counts.refused.fetch_add(1, Ordering::AcqRel);
        }
        response.map(Either::Left)
    }

    async fn dial(&self) -> Option<SendRequest<Incoming>> {
        let io = self.dialer.open().await.ok()?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
        let (sender, connection) = shaken.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
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
