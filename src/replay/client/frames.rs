use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Response;
use tokio::time::Sleep;

use super::link::Link;
use super::talk::{Cut, Listener, Talk};
use crate::net::http1::ResponseHead;
use crate::replay::FailureKind;

/// One request and its answer over HTTP/2. Moments are those at which this task learns of what the connection's own read.
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
        let mut waited = false;
        let ready = |cx: &mut Context<'_>| {
            let ready = sender.poll_ready(cx);
            waited |= ready.is_pending();
            ready
        };
        self.until(&mut sleep, ready)
            .await?
            .map_err(|error| before_head(&error))?;
        // Where the target took no further stream, it went when another had ended.
        let at = if waited { Instant::now() } else { at };
        self.sent_us = Some(self.lane.clock.us_at(at));
        let answer = self
            .until(&mut sleep, |cx| Pin::new(&mut response).poll(cx))
            .await?
            .map_err(|error| before_head(&error))?;
        let at_us = self.lane.clock.now_us();
        let head = as_lines(&answer);
        let head = ResponseHead::read(&head).map_err(|_| Cut::Failed(FailureKind::NotHttp))?;
        self.listener.head(at_us, &head);
        self.heard(at_us)?;
        let mut body = answer.into_body();
        while let Some(read) = self.until(&mut sleep, |cx| body.poll_data(cx)).await? {
            let data = read.map_err(|_| Cut::Failed(FailureKind::Truncated))?;
            let at_us = self.lane.clock.now_us();
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

    /// Waits, but not beyond what the watch allows.
    async fn until<T>(
        &self,
        sleep: &mut Pin<&mut Sleep>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Cut> {
        std::future::poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.watch.poll(cx, sleep.as_mut()).map(Err),
        })
        .await
    }
}

/// What an error means before an answer began. A stream that the target refuses or a connection that it says goodbye on are no
/// reason to send again: they are counted.
fn before_head(error: &h2::Error) -> Cut {
    let not_http = error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR);
    Cut::Failed(if not_http {
        FailureKind::NotHttp
    } else {
        FailureKind::Reset
    })
}

/// The head as HTTP/1 would have it, for whoever listens.
fn as_lines(answer: &Response<h2::RecvStream>) -> Vec<u8> {
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
