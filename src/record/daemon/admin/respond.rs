use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::status::Status;
use super::{Admin, LogLevels};
use crate::exposition::page;

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn respond(request: Request<Incoming>, admin: &Admin) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "/healthz" if reads => return healthz(admin),
        "/readyz" if reads => return readyz(admin),
        _ => {}
    }
    if let Some(token) = &admin.token
        && !token.is_in(&parts.headers)
    {
        return unauthorized();
    }
    // A page in a browser on this machine could send these; no tool of an operator says where it comes from.
    if !reads && parts.headers.contains_key(header::ORIGIN) {
        return say(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    match (path, &parts.method) {
        ("/metrics", _) if reads => metrics(admin, &parts.headers),
        ("/status", _) if reads => status(admin),
        ("/log-level", _) if reads => log_level(admin),
        ("/log-level", &Method::PUT) => set_log_level(admin, body).await,
        ("/recording/pause", &Method::POST) => pause(admin, true),
        ("/recording/resume", &Method::POST) => pause(admin, false),
        ("/healthz" | "/readyz" | "/metrics" | "/status", _) => not_allowed("GET, HEAD"),
        ("/log-level", _) => not_allowed("GET, HEAD, PUT"),
        ("/recording/pause" | "/recording/resume", _) => not_allowed("POST"),
        _ => say(StatusCode::NOT_FOUND, PATHS),
    }
}

const PATHS: &str = "GET /metrics /healthz /readyz /status /log-level; PUT /log-level; POST /recording/pause /recording/resume\n";

/// A lane that is silent for this long is stuck: the busiest lane gets round to its tasks many times a second.
const STUCK: Duration = Duration::from_secs(30);

fn healthz(admin: &Admin) -> Answer {
    if admin.pulses.silence() < STUCK {
        say(StatusCode::OK, "ok\n")
    } else {
        say(
            StatusCode::SERVICE_UNAVAILABLE,
            "a traffic thread is stuck\n",
        )
    }
}

fn readyz(admin: &Admin) -> Answer {
    if admin.stop.is_ready() {
        say(StatusCode::OK, "ready\n")
    } else {
        say(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

fn metrics(admin: &Admin, headers: &HeaderMap) -> Answer {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept = accept.filter_map(|value| value.to_str().ok());
    match page(&admin.registry, accept) {
        Ok((page, kind)) => answer(StatusCode::OK, kind, page),
        Err(_) => say(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written\n",
        ),
    }
}

fn status(admin: &Admin) -> Answer {
    match serde_json::to_vec(&Status::of(admin)) {
        Ok(mut document) => {
            document.push(b'\n');
            answer(StatusCode::OK, "application/json", document)
        }
        Err(_) => say(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the status cannot be written\n",
        ),
    }
}

fn log_level(admin: &Admin) -> Answer {
    match admin.log_levels.as_ref().and_then(LogLevels::get) {
        Some(level) => answer(StatusCode::OK, PLAIN, format!("{level}\n")),
        None => say(
            StatusCode::NOT_FOUND,
            "the log level of this process cannot be changed\n",
        ),
    }
}

/// Longer filters are of no use to anybody.
const MAX_FILTER_BYTES: usize = 1 << 10;

async fn set_log_level(admin: &Admin, body: Incoming) -> Answer {
    let wrong = || {
        say(
            StatusCode::BAD_REQUEST,
            "send error, warn, info, debug or trace, or directives as in RUST_LOG\n",
        )
    };
    let Ok(body) = Limited::new(body, MAX_FILTER_BYTES).collect().await else {
        return wrong();
    };
    let body = body.to_bytes();
    let set = std::str::from_utf8(&body)
        .ok()
        .and_then(|text| admin.log_levels.as_ref()?.set(text));
    match set {
        Some(()) => {
            tracing::info!("the log level has been changed over the admin endpoint");
            log_level(admin)
        }
        None => wrong(),
    }
}

fn pause(admin: &Admin, on: bool) -> Answer {
    if admin.capture.is_none() {
        return say(StatusCode::CONFLICT, "recording is off: --no-record\n");
    }
    if admin.pause.set(on) {
        let word = if on { "paused" } else { "resumed" };
        tracing::info!("recording is {word} over the admin endpoint; traffic goes on");
    }
    say(StatusCode::OK, if on { "paused\n" } else { "recording\n" })
}

fn unauthorized() -> Answer {
    let mut answer = say(
        StatusCode::UNAUTHORIZED,
        "send the admin token: authorization: Bearer TOKEN\n",
    );
    answer.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"reenact admin\""),
    );
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = say(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path has other methods\n",
    );
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn say(status: StatusCode, text: &'static str) -> Answer {
    answer(status, PLAIN, text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
