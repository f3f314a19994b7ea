use std::rc::Rc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::answer::{Answer, Refusal};
use super::capture::End;
use super::door::Route;
use super::headers;
use super::lane::{Client, Lane};
use super::link::{Failed, Link};
use super::relay::Relay;
use super::tap::Passage;
use super::upload::Upload;

/// Carries one exchange: the request to the upstream, its answer back. Dropped, it takes the upstream connection with it, so
/// that an engine stops for a client that has gone, also during prefill.
pub(super) async fn forward(
    lane: Rc<Lane>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    let passage = Passage::begin(&lane, &parts);
    if parts.method == Method::CONNECT || headers::wants_upgrade(&parts.headers) {
        return refuse(&passage, Refusal::Unsupported);
    }
    let route = &client.route;
    if let Some(refusal) = route.upstream.refusal(&route.arrival) {
        return refuse(&passage, refusal);
    }
    let old_client = parts.version < Version::HTTP_11;
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        // RFC 9112, 3.2.2: the absolute form's host wins over the header's.
        parts.headers.insert(HOST, host);
    } else if old_client && !parts.headers.contains_key(HOST) {
        parts.headers.insert(HOST, route.upstream.host_header());
    }
    if let Some(target) = route.upstream.target(&parts.uri) {
        parts.uri = target;
    }
    parts.version = Version::HTTP_11;
    headers::strip_hop_by_hop(&mut parts.headers);
    if let Some(stamp) = &route.stamp {
        headers::stamp(&mut parts.headers, stamp);
    }
    let mut request = Request::from_parts(parts, Upload::new(body, &passage));
    Upload::honour_expect(&mut request);
    let method = request.method().clone();

    loop {
        let link = match lane.take(&client, passage.arrived) {
            Some(link) => Ok(link),
            None => connect(route).await,
        };
        let mut link = match link {
            Ok(link) => link,
            Err(refusal) => return refuse(&passage, refusal),
        };
        passage.sent();
        let patience = lane.limits.first_byte;
        match link
            .exchange(request, &passage, &client.alarm, patience)
            .await
        {
            Ok(response) => {
                let (mut parts, incoming) = response.into_parts();
                passage.head(&parts);
                if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                    return refuse(&passage, Refusal::UpstreamNotHttp);
                }
                headers::strip_hop_by_hop(&mut parts.headers);
                parts.version = Version::HTTP_11;
                let framed = parts.headers.contains_key(CONTENT_LENGTH);
                let claimed = claimed_length(&method, parts.status, &parts.headers);
                let relay = Relay::new(
                    incoming,
                    link,
                    passage,
                    &lane,
                    &client,
                    claimed,
                    old_client && !framed,
                );
                return Response::from_parts(parts, Answer::Relayed(relay));
            }
            Err(Failed::Unsent(again)) => request = *again,
            Err(Failed::Client) => {
                passage.end(End::ClientCancelled);
                return Refusal::BadBody.answer();
            }
            Err(Failed::Upstream(refusal)) => return refuse(&passage, refusal),
        }
    }
}

async fn connect(route: &Route) -> Result<Box<Link>, Refusal> {
    let io = route.upstream.connect(&route.arrival).await?;
    Link::over(io).await.map(Box::new)
}

fn refuse(passage: &Passage, refusal: Refusal) -> Response<Answer> {
    let end = match refusal {
        Refusal::UpstreamRefused | Refusal::UpstreamTls => End::Refused,
        Refusal::ConnectTimeout | Refusal::FirstByteTimeout => End::Timeout,
        Refusal::UpstreamClosed | Refusal::UpstreamNotHttp => End::Reset,
        Refusal::BadBody | Refusal::Unsupported | Refusal::Loop => End::Whole,
    };
    passage.end_with_own_answer(end, refusal.status());
    refusal.answer()
}

/// A 304 says how long the body would be and has none; hyper passes the header on only for a body that claims that length.
fn claimed_length(method: &Method, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if status != StatusCode::NOT_MODIFIED
        || *method == Method::HEAD
        || headers.contains_key(TRANSFER_ENCODING)
    {
        return None;
    }
    let length = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    (length > 0).then_some(length)
}
