use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use http::Response;
use tokio::time::Sleep;

use super::brake::Brake;
use super::link::Link;
use super::talk::{Cut, Listener, Talk};
use super::watch::Watch;
use crate::net::http1::ResponseHead;
use crate::replay::FailureKind;

/// One request and its answer over HTTP/2. Moments are those of the last packet that the connection's own task had read when this one came to
/// it: of this answer, or of one that was read with it.
impl<L: Listener> Talk<'_, L> {
    /// Sends the request on a stream of its own and follows the answer to its end; dropped before, the stream is reset.
    pub(super) async fn stream(
        &mut self,
        link: &Link,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<(), Cut> {
        let (request, body) = self
            .outgoing
            .framed(&link.scheme)
            .ok_or(Cut::Failed(FailureKind::NotHttp))?;
        let waiting = self.watch.before_sending();
        let turn = link.turns.acquire();
        tokio::pin!(turn);
        let _turn = until(&waiting, &mut sleep, |cx| {
            let turn = turn.as_mut().poll(cx);
            self.queued |= turn.is_pending();
            turn
        })
        .await?
        .map_err(|_| Cut::Failed(FailureKind::Reset))?;
        let mut sender = link.sender.clone();
        let at = Instant::now();
        let (mut response, mut sending) = sender
            .send_request(request, body.is_empty())
            .map_err(|error| before_head(&error))?;
        if !body.is_empty() {
            sending
                .send_data(body, true)
                .map_err(|error| before_head(&error))?;
        }
        let ready = |cx: &mut Context<'_>| {
            let ready = sender.poll_ready(cx);
            self.queued |= ready.is_pending();
            ready
        };
        until(&waiting, &mut sleep, ready)
            .await?
            .map_err(|error| before_head(&error))?;
        // Where the target has taken back how many streams it takes, it went when another had ended.
        let at = if self.queued {
            self.watch.begin(sleep.as_mut());
            Instant::now()
        } else {
            at
        };
        self.sent_us = Some(self.lane.clock.us_at(at));
        self.outgoing.let_go();
        let answer = until(&self.watch, &mut sleep, |cx| {
            Pin::new(&mut response).poll(cx)
        })
        .await?
        .map_err(|error| before_head(&error))?;
        let at_us = self.moment(link.last.at());
        let head = as_lines(&answer);
        let head = ResponseHead::read(&head).map_err(|_| Cut::Failed(FailureKind::NotHttp))?;
        self.listener.head(at_us, &head);
        self.heard(at_us)?;
        let mut body = answer.into_body();
        while let Some(read) = until(&self.watch, &mut sleep, |cx| {
            next(cx, &mut body, self.brake.as_mut())
        })
        .await?
        {
            let data = read.map_err(|_| Cut::Failed(FailureKind::Truncated))?;
            if let Some(brake) = &mut self.brake {
                brake.took(data.len());
            }
            let at_us = self.moment(link.last.at());
            // An error would say that the stream is gone, which the next read says, too.
            let _ = body.flow_control().release_capacity(data.len());
            self.listener.data(at_us, &data);
            self.heard(at_us)?;
        }
        Ok(())
    }

    /// Something came.
    fn heard(&mut self, at_us: u64) -> Result<(), Cut> {
        if self.watch.heard(at_us) {
            return Err(Cut::Cancelled);
        }
        self.listener.enough().map_or(Ok(()), Err)
    }
}

/// Waits, but not beyond what the watch allows.
async fn until<T>(
    watch: &Watch,
    sleep: &mut Pin<&mut Sleep>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Cut> {
    std::future::poll_fn(|cx| match poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => watch.poll(cx, sleep.as_mut()).map(Err),
    })
    .await
}

/// What comes next of an answer, when its client takes it.
fn next(
    cx: &mut Context<'_>,
    body: &mut RecvStream,
    brake: Option<&mut Brake>,
) -> Poll<Option<Result<Bytes, h2::Error>>> {
    let Some(brake) = brake else {
        return body.poll_data(cx);
    };
    ready!(brake.poll(cx));
    let read = body.poll_data(cx);
    if read.is_pending() {
        brake.found_nothing();
    }
    read
}

/// What an error means before an answer began. Neither a stream that the target refuses nor a goodbye by which it says that it has not
/// looked at one is a reason to send again what was sent: the target had the load of it, and another send would come later than the
/// trace says. It is counted. Only what had not gone out yet goes over another connection.
fn before_head(error: &h2::Error) -> Cut {
    let not_http = error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR);
    Cut::Failed(if not_http {
        FailureKind::NotHttp
    } else {
        FailureKind::Reset
    })
}

/// The head as HTTP/1 would have it, for whoever listens.
fn as_lines(answer: &Response<RecvStream>) -> Vec<u8> {
    let mut lines = Vec::with_capacity(256);
    lines.extend_from_slice(b"HTTP/1.1 ");
    lines.extend_from_slice(answer.status().as_str().as_bytes());
    lines.extend_from_slice(b"\r\n");
    for (name, value) in answer.headers() {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines.extend_from_slice(b"\r\n");
    lines
}
