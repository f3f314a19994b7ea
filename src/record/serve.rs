//! Finds out what a client speaks, and has it served.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;

use crate::record::alarm::later;
use crate::record::front::client_io::{ClientIo, Protocol};
use crate::record::http1;
use crate::record::lane::{Client, Lane};
use crate::record::translate;

/// Serves a client until its connection ends.
pub(super) async fn serve(lane: &Rc<Lane>, client: Rc<Client>, mut io: ClientIo) {
    let mut ahead = BytesMut::new();
    let protocol = match io.protocol() {
        Some(protocol) => Some(protocol),
        None => {
            let protocol = listen_in(lane, &client, &mut io, &mut ahead).await;
            // Whole requests may have come with the preface, and a lane whose clients all speak HTTP/2 reads nothing more into this.
            lane.scratch.borrow_mut().wipe();
            protocol
        }
    };
    match protocol {
        Some(Protocol::Http1) => http1::serve(lane, client, io, ahead).await,
        Some(Protocol::Http2) => translate::serve(lane, client, io, ahead.freeze()).await,
        None => {}
    }
}

/// How a client begins that speaks HTTP/2 without having asked (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the preface comes; no request of HTTP/1 begins like it. `None` if nothing comes in time.
async fn listen_in(
    lane: &Lane,
    client: &Client,
    io: &mut ClientIo,
    ahead: &mut BytesMut,
) -> Option<Protocol> {
    let began = Instant::now();
    let mut drained = pin!(lane.drain.notified());
    let mut registered = false;
    poll_fn(|cx| {
        if !registered {
            registered = true;
            let _ = drained.as_mut().poll(cx);
        }
        loop {
            if !ahead.is_empty() {
                let seen = ahead.len().min(PREFACE.len());
                if ahead.get(..seen) != PREFACE.get(..seen) {
                    return Poll::Ready(Some(Protocol::Http1));
                }
                if seen == PREFACE.len() {
                    return Poll::Ready(Some(Protocol::Http2));
                }
            }
            let mut scratch = lane.scratch.borrow_mut();
            match scratch.poll_read(cx, io) {
                Poll::Ready(Ok(1..)) => ahead.extend_from_slice(scratch.filled()),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        let deadline = match ahead.is_empty() {
            true => client.idle_until(lane, began),
            false => later(began, lane.limits.header),
        };
        let alarm = client.poll_alarm(cx, deadline);
        alarm.map(|()| None)
    })
    .await
}
