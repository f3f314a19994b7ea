use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::error::OutwardError;
use super::gzip;
use crate::net::{MaybeTls, client_tls};
use crate::replay::BaseUrl;

/// Sends bodies to one service, one after another, on a connection that stays open; waits for each answer, and tries again where trying
/// again may help.
pub(super) struct Poster {
    url: BaseUrl,
    headers: HeaderMap,
    content_type: &'static str,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    runtime: Runtime,
    open: Option<SendRequest<Full<Bytes>>>,
    /// What is left of the time that trouble may cost, over all bodies: a service that is away must not hold up a pipeline.
    patience: Duration,
    /// What may have arrived is not sent again.
    once: bool,
    /// Large bodies go under gzip.
    gzip: bool,
}

/// What one try came to.
enum Try {
    Taken(Bytes),
    Refused(StatusCode),
    /// It may be taken later; after so long, where the service said so.
    Later(String, Option<Duration>),
    /// Nobody knows whether it was taken, and twice would be wrong.
    Unanswered(String),
}

/// What went wrong on the way, and whether any of the request may have arrived.
struct Broken {
    why: String,
    sent: bool,
}

impl Broken {
    fn unsent(why: &dyn ToString) -> Self {
        Self {
            why: why.to_string(),
            sent: false,
        }
    }

    fn sent(why: &dyn ToString) -> Self {
        Self {
            why: why.to_string(),
            sent: true,
        }
    }
}

impl Poster {
    /// # Errors
    /// When there is no authority to trust, or no timer.
    pub(super) fn new(
        url: &BaseUrl,
        headers: HeaderMap,
        content_type: &'static str,
        ca: Option<&Path>,
    ) -> Result<Self, OutwardError> {
        let tls = |why: String| OutwardError::Tls {
            url: url.to_string(),
            why,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| OutwardError::Machine {
                url: url.to_string(),
                source,
            })?;
        let tls = if url.is_tls() {
            let connector = client_tls(ca, &[b"http/1.1"]).map_err(tls)?;
            let name = ServerName::try_from(url.host().to_owned())
                .map_err(|error| tls(error.to_string()))?;
            Some((connector, name))
        } else {
            None
        };
        Ok(Self {
            url: url.clone(),
            headers,
            content_type,
            tls,
            runtime,
            open: None,
            patience: PATIENCE,
            once: false,
            gzip: false,
        })
    }

    /// For a service that makes something new of whatever comes: what may have arrived is not sent again.
    pub(super) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// For a service whose protocol lets bodies be compressed, as OTLP does. One that refuses them all the same is sent them as they are
    /// from then on.
    pub(super) fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Sends one body to `path` behind the service's URL, and gives the answer's.
    ///
    /// # Errors
    /// When it is refused, or not taken within what is left of the patience.
    pub(super) fn post(&mut self, path: &str, body: &Bytes) -> Result<Bytes, OutwardError> {
        if self.gzip
            && let Some(packed) = gzip::packed(body)
        {
            match self.deliver(path, &packed, true) {
                Err(OutwardError::Refused { status, .. }) if gzip::may_be_of_coding(status) => {
                    self.gzip = false;
                }
                told => return told,
            }
        }
        self.deliver(path, body, false)
    }

    fn deliver(&mut self, path: &str, body: &Bytes, gzip: bool) -> Result<Bytes, OutwardError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            match self.attempt(path, body.clone(), gzip) {
                Try::Taken(answer) => return Ok(answer),
                Try::Refused(status) => {
                    return Err(OutwardError::Refused {
                        url: format!("{}{path}", self.url),
                        status,
                    });
                }
                Try::Unanswered(why) => {
                    return Err(OutwardError::Unanswered {
                        url: self.url.to_string(),
                        why,
                    });
                }
                Try::Later(why, asked) => {
                    let wait = asked.unwrap_or(pause);
                    let cost = began.elapsed().saturating_add(wait);
                    if cost > self.patience {
                        return Err(OutwardError::Unreachable {
                            url: self.url.to_string(),
                            patience_s: PATIENCE.as_secs(),
                            why,
                        });
                    }
                    self.patience -= cost;
                    std::thread::sleep(wait);
                    pause *= 2;
                }
            }
        }
    }

    fn attempt(&mut self, path: &str, body: Bytes, gzip: bool) -> Try {
        let request = request(
            &self.url,
            path,
            &self.headers,
            self.content_type,
            body,
            gzip,
        );
        let tried = async {
            tokio::time::timeout(
                ANSWER_WITHIN,
                exchange(
                    &mut self.open,
                    &self.url,
                    self.tls.as_ref(),
                    request.map_err(|error| Broken::unsent(&error))?,
                ),
            )
            .await
            .unwrap_or_else(|_| Err(Broken::sent(&format!("no answer within {ANSWER_WITHIN:?}"))))
        };
        let (status, asked, answer) = match self.runtime.block_on(tried) {
            Ok(answered) => answered,
            Err(Broken { why, sent }) => {
                self.open = None;
                return match sent && self.once {
                    true => Try::Unanswered(why),
                    false => Try::Later(why, None),
                };
            }
        };
        match status.as_u16() {
            200..300 => Try::Taken(answer),
            // What OTLP/HTTP calls retryable; LangSmith answers with the same.
            429 | 502 | 503 | 504 => {
                let wish = asked.map(|wait| format!(" and wants to be asked again in {wait:?}"));
                let why = format!(
                    "it answered with status {status}{}",
                    wish.unwrap_or_default()
                );
                Try::Later(why, asked)
            }
            _ => Try::Refused(status),
        }
    }
}

fn request(
    url: &BaseUrl,
    path: &str,
    headers: &HeaderMap,
    content_type: &'static str,
    body: Bytes,
    gzip: bool,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url.path(path))
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("reenact/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, content_type)
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers.clone());
    if gzip {
        let coding = HeaderValue::from_static("gzip");
        request.headers_mut().insert(CONTENT_ENCODING, coding);
    }
    Ok(request)
}

/// One request on the open connection, else on a new one.
async fn exchange(
    open: &mut Option<SendRequest<Full<Bytes>>>,
    url: &BaseUrl,
    tls: Option<&(TlsConnector, ServerName<'static>)>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Option<Duration>, Bytes), Broken> {
    let mut sender = match open.take() {
        Some(sender) if !sender.is_closed() => sender,
        _ => connect(url, tls)
            .await
            .map_err(|error| Broken::unsent(&error))?,
    };
    sender
        .ready()
        .await
        .map_err(|error| Broken::unsent(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| Broken::sent(&error))?;
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER).and_then(seconds);
    let answer = Limited::new(response.into_body(), MOST_BYTES)
        .collect()
        .await
        .map_err(|error| Broken::sent(&error))?
        .to_bytes();
    *open = Some(sender);
    Ok((status, asked, answer))
}

async fn connect(
    url: &BaseUrl,
    tls: Option<&(TlsConnector, ServerName<'static>)>,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let tcp = TcpStream::connect((url.host(), url.port()))
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    let stream = match tls {
        None => MaybeTls::Plain(tcp),
        Some((connector, name)) => {
            let tls = connector.connect(name.clone(), tcp).await;
            let tls = tls.map_err(|error| format!("TLS failed: {error}"))?;
            MaybeTls::Tls(Box::new(tls.into()))
        }
    };
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with its connection; the runtime ends with the poster.
    tokio::spawn(driver);
    Ok(sender)
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// As OTEL_EXPORTER_OTLP_TIMEOUT is by default.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Answers are a few bytes.
const MOST_BYTES: usize = 1 << 20;
