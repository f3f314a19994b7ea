use crate::net::MaybeTls;
use crate::record::front::socket::{ResetSwitch, Socket};

/// A connection to a neighbour as HTTP sees it.
pub(in crate::record) type Wire = MaybeTls<Socket>;

/// A client's connection.
pub(in crate::record) type ClientIo = Wire;

/// An application protocol that TLS can agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in ALPN.
    pub(in crate::record) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl Wire {
    /// What TLS agreed on; `None` without TLS, or where the peer named no protocol.
    pub(in crate::record) fn protocol(&self) -> Option<Protocol> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let agreed = stream.get_ref().1.alpn_protocol()?;
        [Protocol::Http1, Protocol::Http2]
            .into_iter()
            .find(|protocol| protocol.alpn() == agreed)
    }

    /// What makes it end in a reset.
    pub(in crate::record) fn reset_switch(&self) -> ResetSwitch {
        self.socket().reset_switch()
    }
}
