//! What is answered to which request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::body::{Answered, Open, Stream};
use super::{Shared, out_of_memory};
use crate::net::SIMULATED;
use crate::sim::Config;
use crate::sim::driver::Delivery;
use crate::sim::engine::RequestId;
use crate::sim::noise::{mix, unit};
use crate::sim::wire::{Api, Chat, Completions, Embeddings, Messages, Problem, models, tokenize};

/// Answers a request.
pub(super) async fn serve(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Answered> {
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

/// Sets the choice of failures apart from every other use of the seed.
const FAILURES: u64 = 0x6661_696c;
