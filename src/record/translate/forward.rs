use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use super::answer::Answer;
use super::headers;
use super::send::{Unanswered, send};
use super::upload::Upload;
use crate::record::answer::Refusal;
use crate::record::front::client_io::Protocol;
use crate::record::lane::{Client, Lane};
use crate::record::tape::parcel::End;
use crate::record::tape::passage::{Passage, opts_out};
use crate::record::tape::session_headers::UsualName;
use crate::record::tape::tap::Begun;

/// Carries one exchange of a client of HTTP/2: the request to the upstream, its answer back. Dropped, it takes its way to the
/// upstream with it, so that an engine stops for a client that has gone, also during prefill. `new_connection`: no other came before it on
/// its connection.
pub(super) async fn forward(
    lane: Rc<Lane>,
    client: Rc<Client>,
    request: Request<Incoming>,
    new_connection: bool,
) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    let text = |name| {
        parts
            .headers
            .get(name)
            .map_or(b"".as_slice(), HeaderValue::as_bytes)
    };
    let passage = Passage::begin(
        &lane,
        Begun {
            method: parts.method.as_str().as_bytes(),
            path: parts.uri.path().as_bytes(),
            content_type: text(header::CONTENT_TYPE),
            content_encoding: text(header::CONTENT_ENCODING),
            websocket: false,
            probe: parts.headers.contains_key(PROBE),
            opts_out: parts
                .headers
                .get_all(RECORD)
                .iter()
                .any(|value| opts_out(value.as_bytes())),
            conversation: lane.conversation(
                |name| parts.headers.get(name).map(HeaderValue::as_bytes),
                || usual_name(&parts.headers),
            ),
            new_connection,
        },
    );
    let route = &client.route;
    if parts.method == Method::CONNECT {
        return refuse(&passage, Refusal::Unsupported);
    }
    if let Some(refusal) = route.upstream.refusal(&route.arrival) {
        return refuse(&passage, refusal);
    }
    if !headers::name_one_host(&parts.headers, parts.uri.authority()) {
        lane.accounts.refuse();
        return refuse(&passage, Refusal::BadHost);
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    // The body is asked for at once, whatever the upstream thinks of its head: interim answers are not translated.
    headers::remove(&mut parts.headers, &http::header::EXPECT);
    if let Some(stamp) = &route.stamp {
        headers::stamp(&mut parts.headers, stamp, parts.uri.authority());
    }
    let request = Request::from_parts(parts, Upload::watched(body, &passage));
    match send(&lane, &client, Protocol::Http2, request, &passage).await {
        Ok((mut parts, relay)) => {
            parts.version = Version::HTTP_2;
            Response::from_parts(parts, Answer::relayed(relay))
        }
        Err(Unanswered::ClientGone) => {
            passage.end(End::ClientCancelled);
            Answer::refusal(Refusal::BadBody)
        }
        Err(Unanswered::Refused(refusal)) => refuse(&passage, refusal),
    }
}

/// What a request calls its conversation, where it says so as usual.
fn usual_name(headers: &HeaderMap) -> UsualName<'_> {
    let mut usual = UsualName::default();
    for (name, value) in headers {
        usual.note(name.as_str().as_bytes(), value.as_bytes());
    }
    usual
}

/// Marks a replay's probe, which is forwarded and not recorded.
const PROBE: &str = "x-reenact-probe";

/// Says whether the client lets the exchange be recorded.
const RECORD: &str = "x-reenact-record";

fn refuse(passage: &Passage, refusal: Refusal) -> Response<Answer> {
    passage.end_with_own_answer(refusal.end(), refusal.status());
    Answer::refusal(refusal)
}
