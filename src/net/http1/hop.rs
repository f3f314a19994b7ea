use super::fields::{Field, Fields, members};

/// What is meant for one hop only (RFC 9110, 7.6.1).
#[derive(Debug, Default)]
pub(crate) struct HopByHop<'a> {
    /// There are fields to leave out.
    any: bool,
    /// The members of `Connection`.
    named: Vec<&'a [u8]>,
}

impl<'a> HopByHop<'a> {
    pub(crate) fn note(&mut self, field: &Field<'a>) {
        if field.is("connection") {
            self.named.extend(members(field.value));
        }
        self.any |= is_hop_by_hop(field);
    }

    /// Whether this connection is to be `close`d, or kept (`keep-alive`), or left for another protocol (`upgrade`).
    pub(crate) fn names(&self, option: &str) -> bool {
        self.named
            .iter()
            .any(|named| named.eq_ignore_ascii_case(option.as_bytes()))
    }

    /// Writes the fields that go on. `TE` goes on as far as it is about trailers; `Upgrade` where `upgrades`.
    pub(crate) fn write(&self, fields: &[u8], upgrades: bool, out: &mut Vec<u8>) {
        if !self.any {
            return out.extend_from_slice(fields);
        }
        let mut trailers = false;
        for field in Fields(fields).flatten() {
            if field.is("te") {
                trailers |= members(field.value).any(|one| one.eq_ignore_ascii_case(b"trailers"));
            } else if !is_hop_by_hop(&field) && !self.removes(&field)
                || upgrades && field.is("upgrade")
            {
                out.extend_from_slice(field.line);
            }
        }
        if trailers {
            out.extend_from_slice(b"TE: trailers\r\n");
        }
        if upgrades {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
        }
    }

    /// Named by `Connection`. Naming what a message cannot do without is how a request is smuggled past a proxy.
    fn removes(&self, field: &Field<'_>) -> bool {
        let needed = ["host", "content-length", "transfer-encoding", "trailer"];
        self.named
            .iter()
            .any(|named| named.eq_ignore_ascii_case(field.name))
            && !needed.iter().any(|name| field.is(name))
    }
}

fn is_hop_by_hop(field: &Field<'_>) -> bool {
    match field.name.len() {
        2 => field.is("te"),
        7 => field.is("upgrade"),
        10 => field.is("connection") || field.is("keep-alive"),
        14 => field.is("http2-settings"),
        16 => field.is("proxy-connection"),
        _ => false,
    }
}
