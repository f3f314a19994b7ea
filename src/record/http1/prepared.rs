use std::rc::Rc;

use bytes::Bytes;
use http::Request;

use super::across;
use super::request::RequestHead;
use super::response::Taker;
use crate::net::http1::{Framing, Malformed, append_data};
use crate::record::front::client_io::Protocol;
use crate::record::front::door::Route;
use crate::record::lane::{Client, Lane};
use crate::record::tape::parcel::End;
use crate::record::tape::passage::Passage;
use crate::record::tape::tap::{Begun, Piece};
use crate::record::upstream::connect::Wanted;

/// A request that has been read as far as it was there, ready to be sent.
pub(super) struct Prepared {
    pub(super) passage: Rc<Passage>,
    /// The head for the upstream and what was there of the body; of what goes `across`, the body's data alone.
    pub(super) bytes: Bytes,
    /// The head for an upstream that is spoken to in HTTP/2.
    pub(super) across: Option<Box<Request<()>>>,
    pub(super) framing: Framing,
    pub(super) taker: Taker,
    pub(super) to_head: bool,
    pub(super) upgrades: bool,
    pub(super) connect: bool,
    /// The client waits for a 100 before it sends the body.
    pub(super) expects: bool,
}

impl Prepared {
    /// Reads a request from `bytes`, whose head ends at `end`, and says how much of them it took.
    pub(super) fn read(
        lane: &Rc<Lane>,
        client: &Client,
        bytes: &[u8],
        end: usize,
    ) -> Result<(Self, usize), Malformed> {
        let (head, body) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        let (head, mut framing) = RequestHead::read(head)?;
        let Route {
            upstream, stamp, ..
        } = &client.route;
        let across = match upstream.wanted(Protocol::Http1) {
            Wanted::Http1 => None,
            Wanted::Http2 | Wanted::Either if head.is_connect() => None,
            Wanted::Http2 | Wanted::Either => {
                Some(Box::new(across::translated(&head, stamp.as_ref())?))
            }
        };
        let new_connection = client.asks();
        let passage = Passage::begin(
            lane,
            Begun {
                method: head.method,
                path: head.path(),
                content_type: head.content_type,
                content_encoding: head.content_encoding,
                websocket: head.websocket,
                probe: head.probe,
                opts_out: head.opts_out,
                conversation: lane
                    .conversation(|name| head.field(name.as_str()), || head.usual_name),
                new_connection,
            },
        );
        let mut out = Vec::with_capacity(bytes.len() + 128);
        if across.is_none() {
            head.write(upstream.base(), upstream.host(), stamp.as_ref(), &mut out);
        }
        let start = out.len();
        let mut runs = Vec::new();
        let scanned = framing.scan(body, |run| runs.push(run));
        let taken = scanned.inspect_err(|malformed| {
            passage.end_with_own_answer(End::Whole, malformed.status());
        })?;
        if across.is_some() {
            append_data(body, &mut runs, &mut out);
        } else {
            out.extend_from_slice(body.get(..taken).unwrap_or_default());
            for run in &mut runs {
                *run = start + run.start..start + run.end;
            }
        }
        let out = Bytes::from(out);
        let now = passage.arrived;
        passage.upload_runs(now, Piece::Shared(&out), &runs);
        if framing.is_over() {
            passage.upload_end(now);
        }
        let prepared = Self {
            passage,
            taker: Taker {
                old: head.old,
                closes: head.closes,
                upgrades: false,
            },
            to_head: head.method == b"HEAD",
            upgrades: head.upgrades,
            connect: head.is_connect(),
            expects: !head.old && across.is_some() && head.expects_continue(),
            bytes: out,
            across,
            framing,
        };
        Ok((prepared, end + taken))
    }

    /// Shows the tap what comes of the body once the request has been refused: what was asked is known all the same.
    pub(super) fn overhear(&mut self, bytes: &[u8]) {
        if self.framing.is_over() {
            return;
        }
        let mut runs = Vec::new();
        let scanned = self.framing.scan(bytes, |run| runs.push(run));
        let now = self.passage.moved();
        self.passage.upload_runs(now, Piece::Lent(bytes), &runs);
        if scanned.is_err() {
            // Refused already, and never whole.
            self.framing = Framing::NONE;
        } else if self.framing.is_over() {
            self.passage.upload_end(now);
            self.passage.end(End::Whole);
        }
    }
}
