//! What a gate answers.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::account::{Account, State};
use super::book::{Book, Ordered, Removed};
use super::order::{Order, OrderError};
use crate::net::pages::{PLAIN, Page, page};

const JSON: &str = "application/json";

/// What may be read of a replay's directory, and as what.
const FILES: [(&str, &str); 5] = [
    ("report.html", "text/html; charset=utf-8"),
    ("result.json", JSON),
    ("summary.md", "text/markdown; charset=utf-8"),
    ("junit.xml", "application/xml"),
    (super::account::LOG, PLAIN),
];

/// Answers one request.
pub(super) async fn answer(book: Arc<Book>, request: Request<Incoming>) -> Page {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts == ["healthz"] {
        return page(StatusCode::OK, PLAIN, "ok\n");
    }
    if !is_admitted(book.options.token.as_deref(), &request) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "send the gate's token as Authorization: Bearer",
        );
    }
    let method = request.method().clone();
    match (&method, parts.as_slice()) {
        (&Method::GET, ["replays"]) => json(StatusCode::OK, &book.all()),
        (&Method::POST, ["replays"]) => post(&book, request, Order::parse, told).await,
        (&Method::POST, ["verdicts"]) => {
            post(&book, request, Order::parse_keyed, once_decided).await
        }
        (&Method::POST, ["flagger", "confirm"]) => {
            post(&book, request, Order::of_hook, if_passed).await
        }
        (&Method::POST, ["flagger", "rollback"]) => rollback(&book, request).await,
        (&Method::GET, ["replays", id]) => match book.get(id) {
            Some(account) => told(&account),
            None => unknown(),
        },
        (&Method::DELETE, ["replays", id]) => match book.be_rid_of(id) {
            Removed::Cancelled(account) => json(StatusCode::ACCEPTED, &account),
            Removed::Forgotten(account) => json(StatusCode::OK, &account),
            Removed::Unknown => unknown(),
        },
        (&Method::GET, ["replays", id, file]) => read(&book, id, file).await,
        (_, ["replays"]) => wrong_method("GET, POST"),
        (_, ["verdicts"] | ["flagger", "confirm" | "rollback"]) => wrong_method("POST"),
        (_, ["replays", _]) => wrong_method("GET, DELETE"),
        (_, ["replays", _, _]) => wrong_method("GET"),
        _ => refused(
            StatusCode::NOT_FOUND,
            "a gate has /replays, /verdicts, /flagger/confirm, /flagger/rollback and /healthz",
        ),
    }
}

/// Takes as long for a token that is wrong at its end as for one that is wrong at its beginning.
fn is_admitted(token: Option<&str>, request: &Request<Incoming>) -> bool {
    let Some(token) = token else { return true };
    let brought = request.headers().get(AUTHORIZATION);
    brought
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|brought| bool::from(brought.ct_eq(token.as_bytes())))
}

type Reader = fn(&[u8], &[super::Reach]) -> Result<Order, OrderError>;

/// Starts what is asked for, or finds it, and tells of it as `tell` does.
async fn post(
    book: &Arc<Book>,
    request: Request<Incoming>,
    read: Reader,
    tell: fn(&Account) -> Page,
) -> Page {
    let order = match order(book, request, read).await {
        Ok(order) => order,
        Err(refusal) => return refusal,
    };
    match book.order(order) {
        Ok(Ordered::Begun(account) | Ordered::Known(account)) => with(
            tell(&account),
            LOCATION,
            &format!("/replays/{}", account.id),
        ),
        Ok(Ordered::Other(known)) => refused(
            StatusCode::CONFLICT,
            &format!(
                "replay {} of this key was against other targets; send another key, or DELETE it first",
                known.id
            ),
        ),
        Ok(Ordered::Busy(running)) => with(
            json(
                StatusCode::CONFLICT,
                &Refusal {
                    error: "another replay runs; two would measure each other",
                    running: Some(running),
                },
            ),
            RETRY_AFTER,
            SOON,
        ),
        Ok(Ordered::Closed) => refused(StatusCode::SERVICE_UNAVAILABLE, "the gate is ending"),
        Err(error) => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the replay cannot be started: {error}"),
        ),
    }
}

async fn order(book: &Arc<Book>, request: Request<Incoming>, read: Reader) -> Result<Order, Page> {
    let body = Limited::new(request.into_body(), LONGEST).collect();
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Err(refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is broken off, or longer than 64 KiB",
            ));
        }
        Err(_) => {
            return Err(refused(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come",
            ));
        }
    };
    read(&body, &book.options.reach).map_err(|error| {
        let status = match error {
            OrderError::Fixed | OrderError::OutOfReach(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        refused(status, &error.to_string())
    })
}

/// What is handed out of a replay's directory: reports have two megabytes at most.
const LARGEST: u64 = 8 << 20;
/// No order is longer.
const LONGEST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds after which it is worth asking again.
const SOON: &str = "10";

/// As it stands: 202 while it runs, 200 when it is decided.
fn told(account: &Account) -> Page {
    if account.state.is_decided() {
        json(StatusCode::OK, account)
    } else {
        with(json(StatusCode::ACCEPTED, account), RETRY_AFTER, SOON)
    }
}

/// 503 until it is decided: for controllers that count every good answer as a measurement.
fn once_decided(account: &Account) -> Page {
    if account.state.is_decided() {
        json(StatusCode::OK, account)
    } else {
        with(
            json(StatusCode::SERVICE_UNAVAILABLE, account),
            RETRY_AFTER,
            SOON,
        )
    }
}

/// 200 for a candidate that passed, and for no other.
fn if_passed(account: &Account) -> Page {
    match account.state {
        State::Passed => json(StatusCode::OK, account),
        State::Running => once_decided(account),
        _ => json(StatusCode::PRECONDITION_FAILED, account),
    }
}

/// 200 where a roll-out's candidate failed: Flagger rolls back then. One that could not be measured is no reason to.
async fn rollback(book: &Arc<Book>, request: Request<Incoming>) -> Page {
    let order = match order(book, request, Order::of_hook).await {
        Ok(order) => order,
        Err(refusal) => return refusal,
    };
    match book.by_key(&order.key) {
        Some(account) if account.state == State::Failed => json(StatusCode::OK, &account),
        Some(account) => json(StatusCode::PRECONDITION_FAILED, &account),
        None => unknown(),
    }
}

async fn read(book: &Book, id: &str, file: &str) -> Page {
    let (Some(account), Some((name, kind))) =
        (book.get(id), FILES.iter().find(|(name, _)| *name == file))
    else {
        return unknown();
    };
    let path = book.dir(&account.id).join(name);
    let read = tokio::task::spawn_blocking(move || {
        let bytes = path.metadata()?.len();
        match bytes <= LARGEST {
            true => std::fs::read(path).map(Some),
            false => Ok(None),
        }
    });
    match read.await {
        Ok(Ok(Some(bytes))) => page(StatusCode::OK, kind, bytes),
        Ok(Ok(None)) => refused(
            StatusCode::NOT_FOUND,
            "it is larger than 8 MiB; take it from the gate's directory of results",
        ),
        _ => unknown(),
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Account>,
}

fn refused(status: StatusCode, error: &str) -> Page {
    json(
        status,
        &Refusal {
            error,
            running: None,
        },
    )
}

fn unknown() -> Page {
    refused(
        StatusCode::NOT_FOUND,
        "there is none; GET /replays lists them",
    )
}

fn wrong_method(allowed: &str) -> Page {
    with(
        refused(StatusCode::METHOD_NOT_ALLOWED, "wrong method"),
        ALLOW,
        allowed,
    )
}

fn json(status: StatusCode, body: &impl Serialize) -> Page {
    match serde_json::to_vec(body) {
        Ok(body) => page(status, JSON, body),
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string()),
    }
}

fn with(mut answer: Page, name: HeaderName, value: &str) -> Page {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}
