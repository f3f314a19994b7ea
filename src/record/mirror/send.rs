//! Sends shadows to the candidate and follows its answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, SERVER};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};

use super::felt::{Felt, Lost};
use super::results::CandidateSide;
use super::sides::{Pair, Sides};
use super::{MirrorKey, MirrorOptions, Shadow};
use crate::dialect::{ResponseHead, ResponseObserver};
use crate::net::is_simulated;
use crate::record::front::arrival::Arrival;
use crate::record::front::tls::{self, Reloading, UpstreamTlsOptions};
use crate::record::options::RecordError;
use crate::record::upstream::connect::{
    Connecting, Upstream, UpstreamProtocol, UpstreamTls, Wanted,
};
use crate::record::upstream::url::Place;
use crate::shape::{Dialect, Endpoint};

/// What the sending thread has.
pub(super) struct Sender {
    upstream: Upstream,
    model: Option<String>,
    key: Option<MirrorKey>,
    silence: Duration,
    felt: Arc<Felt>,
}

impl Sender {
    pub(super) fn new(
        options: &MirrorOptions,
        tls: &UpstreamTlsOptions,
        connect_timeout: Duration,
        felt: Arc<Felt>,
    ) -> Result<Self, RecordError> {
        let tls = match &options.url.place {
            Place::Tcp {
                tls: true, host, ..
            } => {
                // The recorder's own certificate is a credential for production, not for the mirror.
                let tls = UpstreamTlsOptions {
                    ca: tls.ca.clone(),
                    min_version: tls.min_version,
                    ..UpstreamTlsOptions::default()
                };
                let files = tls::client_files(&tls);
                let load = move || tls::client_config(&tls);
                Some(UpstreamTls {
                    config: Reloading::new("the roots for the mirror", files, load)?,
                    name: ServerName::try_from(host.clone()).map_err(std::io::Error::other)?,
                })
            }
            _ => None,
        };
        let how = Connecting {
            timeout: connect_timeout,
            protocol: UpstreamProtocol::Http1,
            proxy_out: None,
        };
        Ok(Self {
            upstream: Upstream::new(&options.url, tls, how)?,
            model: options.model.clone(),
            key: options.key.clone(),
            silence: options.silence,
            felt,
        })
    }

    /// Sends what comes until it is `over`, each in a task of its own; what would be one too many is dropped, and never waited for. Answers
    /// that are open by then have their `patience`.
    pub(super) async fn run(
        self,
        mut shadows: mpsc::Receiver<Shadow>,
        over: impl Future<Output = ()>,
        patience: Duration,
        sides: Option<Arc<Sides>>,
    ) {
        let line = Rc::new(Line {
            sender: self,
            idle: RefCell::default(),
        });
        let open = Arc::new(Semaphore::new(MOST_OPEN));
        if let Some(sides) = sides {
            let open = Arc::clone(&open);
            let is_busy = move || open.available_permits() < MOST_OPEN;
            tokio::task::spawn_local(async move { sides.beat().go_on(is_busy).await });
        }
        let mut over = std::pin::pin!(over);
        let mut is_over = false;
        loop {
            let shadow = tokio::select! {
                shadow = shadows.recv() => shadow,
                () = &mut over, if !is_over => {
                    // What waits is the last.
                    shadows.close();
                    is_over = true;
                    continue;
                }
            };
            let Some(shadow) = shadow else { break };
            let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
                line.lose(&shadow, Lost::Busy);
                continue;
            };
            let line = Rc::clone(&line);
            tokio::task::spawn_local(async move {
                line.settle(shadow).await;
                drop(permit);
            });
        }
        let all = open.acquire_many(u32::try_from(MOST_OPEN).unwrap_or(u32::MAX));
        // An error means that the rest is let go.
        let _ = tokio::time::timeout(patience, all).await;
    }

    /// The request as the candidate gets it: the client's body, and none of its headers.
    fn request(&self, shadow: &Shadow) -> Option<Request<Full<Bytes>>> {
        let body = match &self.model {
            None => shadow.body.clone(),
            Some(model) => with_model(&shadow.body, model),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}{}", self.upstream.base(), shadow.path)
            .parse()
            .ok()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.upstream.host_header());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // A recorder before the mirror, this one above all, must not mirror it again.
        headers.insert(RECORD, HeaderValue::from_static("off"));
        if shadow.endpoint == Endpoint::Messages {
            headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        }
        if let Some(key) = &self.key {
            let (name, value) = match shadow.endpoint.dialect() {
                Dialect::AnthropicMessages => (X_API_KEY, &key.plain),
                Dialect::Gemini => (X_GOOG_API_KEY, &key.plain),
                _ => (AUTHORIZATION, &key.bearer),
            };
            headers.insert(name, value.clone());
        }
        Some(request)
    }
}

/// The candidate's connections.
struct Line {
    sender: Sender,
    idle: RefCell<Vec<(SendRequest<Full<Bytes>>, Instant)>>,
}

impl Line {
    /// Sends a request, and leaves what it came to.
    async fn settle(&self, mut shadow: Shadow) {
        let pair = shadow.pair.take();
        let mut side = CandidateSide {
            taken_us: now_us(pair.as_ref()),
            ..CandidateSide::default()
        };
        let exchanged = self.exchange(&shadow, pair.as_ref(), &mut side).await;
        side.lost = exchanged.err();
        if let Some(lost) = side.lost {
            self.sender.felt.lose(lost);
        }
        if let Some(pair) = &pair {
            side.end_us = pair.now_us();
            pair.candidate(side);
        }
    }

    fn lose(&self, shadow: &Shadow, lost: Lost) {
        self.sender.felt.lose(lost);
        if let Some(pair) = &shadow.pair {
            pair.dropped(lost);
        }
    }

    async fn exchange(
        &self,
        shadow: &Shadow,
        pair: Option<&Arc<Pair>>,
        side: &mut CandidateSide,
    ) -> Result<(), Lost> {
        let under_way = |side: &CandidateSide| {
            if let Some(pair) = pair {
                pair.under_way(side);
            }
        };
        let sender = &self.sender;
        let request = sender.request(shadow).ok_or(Lost::Reset)?;
        under_way(side);
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let began = Instant::now();
        side.sent_us = now_us(pair);
        under_way(side);
        let sent = connection.send_request(request);
        let response = self.patiently(sent).await?.map_err(|_| Lost::Reset)?;
        side.headers_us = now_us(pair);
        side.status = Some(response.status().as_u16());
        let server = response.headers().get(SERVER);
        side.simulated = server.is_some_and(|server| is_simulated(server.as_bytes()));
        under_way(side);
        self.follow(shadow.endpoint, began, response, side).await?;
        self.idle.borrow_mut().push((connection, Instant::now()));
        Ok(())
    }

    /// Reads an answer to its end and notes what it felt like. Its bytes are let go as they come.
    async fn follow(
        &self,
        endpoint: Endpoint,
        began: Instant,
        response: Response<Incoming>,
        side: &mut CandidateSide,
    ) -> Result<(), Lost> {
        let (head, mut body) = response.into_parts();
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let seen = ResponseHead {
            status: head.status.as_u16(),
            content_type: text(CONTENT_TYPE),
            content_encoding: text(http::header::CONTENT_ENCODING),
        };
        let mut observer = ResponseObserver::new(endpoint, seen, false).within(MOST_ANSWER);
        let read = async {
            while let Some(frame) = self.patiently(body.frame()).await? {
                let frame = frame.map_err(|_| Lost::Truncated)?;
                if let Some(data) = frame.data_ref() {
                    observer.data(since(began), data);
                }
            }
            Ok(())
        };
        let whole = read.await;
        let end_us = since(began);
        // Of one that breaks off, too: its client in production may have left before.
        side.sight = observer.finish();
        side.sight.answer_name = None;
        whole?;
        let sight = &side.sight;
        if head.status.is_success() && (sight.error || !sight.ended) {
            return Err(Lost::Truncated);
        }
        let status = head.status.as_u16();
        let felt = &self.sender.felt;
        felt.candidate(status, sight.first_token_us, &sight.gaps, end_us);
        Ok(())
    }

    async fn patiently<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Lost> {
        let silence = self.sender.silence;
        let came = tokio::time::timeout(silence, awaited).await;
        came.map_err(|_| Lost::Timeout)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() < FRESH && connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Lost> {
        let arrival = Arrival::default();
        let connected = self.sender.upstream.connect(&arrival, Wanted::Http1).await;
        let io = TokioIo::new(connected.map_err(|_| Lost::Connect)?);
        let shaken = self
            .patiently(hyper::client::conn::http1::handshake(io))
            .await?;
        let (connection, driver) = shaken.map_err(|_| Lost::Connect)?;
        // Ends with its connection.
        tokio::task::spawn_local(driver);
        Ok(connection)
    }
}

/// The same request for another model, to the byte but for that: orders of keys and spaces are part of a prompt. As it is where it
/// has none.
fn with_model(body: &Bytes, model: &str) -> Bytes {
    #[derive(serde::Deserialize)]
    struct Asks<'a> {
        #[serde(borrow)]
        model: &'a RawValue,
    }
    let at = serde_json::from_slice::<Asks<'_>>(body).ok().map(|asks| {
        let asked = asks.model.get();
        // Where in the body what was borrowed from it stands.
        let from = asked.as_ptr().addr() - body.as_ptr().addr();
        from..from + asked.len()
    });
    match at.and_then(|at| Some((body.get(..at.start)?, body.get(at.end..)?))) {
        Some((before, after)) => [before, Value::from(model).to_string().as_bytes(), after]
            .concat()
            .into(),
        None => body.clone(),
    }
}

fn now_us(pair: Option<&Arc<Pair>>) -> Option<u64> {
    pair.map(|pair| pair.now_us())
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Requests open at the candidate at once: a candidate that hangs costs no more connections than that.
const MOST_OPEN: usize = 256;
/// Below 5 s, after which uvicorn closes.
const FRESH: Duration = Duration::from_secs(4);
/// Of an answer that is no stream.
const MOST_ANSWER: u64 = 64 << 20;

const RECORD: HeaderName = HeaderName::from_static("x-reenact-record");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_the_mirrors_own_model() {
        let body = Bytes::from_static(br#"{"z": {"y":1, "x":2},  "model" : "a","n":1}"#);
        let told = with_model(&body, "b\"");
        assert_eq!(
            &told[..],
            br#"{"z": {"y":1, "x":2},  "model" : "b\"","n":1}"#
        );
        for same in [&b"{\"n\":1}"[..], b"[]", b"no json"] {
            let body = Bytes::from_static(same);
            assert_eq!(with_model(&body, "b"), body);
        }
    }
}
