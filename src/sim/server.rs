//! The HTTP side: routes, limits, streams.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::driver::{self, Delivery, Orders};
use super::engine::{RequestId, Stats};
use super::memory::{InUse, Vram};
use super::metrics::Metrics;
use super::noise::{mix, unit};
use super::wire::{Api, Chat, Completions, Embeddings, Messages, Problem, Reply, models, tokenize};
use super::{Config, SimError};

/// How the server names itself in every response.
pub(super) const SIMULATED: &str = "reenact-sim (simulated)";

/// A simulated inference server.
#[derive(Debug)]
pub struct Server;

/// A running one; stops when dropped.
pub struct ServerHandle {
    addr: SocketAddr,
    orders: Orders,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves on `listener`, on threads of its own.
    ///
    /// # Errors
    /// When a parameter makes no sense, or this machine lacks threads.
    pub fn start(config: Config, listener: TcpListener) -> Result<ServerHandle, SimError> {
        config.validate()?;
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let metrics = Arc::new(Metrics::new(&config));
        let (orders, engine) = driver::start(config.clone(), Arc::clone(&metrics))?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            vram: Vram::new(&config),
            config,
            orders: orders.clone(),
            metrics,
            next: AtomicU64::new(0),
        });
        let http = std::thread::Builder::new()
            .name("sim-http".to_owned())
            .spawn(move || {
                runtime.block_on(accept(listener, shared, stopped));
            })?;
        Ok(ServerHandle {
            addr,
            orders,
            stop,
            threads: vec![http, engine],
        })
    }
}

impl ServerHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it did so far: the truth that measurements of it are held against.
    pub fn stats(&self) -> Stats {
        self.orders.stats()
    }

    /// Stops it and waits until it has.
    pub fn shutdown(self) {}
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.orders.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    config: Config,
    orders: Orders,
    metrics: Arc<Metrics>,
    vram: Option<Vram>,
    next: AtomicU64,
}

impl Shared {
    /// What is in use of the GPU's memory, where it has one.
    fn in_use(&self) -> Option<InUse> {
        let vram = self.vram.as_ref()?;
        Some(vram.look(&self.orders.stats()))
    }
}

fn out_of_memory() -> Problem {
    Problem {
        status: 500,
        message: "CUDA out of memory (simulated)".to_owned(),
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, say: the next one may go better.
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            _ = stopped.changed() => return,
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(serve(&shared, request).await) }
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Answered> {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let api: &'static dyn Api = match path.as_str() {
        "/v1/messages" => &Messages,
        "/v1/completions" => &Completions,
        "/v1/embeddings" => &Embeddings,
        _ => &Chat,
    };
    match answer(shared, api, &path, request).await {
        Ok(response) => response,
        Err(problem) => json(problem.status, &api.error(&problem)),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    api: &'static dyn Api,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Answered>, Problem> {
    let allowed = match path {
        "/v1/chat/completions"
        | "/v1/completions"
        | "/v1/messages"
        | "/v1/embeddings"
        | "/tokenize" => Method::POST,
        "/v1/models" | "/health" | "/version" | "/metrics" => Method::GET,
        _ => {
            return Err(Problem {
                status: 404,
                message: "there is nothing here".to_owned(),
            });
        }
    };
    if *request.method() != allowed {
        return Err(Problem {
            status: 405,
            message: format!("this path takes {allowed}"),
        });
    }
    match path {
        "/v1/models" => Ok(json(200, &models(&shared.config))),
        "/version" => Ok(json(200, &serde_json::json!({"version": SIMULATED}))),
        "/health" => Ok(respond(200, "text/plain", Answered::whole(Bytes::new()))),
        "/metrics" => {
            let text = shared
                .metrics
                .text(&shared.orders.stats(), shared.vram.as_ref());
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(respond(200, kind, Answered::whole(text.into())))
        }
        "/tokenize" => {
            let body = read(&shared.config, request).await?;
            Ok(json(200, &tokenize(&shared.config, &body)?))
        }
        _ => {
            let body = read(&shared.config, request).await?;
            generate(shared, api, &body).await
        }
    }
}

/// What a request is answered by where the batch decides what is said.
fn drifting(shared: &Shared, request: RequestId) -> Option<Config> {
    let above = shared.config.nondeterministic_above?;
    let stats = shared.orders.stats();
    let is_batched = stats.running.saturating_add(stats.waiting) > above;
    is_batched.then(|| {
        let config = shared.config.clone();
        let seed = mix(config.seed, request);
        config.with_seed(seed)
    })
}

async fn generate(
    shared: &Arc<Shared>,
    api: &'static dyn Api,
    body: &Value,
) -> Result<Response<Answered>, Problem> {
    let request = shared.next.fetch_add(1, Ordering::Relaxed);
    let understood = match drifting(shared, request) {
        None => api.understand(&shared.config, body)?,
        Some(config) => api.understand(&config, body)?,
    };
    if unit(mix(shared.config.seed ^ FAILURES, request)) < shared.config.error_rate {
        return Err(Problem {
            status: 500,
            message: "this failure is simulated".to_owned(),
        });
    }
    let process = match shared.in_use() {
        Some(in_use) if in_use.out => return Err(out_of_memory()),
        in_use => in_use.map_or(0, |in_use| in_use.process),
    };
    let deliveries = shared.orders.submit(request, understood.submission);
    let mut open = Open {
        request,
        shared: Arc::clone(shared),
        process,
        deliveries,
        reply: understood.reply,
        over: false,
    };
    // A full queue is told by the status, so the head of a stream waits for the first word of the engine.
    let first = open.deliveries.recv().await;
    match first {
        Some(Delivery::Refused(refusal)) => {
            open.over = true;
            return Err(Problem::of(refusal, &shared.config));
        }
        Some(delivery) => open.note(delivery),
        None => {
            return Err(Problem {
                status: 503,
                message: "the server is stopping".to_owned(),
            });
        }
    }
    if understood.stream {
        let mut events = Vec::new();
        open.reply.api.begin(&open.reply, &mut events);
        let queue = events.into_iter().map(Bytes::from).collect();
        return Ok(respond(
            200,
            "text/event-stream; charset=utf-8",
            Answered::Stream(Box::new(Stream { open, queue })),
        ));
    }
    while !open.over {
        match open.deliveries.recv().await {
            Some(_) if open.is_lost() => return Err(out_of_memory()),
            Some(delivery) => open.note(delivery),
            None => {
                return Err(Problem {
                    status: 503,
                    message: "the server is stopping".to_owned(),
                });
            }
        }
    }
    Ok(json(200, &open.reply.api.whole(&open.reply)))
}

async fn read(config: &Config, request: Request<Incoming>) -> Result<Value, Problem> {
    let limit = usize::try_from(config.max_body_bytes).unwrap_or(usize::MAX);
    let collected = Limited::new(request.into_body(), limit)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem {
                    status: 413,
                    message: format!("the body is larger than {limit} bytes"),
                }
            } else {
                Problem::bad("the body did not arrive whole")
            }
        })?;
    let body: Value = serde_json::from_slice(&collected.to_bytes()).map_err(|error| {
        Problem::bad(format!(
            "the body is not JSON: line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    if body.is_object() {
        Ok(body)
    } else {
        Err(Problem::bad("the body must be a JSON object"))
    }
}

fn json(status: u16, body: &Value) -> Response<Answered> {
    respond(
        status,
        "application/json",
        Answered::whole(body.to_string().into()),
    )
}

fn respond(status: u16, kind: &'static str, body: Answered) -> Response<Answered> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(SERVER, HeaderValue::from_static(SIMULATED));
    response
}

/// A request that the engine works on; dropped before its end, it is cancelled there.
struct Open {
    request: RequestId,
    shared: Arc<Shared>,
    /// The engine's, in which it was begun.
    process: u64,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    reply: Reply,
    over: bool,
}

impl Open {
    fn note(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Admitted { cached_tokens } => self.reply.cached_tokens += cached_tokens,
            Delivery::Done | Delivery::Refused(_) => self.over = true,
            Delivery::Token { .. } => {}
        }
    }

    /// Whether the engine ran out of memory after it had begun this.
    fn is_lost(&self) -> bool {
        let in_use = self.shared.in_use();
        in_use.is_some_and(|in_use| in_use.out || in_use.process != self.process)
    }

    fn end_early(&mut self) {
        if !self.over {
            self.over = true;
            self.shared.orders.cancel(self.request);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end_early();
    }
}

/// A response's body.
enum Answered {
    Whole(Full<Bytes>),
    Stream(Box<Stream>),
}

impl Answered {
    fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

/// Events as the engine makes them, one to a frame unless several are there at once.
struct Stream {
    open: Open,
    queue: VecDeque<Bytes>,
}

impl Stream {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.open.over {
                return Poll::Ready(None);
            }
            let Some(delivery) = ready!(self.open.deliveries.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if self.open.is_lost() {
                let mut events = Vec::new();
                self.open.reply.api.broken(&out_of_memory(), &mut events);
                self.queue.push_back(events.concat().into());
                self.open.end_early();
                continue;
            }
            self.open.note(delivery);
            let (reply, mut events) = (&self.open.reply, Vec::new());
            match delivery {
                Delivery::Token { choice, ordinal } => {
                    reply.api.token(reply, choice, ordinal, &mut events);
                }
                Delivery::Done => reply.api.end(reply, &mut events),
                Delivery::Admitted { .. } | Delivery::Refused(_) => {}
            }
            // What belongs to one moment travels in one frame: a last token with its finish, the end marks.
            let mut frame = BytesMut::new();
            events
                .iter()
                .for_each(|event| frame.extend_from_slice(event.as_bytes()));
            if !frame.is_empty() {
                self.queue.push_back(frame.freeze());
            }
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Stream(stream) => stream
                .poll_event(context)
                .map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(stream) => stream.open.over && stream.queue.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Sets the choice of failures apart from every other use of the seed.
const FAILURES: u64 = 0x6661_696c;
