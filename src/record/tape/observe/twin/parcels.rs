//! What the traffic path would hand over of an exchange.

use std::io::Write;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::api::{Api, Said, hex};
use crate::anonymise::Conversation;
use crate::dialect::media_type;
use crate::record::tape::capture::Capture;
use crate::record::tape::parcel::{
    Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel, Side,
};
use crate::shape::Method;

/// What is known of an exchange once it has been asked, and the rest.
pub(super) fn parcels_of(
    said: &Said<'_>,
    conversation: Option<Conversation>,
    capture: &Capture,
    arrived: Instant,
) -> (Box<Parcel>, Box<Parcel>) {
    let plan = said.plan;
    let coding = match plan.coded && plan.api.is_text() {
        true => "gzip",
        false => "",
    };
    let (mut asked, _) = capture.parcel(1, arrived);
    // A tenant's name in the path is text, too.
    let path = format!("/{}{}", hex(&said.texts[0], "%"), said.path());
    let content_type = said.content_type();
    let is_realtime = plan.api == Api::Realtime;
    asked.opening = Some(Opening {
        method: if is_realtime {
            Method::Get
        } else {
            Method::Post
        },
        path_len: path.len(),
        encoding_len: coding.len(),
        media_type: media_type(said.asked_type().as_bytes()),
        in_flight: 1,
        probe: false,
        conversation,
        new_connection: plan.begins,
    });
    asked.head = Some(Head {
        at_us: 50,
        status: match is_realtime {
            true => 101,
            false => [200, 200, 200, 429][plan.end],
        },
        type_len: content_type.len(),
        encoding_len: coding.len(),
        simulated: false,
    });
    for text in [&path, coding, &content_type, coding] {
        asked.texts.extend_from_slice(text.as_bytes());
    }
    for read in coded(said.request(), coding).chunks(plan.read) {
        put(&mut asked, 10, MarkKind::Upload, read);
    }
    mark(&mut asked, 10, 0, MarkKind::UploadEnd);
    if is_realtime {
        let mut now_us = 20;
        for (&(_, number), gap_us) in plan.prompt.iter().zip(plan.gaps_us.iter().cycle()) {
            let len = said.texts[number % said.texts.len()].len();
            frame(&mut asked, now_us, len, Side::Client);
            now_us += gap_us;
        }
    }
    let (mut answered, _) = capture.parcel(1, arrived);
    let mut now_us = 60;
    let mut pieces = said.answer();
    if !coding.is_empty() {
        let (whole, many) = (coded(pieces.concat(), coding), pieces.len());
        let len = whole.len().div_ceil(many.max(1)).max(1);
        pieces = whole.chunks(len).map(<[u8]>::to_vec).collect();
    }
    for (piece, gap_us) in pieces.iter().zip(plan.gaps_us.iter().cycle()) {
        now_us += gap_us;
        match is_realtime {
            true => frame(&mut answered, now_us, piece.len(), Side::Upstream),
            false => put(&mut answered, now_us, MarkKind::Data, piece),
        }
    }
    answered.grpc_status = (plan.api == Api::GrpcInfer).then_some([0, 0, 0, 8][plan.end]);
    answered.closing = Some(Closing {
        at_us: now_us + 5,
        end: [End::Whole, End::ClientCancelled, End::Reset, End::Whole][plan.end],
        answered: None,
        reader_wait_us: plan.reader_wait_us,
    });
    (asked, answered)
}

/// Packed, where there is a coding, in blocks that are as long as what they hold: how well texts pack is told by the length of a body,
/// which is kept.
fn coded(body: Vec<u8>, coding: &str) -> Vec<u8> {
    if coding.is_empty() {
        return body;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&body).unwrap();
    encoder.finish().unwrap()
}

fn put(parcel: &mut Parcel, at_us: u64, kind: fn(Kept) -> MarkKind, bytes: &[u8]) {
    let kept = parcel.copy(bytes, std::slice::from_ref(&(0..bytes.len())));
    mark(parcel, at_us, bytes.len(), kind(kept));
}

/// A frame of a WebSocket.
fn frame(parcel: &mut Parcel, at_us: u64, len: usize, side: Side) {
    mark(parcel, at_us, len, MarkKind::Tunnelled(side));
    mark(parcel, at_us, len, MarkKind::Frames(side, 1));
}

fn mark(parcel: &mut Parcel, at_us: u64, len: usize, kind: MarkKind) {
    parcel.marks.push(Mark {
        at_us,
        len: u32::try_from(len).unwrap(),
        kind,
    });
}
