//! What follows a 101: bytes both ways, each direction ending on its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::serve::Session;
use super::way::Way;
use super::{Link, Scratch};
use crate::record::alarm::later;
use crate::record::lane::Lane;
use crate::record::tape::parcel::{End, Side};
use crate::record::tape::passage::Passage;

/// One direction.
#[derive(Default)]
struct Pipe {
    way: Way,
    /// The reader's end has been told to the writer's side.
    shut: bool,
    read_all: bool,
}

impl Pipe {
    /// Ready when this direction is at its end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        scratch: &mut Scratch,
        mut passed: impl FnMut(&[u8]),
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.way.poll_clear(cx, to))?;
            if self.read_all {
                if !self.shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let read = ready!(scratch.poll_read(cx, from))?;
            self.read_all = read == 0;
            passed(scratch.filled());
            self.way.pass(cx, to, &scratch.lend(), read)?;
        }
    }
}

/// Carries bytes until both directions have ended, or one breaks. `way` holds what still waits for the client.
pub(super) async fn tunnel(
    lane: &Lane,
    session: &mut Session,
    mut link: Box<Link>,
    passage: &Passage,
    way: Way,
) {
    let mut up = Pipe::default();
    let mut down = Pipe {
        way,
        ..Pipe::default()
    };
    // What the client sent before it knew of the change belongs to the new protocol.
    passage.tunnelled(&session.ahead, Side::Client);
    up.way = Way::of(session.ahead.split().freeze());
    let broken = poll_fn(|cx| {
        let mut scratch = lane.scratch.borrow_mut();
        let (io, link) = (&mut session.io, &mut link.io);
        let rise = up.poll(cx, io, link, &mut scratch, |bytes| {
            passage.tunnelled(bytes, Side::Client);
        });
        let fall = down.poll(cx, link, io, &mut scratch, |bytes| {
            passage.tunnelled(bytes, Side::Upstream);
        });
        match down.way.is_clear() {
            true => passage.client_took(true),
            false => passage.waits_for_client(Instant::now),
        }
        match (rise, fall) {
            (Poll::Ready(Err(_)), _) => Poll::Ready(Some(End::ClientCancelled)),
            (_, Poll::Ready(Err(_))) => Poll::Ready(Some(End::Reset)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(None),
            _ => {
                let deadline = later(passage.progress(), lane.limits.idle);
                let alarm = session.client.poll_alarm(cx, deadline);
                alarm.map(|()| Some(End::Timeout))
            }
        }
    })
    .await;
    passage.end(broken.unwrap_or(End::Whole));
    if broken.is_some() {
        session.client.reset_on_close();
    }
}
