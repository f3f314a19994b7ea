//! HAProxy's PROXY protocol, versions 1 and 2: the few bytes before everything else on a connection that say who the client
//! really is. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::record::front::arrival::canonical;

/// The form of a header that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum ProxyHeader {
    /// Nothing: the proxy speaks for itself (a health check), or knows no addresses. The connection's own are true.
    Own,
    /// The connection's real ends.
    Proxied {
        client: SocketAddr,
        destination: SocketAddr,
    },
}

/// What came is no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no well-formed PROXY header")]
pub(in crate::record) struct Malformed;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V1_START: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const V1_MAX: usize = 107;
/// As much as both versions have at least, so nothing that follows a header is read with it.
const SHORTEST: usize = 13;
const V2_HEAD: usize = 16;
/// Addresses need 36; the rest are TLVs, which nobody sends many of.
const V2_MAX_BODY: usize = 4096;

/// Reads exactly a header and nothing behind it.
pub(in crate::record) async fn read(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<ProxyHeader, Malformed> {
    let mut start = [0; SHORTEST];
    read_exact(from, &mut start).await?;
    if start.starts_with(&SIGNATURE) {
        let mut head = [0; V2_HEAD];
        let (begun, rest) = head.split_at_mut(SHORTEST);
        begun.copy_from_slice(&start);
        read_exact(from, rest).await?;
        let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
        if length > V2_MAX_BODY {
            return Err(Malformed);
        }
        let mut body = vec![0; length];
        read_exact(from, &mut body).await?;
        return parse_v2(&head, &body);
    }
    if !start.starts_with(V1_START) {
        return Err(Malformed);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX || line.contains(&b'\n') {
            return Err(Malformed);
        }
        // Byte by byte: one too many would be the first of TLS or HTTP. It is once for a connection.
        line.push(from.read_u8().await.map_err(|_| Malformed)?);
    }
    parse_v1(&line)
}

async fn read_exact(from: &mut (impl AsyncRead + Unpin), buf: &mut [u8]) -> Result<(), Malformed> {
    from.read_exact(buf).await.map(drop).map_err(|_| Malformed)
}

fn parse_v1(line: &[u8]) -> Result<ProxyHeader, Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Malformed);
    }
    let family = words.next().ok_or(Malformed)?;
    if family == "UNKNOWN" {
        return Ok(ProxyHeader::Own);
    }
    let mut ip = || -> Result<IpAddr, Malformed> {
        let word = words.next().ok_or(Malformed)?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6),
            _ => return Err(Malformed),
        }
        .map_err(|_| Malformed)
    };
    let (source_ip, destination_ip) = (ip()?, ip()?);
    let mut port = || -> Result<u16, Malformed> {
        let word = words.next().ok_or(Malformed)?;
        let port: u16 = word.parse().map_err(|_| Malformed)?;
        // `+80` and `0080` parse, and are not what the protocol says.
        (port.to_string() == word).then_some(port).ok_or(Malformed)
    };
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(Malformed);
    }
    Ok(ProxyHeader::Proxied {
        client: SocketAddr::new(source_ip, source_port),
        destination: SocketAddr::new(destination_ip, destination_port),
    })
}

fn parse_v2(head: &[u8; V2_HEAD], body: &[u8]) -> Result<ProxyHeader, Malformed> {
    let (version_command, family) = (head[12], head[13]);
    match version_command {
        0x20 => return Ok(ProxyHeader::Own),
        0x21 => {}
        _ => return Err(Malformed),
    }
    let (client_ip, destination_ip, ports): (IpAddr, IpAddr, &[u8]) = match family {
        0x11 => {
            let (client, rest) = body.split_first_chunk::<4>().ok_or(Malformed)?;
            let (destination, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            ((*client).into(), (*destination).into(), rest)
        }
        0x21 => {
            let (client, rest) = body.split_first_chunk::<16>().ok_or(Malformed)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            ((*client).into(), (*destination).into(), rest)
        }
        // Unspecified, and unix sockets: there is no address to take over.
        0x00 => return Ok(ProxyHeader::Own),
        0x31 if body.len() >= 216 => return Ok(ProxyHeader::Own),
        _ => return Err(Malformed),
    };
    let ports = ports.first_chunk::<4>().ok_or(Malformed)?;
    let [a, b, c, d] = *ports;
    Ok(ProxyHeader::Proxied {
        client: SocketAddr::new(client_ip, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination_ip, u16::from_be_bytes([c, d])),
    })
}

/// The header for a connection's real ends, or for one whose ends are not known.
pub(in crate::record) fn write(
    version: ProxyVersion,
    ends: Option<(SocketAddr, SocketAddr)>,
) -> Vec<u8> {
    let ends = ends.map(|(client, destination)| alike(client, destination));
    match (version, ends) {
        (ProxyVersion::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyVersion::V1, Some((client, destination))) => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            format!(
                "PROXY {family} {} {} {} {}\r\n",
                client.ip(),
                destination.ip(),
                client.port(),
                destination.port()
            )
            .into_bytes()
        }
        (ProxyVersion::V2, ends) => write_v2(ends),
    }
}

fn write_v2(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((client, destination)) = ends else {
        header.extend_from_slice(&[0x20, 0x00, 0, 0]);
        return header;
    };
    let (family, length) = if client.is_ipv4() {
        (0x11, 12)
    } else {
        (0x21, 36)
    };
    header.extend_from_slice(&[0x21, family, 0, length]);
    for ip in [client.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => header.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => header.extend_from_slice(&ip.octets()),
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

/// A header has one family for both ends: where they differ, the IPv4 one is told in its IPv6 form.
fn alike(client: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (client, destination) = (canonical(client), canonical(destination));
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if client.is_ipv4() == destination.is_ipv4() {
        (client, destination)
    } else {
        (mapped(client), mapped(destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read, and how many bytes of it.
    fn read_from(bytes: &[u8]) -> (Result<ProxyHeader, Malformed>, usize) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let header = runtime.block_on(read(&mut rest));
        (header, bytes.len() - rest.len())
    }

    fn ends(client: &str, destination: &str) -> (SocketAddr, SocketAddr) {
        (client.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn headers_look_as_the_specification_shows_them() {
        let four = ends("192.168.0.1:56324", "192.168.0.11:443");
        assert_eq!(
            write(ProxyVersion::V1, Some(four)),
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
        );
        assert_eq!(
            write(ProxyVersion::V2, Some(four)),
            [
                SIGNATURE.as_slice(),
                &[0x21, 0x11, 0, 12, 192, 168, 0, 1, 192, 168, 0, 11],
                &[0xdc, 0x04, 0x01, 0xbb],
            ]
            .concat()
        );
        assert_eq!(write(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
        let mixed = ends("192.0.2.1:1", "[2001:db8::1]:2");
        assert_eq!(
            write(ProxyVersion::V1, Some(mixed)),
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n"
        );
    }

    #[test]
    fn nothing_behind_a_header_is_read() {
        for header in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN anything at all\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            &[SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat(),
            &[SIGNATURE.as_slice(), &[0x20, 0x11, 0, 3, 1, 2, 3]].concat(),
        ] {
            let (read, bytes) = read_from(&[header, b"\x16\x03\x01GET"].concat());
            assert!(read.is_ok());
            assert_eq!(bytes, header.len());
        }
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        let v2 = |rest: &[u8]| [SIGNATURE.as_slice(), rest].concat();
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100], b"\r\n"].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n..",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 +2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            &long,
            &v2(&[0x31, 0x11, 0, 0]),
            &v2(&[0x22, 0x11, 0, 0]),
            &v2(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]),
            &v2(&[0x21, 0x12, 0, 12, 1, 2, 3, 4, 1, 2, 3, 4, 0, 1, 0, 2]),
            &v2(&[0x21, 0x00, 0xff, 0xff]),
            &v2(&[0x21, 0x11, 0]),
        ] {
            assert_eq!(read_from(bytes).0, Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn tlvs_behind_the_addresses_are_skipped() {
        let mut header = write(
            ProxyVersion::V2,
            Some(ends("[2001:db8::1]:1", "[2001:db8::2]:2")),
        );
        header[15] += 5;
        header.extend_from_slice(&[4, 0, 2, 9, 9]);
        let (read, bytes) = read_from(&header);
        assert!(matches!(read, Ok(ProxyHeader::Proxied { .. })));
        assert_eq!(bytes, header.len());
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(client in address(), destination in address()) {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let header = write(version, Some((client, destination)));
                let (read, bytes) = read_from(&[header.as_slice(), b"rest of the stream"].concat());
                prop_assert_eq!(bytes, header.len());
                let Ok(ProxyHeader::Proxied { client: c, destination: d }) = read else {
                    return Err(TestCaseError::fail("not read"));
                };
                prop_assert_eq!((canonical(c), canonical(d)), (canonical(client), canonical(destination)));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_without_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            start in 0..3_usize,
        ) {
            let start: &[u8] = [&b""[..], &SIGNATURE, b"PROXY TCP6 "][start];
            let (_, read) = read_from(&[start, &bytes].concat());
            prop_assert!(read <= V2_HEAD + V2_MAX_BODY);
        }
    }
}
