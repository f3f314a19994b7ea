//! The headers that tell an upstream who its client is. RFC 7239 for `Forwarded`; the `X-Forwarded-*` family as everybody
//! writes it.

use std::net::IpAddr;

use crate::record::front::arrival::Arrival;

/// What happens to forwarded headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// They pass as they came, and none is added.
    #[default]
    Off,
    /// Ours go behind those of the proxies before us.
    Append,
    /// What came is thrown away: nobody before us is trusted.
    Replace,
}

/// What one client's connection adds to each of its requests.
pub(in crate::record) struct Stamp {
    replace: bool,
    client: Option<IpAddr>,
    proto: &'static str,
}

/// A header to be sent.
pub(in crate::record) type Line = (&'static str, Vec<u8>);

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const FORWARDED: &str = "forwarded";

impl Stamp {
    /// `None` where nothing is to be done.
    pub(in crate::record) fn new(mode: Forwarded, arrival: &Arrival) -> Option<Self> {
        (mode != Forwarded::Off).then(|| Self {
            replace: mode == Forwarded::Replace,
            client: arrival.client.map(|client| client.ip().to_canonical()),
            proto: if arrival.tls { "https" } else { "http" },
        })
    }

    /// Whether [`Self::lines`] speaks for every header of this name, so that those that came are to be left out.
    pub(in crate::record) fn speaks_for(name: &[u8]) -> bool {
        [FOR, PROTO, HOST, FORWARDED]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
    }

    /// The lines to send in the place of those that came. `host` is the request's `Host`; `came` are its headers, from
    /// which those that matter are picked.
    pub(in crate::record) fn lines<'a>(
        &self,
        host: Option<&[u8]>,
        came: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<Line> {
        let mut before = Before::default();
        if !self.replace {
            came.for_each(|(name, value)| before.take(name, value));
        }
        let mut lines = Vec::with_capacity(4);
        let forwarded_for = self.client.map(|client| client.to_string());
        push(&mut lines, FOR, before.chain, forwarded_for.as_deref());
        // Only the proxy nearest to the client saw how the client spoke and whom it asked for.
        let proto = before.proto.unwrap_or_else(|| self.proto.into());
        lines.push((PROTO, proto));
        let host_line = before.host.or_else(|| host.map(<[u8]>::to_vec));
        lines.extend(host_line.map(|host| (HOST, host)));
        push(
            &mut lines,
            FORWARDED,
            before.forwarded,
            Some(&self.element(host)),
        );
        lines
    }

    /// Our element of `Forwarded`.
    fn element(&self, host: Option<&[u8]>) -> String {
        let node = match self.client {
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
            None => "unknown".to_owned(),
        };
        let mut element = format!("for={node};proto={}", self.proto);
        // What does not belong into a host is not worth escaping: left out, it cannot break out of its quotes.
        if let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok())
            && !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_~:[]%".contains(&byte))
        {
            element += &format!(";host=\"{host}\"");
        }
        element
    }
}

/// What the proxies before us said.
#[derive(Default)]
struct Before {
    chain: Vec<u8>,
    forwarded: Vec<u8>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

impl Before {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(FOR.as_bytes()) {
            join(&mut self.chain, value);
        } else if name.eq_ignore_ascii_case(FORWARDED.as_bytes()) {
            join(&mut self.forwarded, value);
        } else if name.eq_ignore_ascii_case(PROTO.as_bytes()) {
            self.proto.get_or_insert_with(|| value.to_vec());
        } else if name.eq_ignore_ascii_case(HOST.as_bytes()) {
            self.host.get_or_insert_with(|| value.to_vec());
        }
    }
}

fn push(lines: &mut Vec<Line>, name: &'static str, mut list: Vec<u8>, ours: Option<&str>) {
    if let Some(ours) = ours {
        join(&mut list, ours.as_bytes());
    }
    if !list.is_empty() {
        lines.push((name, list));
    }
}

/// Several lines of a list mean the same as one with commas (RFC 9110, 5.3).
fn join(list: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if value.is_empty() {
        return;
    }
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrival(client: Option<&str>, tls: bool) -> Arrival {
        Arrival {
            client: client.map(|client| client.parse().unwrap()),
            tls,
            ..Arrival::default()
        }
    }

    fn stamped(mode: Forwarded, arrival: &Arrival, came: &[(&str, &str)]) -> Vec<String> {
        let came = came
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Stamp::new(mode, arrival)
            .unwrap()
            .lines(Some(b"model.test:8080"), came)
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8(value).unwrap()))
            .collect()
    }

    #[test]
    fn off_does_nothing() {
        assert!(Stamp::new(Forwarded::Off, &arrival(Some("192.0.2.1:5"), true)).is_none());
    }

    #[test]
    fn a_first_proxy_says_all_it_knows() {
        let arrival = arrival(Some("192.0.2.1:5000"), true);
        for mode in [Forwarded::Append, Forwarded::Replace] {
            assert_eq!(
                stamped(mode, &arrival, &[("accept", "*/*")]),
                [
                    "x-forwarded-for: 192.0.2.1",
                    "x-forwarded-proto: https",
                    "x-forwarded-host: model.test:8080",
                    "forwarded: for=192.0.2.1;proto=https;host=\"model.test:8080\"",
                ]
            );
        }
    }

    #[test]
    fn append_keeps_the_chain_in_order_and_what_the_first_proxy_saw() {
        let came = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("x-forwarded-for", " 198.51.100.7 "),
            ("X-Forwarded-Host", "public.test"),
            ("Forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(
            stamped(
                Forwarded::Append,
                &arrival(Some("[2001:db8::1]:1"), false),
                &came
            ),
            [
                "x-forwarded-for: 203.0.113.9, 198.51.100.7, 2001:db8::1",
                "x-forwarded-proto: https",
                "x-forwarded-host: public.test",
                "forwarded: for=203.0.113.9, for=\"[2001:db8::1]\";proto=http;host=\"model.test:8080\"",
            ]
        );
    }

    #[test]
    fn replace_believes_nothing_that_came() {
        let came = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("Forwarded", "for=203.0.113.9"),
        ];
        let lines = stamped(Forwarded::Replace, &arrival(None, false), &came);
        assert_eq!(
            lines,
            [
                "x-forwarded-proto: http",
                "x-forwarded-host: model.test:8080",
                "forwarded: for=unknown;proto=http;host=\"model.test:8080\"",
            ]
        );
        for (name, _) in came {
            assert!(Stamp::speaks_for(name.as_bytes()));
        }
        assert!(!Stamp::speaks_for(b"host"));
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_told_as_ipv4() {
        let lines = stamped(
            Forwarded::Replace,
            &arrival(Some("[::ffff:192.0.2.1]:5"), false),
            &[],
        );
        assert_eq!(lines[0], "x-forwarded-for: 192.0.2.1");
    }

    proptest! {
        #[test]
        fn no_host_breaks_out_of_its_quotes(host in proptest::collection::vec(any::<u8>(), 0..40)) {
            let stamp = Stamp::new(Forwarded::Replace, &arrival(Some("192.0.2.1:5"), false)).unwrap();
            let lines = stamp.lines(Some(&host), std::iter::empty());
            let forwarded = &lines.last().unwrap().1;
            let quotes = forwarded.iter().filter(|&&byte| byte == b'"').count();
            prop_assert!(quotes == 0 || quotes == 2);
            prop_assert!(forwarded.iter().all(|byte| (0x20..0x7f).contains(byte)));
            prop_assert!(!forwarded.contains(&b','));
        }

        #[test]
        fn append_never_loses_what_came(values in proptest::collection::vec("[a-z0-9.:]{1,12}", 0..6)) {
            let stamp = Stamp::new(Forwarded::Append, &arrival(Some("192.0.2.1:5"), false)).unwrap();
            let came = values.iter().map(|value| (FOR.as_bytes(), value.as_bytes()));
            let lines = stamp.lines(None, came);
            let chain = String::from_utf8(lines[0].1.clone()).unwrap();
            let mut told: Vec<_> = chain.split(", ").collect();
            prop_assert_eq!(told.pop(), Some("192.0.2.1"));
            prop_assert_eq!(told, values);
        }
    }
}
