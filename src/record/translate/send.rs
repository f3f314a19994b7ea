use std::rc::Rc;
use std::time::Instant;

use http::{Request, header, response};

use super::headers;
use super::link::{Failed, Link};
use super::relay::Relay;
use super::upload::Upload;
use crate::record::alarm::Alarm;
use crate::record::answer::Refusal;
use crate::record::front::client_io::Protocol;
use crate::record::lane::{Client, Lane};
use crate::record::tape::passage::Passage;
use crate::record::tape::tap::HeadSeen;
use crate::record::upstream::connect::Wanted;

/// Why there is no answer to pass on.
pub(in crate::record) enum Unanswered {
    ClientGone,
    Refused(Refusal),
}

/// An answer's head, without what is for one hop, and its body on its way.
pub(in crate::record) type Sent = Result<(response::Parts, Box<Relay>), Unanswered>;

/// Sends the request of a client that speaks `from`, again where it never left, and waits for its answer's head.
pub(in crate::record) async fn send(
    lane: &Rc<Lane>,
    client: &Rc<Client>,
    from: Protocol,
    mut request: Request<Upload>,
    passage: &Rc<Passage>,
) -> Sent {
    let upstream = &client.route.upstream;
    let wanted = upstream.wanted(from);
    let mut alarm = Alarm::default();
    loop {
        let mut link = match lane.take_translated(client, passage.arrived) {
            Some(link) => link,
            None => connect(lane, client, wanted, passage.arrived)
                .await
                .map_err(Unanswered::Refused)?,
        };
        headers::address(&mut request, upstream, link.protocol())
            .ok_or(Unanswered::Refused(Refusal::BadBody))?;
        passage.sent();
        let patience = lane.limits.first_byte;
        let response = match link.exchange(request, passage, &mut alarm, patience).await {
            Ok(response) => response,
            Err(Failed::Unsent(again)) => {
                request = *again;
                continue;
            }
            Err(Failed::Client) => return Err(Unanswered::ClientGone),
            Err(Failed::Upstream(refusal)) => return Err(Unanswered::Refused(refusal)),
        };
        let (mut parts, incoming) = response.into_parts();
        let text = |name| {
            let value = parts.headers.get(name);
            value.map_or(&[][..], http::HeaderValue::as_bytes)
        };
        passage.head(
            passage.moved(),
            &HeadSeen {
                status: parts.status.as_u16(),
                content_type: text(header::CONTENT_TYPE),
                content_encoding: text(header::CONTENT_ENCODING),
                server: text(header::SERVER),
            },
        );
        // An answer without a body says at once how it went.
        if text(header::CONTENT_TYPE).starts_with(b"application/grpc")
            && let Some(status) = parts.headers.get(GRPC_STATUS)
        {
            passage.grpc_status(status.as_bytes());
        }
        if parts.status.is_informational() {
            return Err(Unanswered::Refused(Refusal::UpstreamNotHttp));
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        headers::remove(&mut parts.headers, &header::TRANSFER_ENCODING);
        let relay = Relay::new(incoming, link, Rc::clone(passage), lane, client);
        return Ok((parts, relay));
    }
}

/// How a call over gRPC went; in the trailers, or, where there is nothing else, in the head.
pub(super) const GRPC_STATUS: &str = "grpc-status";

async fn connect(
    lane: &Lane,
    client: &Client,
    wanted: Wanted,
    now: Instant,
) -> Result<Link, Refusal> {
    let route = &client.route;
    let io = route.upstream.connect(&route.arrival, wanted).await?;
    let link = Link::over(io, wanted).await?;
    if let Some(shared) = link.share() {
        lane.put_translated(client, now, shared);
    }
    Ok(link)
}
