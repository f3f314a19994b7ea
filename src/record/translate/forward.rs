use std::rc::Rc;

use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use super::answer::Answer;
use super::headers;
use super::link::{Failed, Link};
use super::relay::Relay;
use super::upload::Upload;
use crate::record::alarm::Alarm;
use crate::record::answer::Refusal;
use crate::record::front::client_io::Protocol;
use crate::record::lane::{Client, Lane};
use crate::record::tape::capture::End;
use crate::record::tape::tap::{Begun, HeadSeen, Passage};

/// Carries one exchange: the request to the upstream, its answer back. Dropped, it takes its way to the upstream with it, so
/// that an engine stops for a client that has gone, also during prefill.
pub(super) async fn forward(
    lane: Rc<Lane>,
    client: Rc<Client>,
    from: Protocol,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    let passage = Passage::begin(
        &lane,
        Begun {
            method: parts.method.as_str().as_bytes(),
            path: parts.uri.path().as_bytes(),
            probe: parts.headers.contains_key(PROBE),
            conversation: lane
                .conversation(|name| parts.headers.get(name).map(HeaderValue::as_bytes)),
        },
    );
    let route = &client.route;
    if parts.method == Method::CONNECT || headers::wants_upgrade(&parts.headers) {
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
    let mut request = Request::from_parts(parts, Upload::new(body, &passage));
    let wanted = route.upstream.wanted(from);
    let mut alarm = Alarm::default();
    loop {
        let link = match lane.take_translated(&client, passage.arrived) {
            Some(link) => Ok(link),
            None => connect(&lane, &client, wanted, passage.arrived).await,
        };
        let mut link = match link {
            Ok(link) => link,
            Err(refusal) => return refuse(&passage, refusal),
        };
        if headers::address(&mut request, &route.upstream, link.protocol()).is_none() {
            return refuse(&passage, Refusal::BadBody);
        }
        passage.sent();
        let patience = lane.limits.first_byte;
        match link.exchange(request, &passage, &mut alarm, patience).await {
            Ok(response) => {
                let (mut parts, incoming) = response.into_parts();
                let text = |name| {
                    parts
                        .headers
                        .get(name)
                        .map_or(&[][..], |value| value.as_bytes())
                };
                passage.head(&HeadSeen {
                    status: parts.status.as_u16(),
                    content_type: text(http::header::CONTENT_TYPE),
                    content_encoding: text(http::header::CONTENT_ENCODING),
                    server: text(http::header::SERVER),
                });
                if parts.status.is_informational() {
                    return refuse(&passage, Refusal::UpstreamNotHttp);
                }
                headers::strip_hop_by_hop(&mut parts.headers);
                headers::version_of_answer(&mut parts, from);
                let relay = Relay::new(incoming, link, passage, &lane, &client);
                return Response::from_parts(parts, Answer::relayed(relay));
            }
            Err(Failed::Unsent(again)) => request = *again,
            Err(Failed::Client) => {
                passage.end(End::ClientCancelled);
                return Answer::refusal(Refusal::BadBody);
            }
            Err(Failed::Upstream(refusal)) => return refuse(&passage, refusal),
        }
    }
}

/// Marks a replay's probe, which is forwarded and not recorded.
const PROBE: &str = "x-reenact-probe";

async fn connect(
    lane: &Lane,
    client: &Client,
    wanted: crate::record::upstream::connect::Wanted,
    now: std::time::Instant,
) -> Result<Link, Refusal> {
    let route = &client.route;
    let io = route.upstream.connect(&route.arrival, wanted).await?;
    let link = Link::over(io, wanted).await?;
    if let Some(shared) = link.share() {
        lane.put_translated(client, now, shared);
    }
    Ok(link)
}

fn refuse(passage: &Passage, refusal: Refusal) -> Response<Answer> {
    passage.end_with_own_answer(refusal.end(), refusal.status());
    Answer::refusal(refusal)
}
