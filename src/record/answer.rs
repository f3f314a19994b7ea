use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use super::relay::{Broken, Relay};

/// The body of what a client gets: the upstream's answer, or one of the recorder's own.
pub(super) enum Answer {
    /// The upstream's.
    Relayed(Box<Relay>),
    /// The recorder's.
    Own(Option<Bytes>),
}

/// Why the recorder answers itself. The name goes into the `x-reenact-error` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No connection to the upstream.
    UpstreamRefused,
    /// TLS to the upstream failed.
    UpstreamTls,
    /// Connecting took too long.
    ConnectTimeout,
    /// No response's head in time.
    FirstByteTimeout,
    /// The upstream closed before it answered.
    UpstreamClosed,
    /// What the upstream sent is not HTTP.
    UpstreamNotHttp,
    /// The request's body broke off or was not framed as it said.
    BadBody,
    /// `CONNECT` and upgrades are not carried.
    Unsupported,
    /// A redirect rule led our own connection back to us.
    Loop,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UpstreamRefused => (
                StatusCode::BAD_GATEWAY,
                "upstream_refused",
                "reenact: the upstream does not accept connections\n",
            ),
            Self::UpstreamTls => (
                StatusCode::BAD_GATEWAY,
                "upstream_tls",
                "reenact: TLS to the upstream failed\n",
            ),
            Self::ConnectTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "connect_timeout",
                "reenact: connecting to the upstream took too long\n",
            ),
            Self::FirstByteTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "first_byte_timeout",
                "reenact: the upstream did not answer in time\n",
            ),
            Self::UpstreamClosed => (
                StatusCode::BAD_GATEWAY,
                "upstream_closed",
                "reenact: the upstream closed the connection before it answered\n",
            ),
            Self::UpstreamNotHttp => (
                StatusCode::BAD_GATEWAY,
                "upstream_not_http",
                "reenact: the upstream's answer is not HTTP\n",
            ),
            Self::BadBody => (
                StatusCode::BAD_REQUEST,
                "bad_body",
                "reenact: the request's body is not framed as it says\n",
            ),
            Self::Loop => (
                StatusCode::LOOP_DETECTED,
                "loop",
                "reenact: a redirect rule leads its own connections back to it\n",
            ),
            Self::Unsupported => (
                StatusCode::NOT_IMPLEMENTED,
                "unsupported",
                "reenact: CONNECT and protocol upgrades are not carried\n",
            ),
        }
    }

    /// The status that the client sees.
    pub(super) const fn status(self) -> StatusCode {
        self.parts().0
    }

    /// What went wrong, as half a sentence.
    pub(super) fn reason(self) -> &'static str {
        let text = self.parts().2;
        text.trim_start_matches("reenact: ").trim_end()
    }

    /// The whole answer.
    pub(super) fn answer(self) -> Response<Answer> {
        let (status, name, text) = self.parts();
        let mut response = Response::new(Answer::Own(Some(Bytes::from_static(text.as_bytes()))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert("x-reenact-error", HeaderValue::from_static(name));
        response
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Relayed(relay) => relay.poll_frame(cx),
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Relayed(relay) => relay.is_end_stream(),
            Self::Own(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Relayed(relay) => relay.size_hint(),
            Self::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}
