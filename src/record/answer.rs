use http::StatusCode;

use crate::record::tape::parcel::End;

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
    /// The request names two hosts, or one with a user in it.
    BadHost,
    /// `CONNECT` and upgrades are not carried.
    Unsupported,
    /// A redirect rule led our own connection back to us.
    Loop,
}

impl Refusal {
    /// Status, name and text.
    pub(super) const fn parts(self) -> (StatusCode, &'static str, &'static str) {
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
            Self::BadHost => (
                StatusCode::BAD_REQUEST,
                "host",
                "reenact: the request does not name one host\n",
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

    /// What is recorded of an exchange that ends so.
    pub(super) const fn end(self) -> End {
        match self {
            Self::UpstreamRefused | Self::UpstreamTls => End::Refused,
            Self::ConnectTimeout | Self::FirstByteTimeout => End::Timeout,
            Self::UpstreamClosed | Self::UpstreamNotHttp => End::Reset,
            Self::BadBody | Self::BadHost | Self::Unsupported | Self::Loop => End::Whole,
        }
    }
}
