//! What docs/http.md says changes, written again in a few lines of its own.

pub(super) type Line = (String, Vec<u8>);

#[derive(Debug, Clone)]
pub(super) enum Body {
    None,
    Length(Vec<u8>),
    /// The chunks as they are written, extensions, last chunk and trailers included.
    Chunked(Vec<u8>),
    /// An answer's, until the connection ends.
    Rest(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) first: String,
    pub(super) lines: Vec<Line>,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) request: Message,
    pub(super) interim: bool,
    pub(super) answer: Message,
}

impl Message {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first).into_bytes();
        for (name, value) in &self.lines {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if let Body::Length(body) | Body::Chunked(body) | Body::Rest(body) = &self.body {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    pub(super) fn connection_says(&self, word: &str) -> bool {
        self.lines
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .any(|(_, value)| list(value).any(|member| member == word))
    }
}

/// The lower-cased members of a list.
fn list(value: &[u8]) -> impl Iterator<Item = String> {
    let value = String::from_utf8_lossy(value).to_lowercase();
    let members: Vec<_> = value.split(',').map(|one| one.trim().to_owned()).collect();
    members.into_iter()
}

/// docs/http.md, "Relayed": what is left of the fields for the next hop.
fn beyond_the_hop(message: &Message, upgrades: bool) -> Vec<Line> {
    let is = |name: &str, of: &[&str]| of.iter().any(|one| name.eq_ignore_ascii_case(one));
    let stays = |(name, _): &&Line| {
        if is(name, &["upgrade"]) {
            return upgrades;
        }
        let hop = is(
            name,
            &[
                "connection",
                "keep-alive",
                "proxy-connection",
                "http2-settings",
                "te",
            ],
        );
        let needed = is(
            name,
            &["host", "content-length", "transfer-encoding", "trailer"],
        );
        !hop && (needed || !message.connection_says(&name.to_lowercase()))
    };
    let mut lines: Vec<_> = message.lines.iter().filter(stays).cloned().collect();
    let mut te = message.lines.iter().filter(|(name, _)| is(name, &["te"]));
    if te.any(|(_, value)| list(value).any(|one| one == "trailers")) {
        lines.push(("TE".into(), b" trailers".to_vec()));
    }
    if upgrades {
        lines.push(("Connection".into(), b" Upgrade".to_vec()));
    }
    lines
}

pub(super) fn expected_request(request: &Message, upstream: &str) -> Vec<u8> {
    let old = request.first.ends_with("1.0");
    let asks = request.lines.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("upgrade") && list(value).any(|one| one != "h2c")
    });
    let upgrades = !old && asks && request.connection_says("upgrade");
    let mut lines = beyond_the_hop(request, upgrades);
    let parts: Vec<_> = request.first.split(' ').collect();
    let mut target = parts[1];
    let is_host = |(name, _): &Line| name.eq_ignore_ascii_case("host");
    if let Some(below) = target.strip_prefix("http://") {
        let (host, _) = below.split_once('/').unwrap();
        target = &below[host.len()..];
        lines.retain(|line| !is_host(line));
        lines.insert(0, ("Host".into(), format!(" {host}").into_bytes()));
    } else if !lines.iter().any(is_host) {
        lines.push(("Host".into(), format!(" {upstream}").into_bytes()));
    }
    let first = format!("{} {target} HTTP/1.1", parts[0]);
    let body = request.body.clone();
    Message { first, lines, body }.bytes()
}

/// The answer as the client must see it, and whether its connection ends then.
pub(super) fn expected_answer(exchange: &Exchange) -> (Vec<u8>, bool) {
    let (request, answer) = (&exchange.request, &exchange.answer);
    let old = request.first.ends_with("1.0");
    let bodiless = bodiless(exchange);
    let mut lines = beyond_the_hop(answer, false);
    let mut body = answer.body.clone();
    let mut closes = request.connection_says("close")
        || old && !request.connection_says("keep-alive")
        || !bodiless && matches!(body, Body::Rest(_));
    if let (true, Body::Chunked(chunks)) = (old, &body) {
        lines.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("transfer-encoding") && !name.eq_ignore_ascii_case("trailer")
        });
        closes |= !bodiless;
        body = Body::Rest(dechunked(chunks));
    }
    if closes {
        lines.push(("Connection".into(), b" close".to_vec()));
    } else if old {
        lines.push(("Connection".into(), b" keep-alive".to_vec()));
    }
    if bodiless {
        body = Body::None;
    }
    let version = if old { "HTTP/1.0" } else { "HTTP/1.1" };
    let first = format!("{version}{}", &answer.first[8..]);
    let mut bytes = Message { first, lines, body }.bytes();
    if exchange.interim && !old {
        bytes.splice(0..0, INTERIM.iter().copied());
    }
    (bytes, closes)
}

const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

fn bodiless(exchange: &Exchange) -> bool {
    let status = &exchange.answer.first[9..12];
    exchange.request.first.starts_with("HEAD ") || status == "204" || status == "304"
}

/// What the upstream writes.
pub(super) fn written_answer(exchange: &Exchange) -> Vec<u8> {
    let mut answer = exchange.answer.clone();
    if bodiless(exchange) {
        answer.body = Body::None;
    }
    let mut bytes = answer.bytes();
    if exchange.interim {
        bytes.splice(0..0, INTERIM.iter().copied());
    }
    bytes
}

fn dechunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = memchr::memmem::find(chunks, b"\r\n").unwrap();
        let line = String::from_utf8_lossy(&chunks[..end]).into_owned();
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 4 + size..];
    }
}
