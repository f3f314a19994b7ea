//! Exchanges over HTTP/1: every dialect, whole and streamed, answered in every manner and under every coding; and what is no HTTP.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::support::canaries::Canaries;
use super::support::codings::Coding;
use super::support::http;
use super::upstream::{MANNER, MANNERS};
use super::{chats, dialects};

/// Who asks, for whom, from where and in which conversation.
pub(crate) const HEADERS: &str = "Host: @.example\r\nAuthorization: Bearer @\r\nx-api-key: @\r\nCookie: @=@; s=@\r\nUser-Agent: @/1\r\n\
    X-Request-Id: @\r\nX-Session: @\r\ntraceparent: 00-@@-@-01\r\ntracestate: @=@\r\nbaggage: user=@,@=@\r\nForwarded: for=@;host=@\r\n\
    X-Forwarded-For: @\r\nX-Real-IP: @\r\nReferer: https://@/@?@\r\nOrigin: https://@\r\nOpenAI-Organization: @\r\nConversation-Id: @\r\nX-Conversation-Id: @\r\nThread-Id: @\r\n\
    Proxy-Authorization: Basic @\r\nX-@: @\r\nTE: trailers\r\nConnection: close\r\n";

/// How many exchanges it was. `more` manners than all upstreams have.
pub(crate) fn exchange(url: &str, canaries: &Canaries, more: &[&str]) -> usize {
    let mut sent = 0;
    let mut ask = |manner: &str, path: &str, framed: &dyn Fn(&str) -> Vec<u8>| {
        let head = format!("POST {path}?api_key=@&@ HTTP/1.1\r\n{HEADERS}{MANNER}: {manner}\r\n");
        let request = [canaries.fill(&head).into_bytes(), framed(path)].concat();
        let status = http::status(&http::send(url, &request));
        let expected = match manner {
            "refused" => 418,
            "failed" => 500,
            "redirected" => 307,
            "nonsense" => 502,
            // Hints come first.
            "chunked" => 103,
            _ => 200,
        };
        assert_eq!(status, expected, "{path}, {manner}");
        sent += 1;
    };
    for (path, template) in chats::REQUESTS.iter().chain(dialects::REQUESTS) {
        for stream in ["true", "false"] {
            let body = || canaries.fill(&template.replace("STREAM", stream));
            let codings = Coding::ALL.map(Coding::name);
            for manner in MANNERS.iter().chain(more).chain(&codings) {
                ask(manner, path, &|path| sized(path, None, body().as_bytes()));
            }
            for coding in Coding::ALL {
                let coded = |path: &str| sized(path, Some(coding), body().as_bytes());
                ask("plain", path, &coded);
            }
        }
        if template.contains("\r\n\r\n") {
            continue;
        }
        ask("plain", path, &|_| {
            chunked(&template.replace("STREAM", "true"), canaries)
        });
        // What is said to be coded, and is not to its end.
        for coding in Coding::ALL {
            ask("plain", path, &|path| {
                let whole = coding.encode(canaries.fill(template).as_bytes());
                let broken = [&whole[..whole.len() / 2], b"nonsense"].concat();
                sized(path, Some(coding), &broken)
            });
        }
    }
    // Long ones take other buffers on their way.
    let words = format!("@ {} @ ", "and so on, ".repeat(30)).repeat(1 << 10);
    let long =
        format!("{{\"model\":\"@\",\"messages\":[{{\"role\":\"user\",\"content\":\"{words}\"}}]}}");
    for coding in [None].into_iter().chain(Coding::ALL.map(Some)) {
        let body = canaries.fill(&long);
        ask("plain", "/v1/chat/completions", &|path| {
            sized(path, coding, body.as_bytes())
        });
    }
    sent
}

/// The rest of a request whose body has a length.
fn sized(path: &str, coding: Option<Coding>, body: &[u8]) -> Vec<u8> {
    let body = coding.map_or(body.to_vec(), |coding| coding.encode(body));
    let coding = coding.map(Coding::header).unwrap_or_default();
    let kind = match path.contains("/audio/") {
        true => "multipart/form-data; boundary=b",
        false => "application/json",
    };
    let head = format!(
        "Content-Type: {kind}\r\n{coding}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// The rest of a request whose body comes in two chunks, with extensions and trailers.
fn chunked(template: &str, canaries: &Canaries) -> Vec<u8> {
    let body = canaries.fill(template);
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    let mut rest = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in [first, second] {
        rest.extend(canaries.fill(&format!("{:x};@=@\r\n", part.len())).bytes());
        rest.extend_from_slice(part);
        rest.extend_from_slice(b"\r\n");
    }
    rest.extend(canaries.fill("0\r\nX-Sum: @\r\nX-@: @\r\n\r\n").bytes());
    rest
}

/// What is not forwarded, or not to its end. Some of it is an exchange.
pub(crate) fn go_wrong(url: &str, canaries: &Canaries) {
    let huge = format!("GET /@ HTTP/1.1\r\nX: {}@\r\n", "@".repeat(8 << 10));
    for request in [
        "@ /@ HTTP/1.1\r\nHost: @\r\nConnection: close\r\n\r\n",
        "GET / HTTP/9.9 @\r\n@\r\n\r\n",
        "POST /v1/chat/completions?@ HTTP/1.1\r\nHost: @\r\nContent-Length: @\r\n\r\n@",
        "POST /v1/messages HTTP/1.1\r\nHost: @\r\nContent-Length: 3\r\nTransfer-Encoding: @\r\n\r\n@",
        "POST /v1/messages HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n@\r\n@",
        "POST /v1/messages HTTP/1.1\r\nHost: @\r\nX-@\r\n : @\r\n\r\n",
        "CONNECT @:443 HTTP/1.1\r\nHost: @\r\nConnection: close\r\n\r\n@",
        "GET http://@/@ HTTP/1.1\r\nHost: @\r\nUpgrade: @\r\nConnection: upgrade, close\r\n\r\n@",
        "PRI * HTTP/2.0\r\n\r\n@\r\n\r\n@",
        &huge,
    ] {
        let mut client = http::connect(url);
        // It may be turned away before its end.
        let _ = client.write_all(canaries.fill(request).as_bytes());
        let _ = client.shutdown(Shutdown::Write);
        // The end may be a reset, where not all was read.
        let _ = client.read_to_end(&mut Vec::new());
    }
    // Promised, and not brought.
    let head = format!("POST /v1/messages?@ HTTP/1.1\r\n{HEADERS}Content-Length: 9000\r\n\r\n");
    let mut client = http::connect(url);
    let cut = canaries.fill(&format!("{head}{{\"model\":\"@\",\"messages\":[\"@"));
    client.write_all(cut.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
}
