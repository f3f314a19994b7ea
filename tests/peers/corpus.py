"""Raw bytes, malformed and odd but valid, through the recorder into h11, httptools, nginx, haproxy and h2o: either the recorder refused
them and nothing arrived, or what each parser understands is the same, and is what was meant."""

import re

import httptools

from recorder import Recorder, files, free_port, holds, listen, process, report, same
from upstreams import Upstream

POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
FIELDS = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Content-Length: 4\r\nContent-Length: 5\r\n", b"Content-Length: 4\r\nContent-Length: 4\r\n", b"Content-Length: 4, 4\r\n",
    b"Content-Length: +4\r\n", b"Content-Length: -4\r\n", b"Content-Length: 0x4\r\n", b"Content-Length: 4 4\r\n",
    b"Content-Length:\r\n", b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    b'Transfer-Encoding: "chunked"\r\n', b"Transfer-Encoding: chunked;q=0\r\n", b"Transfer-Encoding:\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer Encoding: chunked\r\n",
    b"X\0: chunked\r\n", b": chunked\r\n", b"no colon\r\n", b"X: a\r\n Transfer-Encoding: chunked\r\n", b"X: a\r\n\tb\r\n",
    b"X: a\0b\r\n", b"X: a\rb\r\n", b"X: a\nTransfer-Encoding: chunked\r\n", b"\n", b"Host: b\r\n",
]
LINES = [
    b"GET  / HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1", b"GET\t/\tHTTP/1.1", b"GET /\0 HTTP/1.1",
    b"GET /#x HTTP/1.1", b"GET x HTTP/1.1", b"GET ftp://a/ HTTP/1.1", b"G(T / HTTP/1.1", b"GET / HTTP/1.1x", b"GET / HTTP/1.2",
    b"GET / HTTP/2.0", b"GET http://u@a/ HTTP/1.1", b"GET /", b"GET / http/1.1", b"GET / HTTP/01.1", b"CONNECT a:1 HTTP/1.1",
]
CHUNKS = [
    b"0x4\r\nbody\r\n0\r\n\r\n", b" 4\r\nbody\r\n0\r\n\r\n", b"4 \r\nbody\r\n0\r\n\r\n", b"+4\r\nbody\r\n0\r\n\r\n", b"4\nbody\r\n0\r\n\r\n",
    b"4\r\nbody0\r\n\r\n", b"4;x\ny\r\nbody\r\n0\r\n\r\n", b"4;x\0\r\nbody\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"\r\nbody\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nHost: b\r\n\r\n", b"0\r\nX : y\r\n\r\n",
    b"0\r\nX: y\n\r\n", b"4\r\nbody\r\n0\n\n", b"-1\r\n\r\n", b"4_\r\nbody\r\n0\r\n\r\n",
]
MALFORMED = [POST + one + b"\r\n0\r\n\r\n" for one in FIELDS]
MALFORMED += [one + b"\r\nHost: a\r\n\r\n" for one in LINES] + [CHUNKED + one for one in CHUNKS]
MALFORMED += [
    b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nX: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]
# The bytes, and what they mean: the method, the target, the body.
VALID = [
    (b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET", "/", b""),
    (b"GET /?a=%00&b=%0d%0a HTTP/1.1\r\nhOST: a:80  \r\n\r\n", "GET", "/?a=%00&b=%0d%0a", b""),
    (b"GET /a//b/./c%2f..%2e;x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "/a//b/./c%2f..%2e;x", b""),
    (b"GET http://real:8/x HTTP/1.1\r\nHost: claimed\r\n\r\n", "GET", "/x", b""),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0004\r\n\r\nbody", "POST", "/", b"body"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nCONTENT-length:  4 \r\n\r\n\0\r\n\n", "POST", "/", b"\0\r\n\n"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChUnKeD\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "POST", "/", b"body"),
    (CHUNKED + b"0004;ext=\"a b\";c\r\nbody\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\n", "POST", "/v1/completions", b"body0123456789"),
    (CHUNKED + b"1d\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n", "POST", "/v1/completions", b"GET /evil HTTP/1.1\r\nHost: a\r\n"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 4\r\n\r\nbody", "POST", "/", b"body"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "POST", "/", b"x"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 9\r\nX-Content-Length: 8\r\nContent-Length: 1\r\n\r\nx", "POST", "/", b"x"),
    (b"GET / HTTP/1.0\r\n\r\n", "GET", "/", b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\nY:\r\nZ: ,,\r\n\r\n", "GET", "/", b""),
    (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "PUT", "/", b""),
]
# Valid, but h2o 2.2 refuses a length with a blank behind it, directly as well as through the recorder, which passes the line as it came.
REFUSED_BY_H2O = VALID[5][0]
CANARY = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

arrived = []


class Parsed:
    """One request as httptools reads it."""

    def __init__(self):
        self.body, self.target, self.over = b"", b"", False

    def on_url(self, url):
        self.target += url

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.over = True


def with_httptools(connection):
    while True:
        parsed = Parsed()
        parser = httptools.HttpRequestParser(parsed)
        while not parsed.over:
            piece = connection.recv(65536)
            if not piece:
                return
            parser.feed_data(piece)
        arrived.append((parser.get_method().decode(), parsed.target.decode(), parsed.body))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen")


def through(recorder, bytes_):
    """The statuses that come back for these bytes and a request behind them."""
    with recorder.connect() as connection:
        answers = b""
        try:
            connection.sendall(bytes_ + CANARY)
            while piece := connection.recv(65536):
                answers += piece
        except TimeoutError:
            raise SystemExit(f"{bytes_!r} was left without an answer; before it came {answers!r}") from None
        except ConnectionError:
            pass
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+)", answers)]


h11_upstream = Upstream(1)


def understood(upstream):
    """What has reached it since the last time."""
    if upstream is None:
        found = list(arrived)
        arrived.clear()
        return found
    # A canary's answer is back, so all before it has been read.
    found = [(dict(head)[b":method"].decode(), dict(head)[b":path"].decode(), body) for head, body in upstream.whole]
    upstream.whole.clear()
    # A chunked body's trailers are written behind it.
    return [(method, target, re.sub(rb"\[\(b'.*\)\]$", b"", body)) for method, target, body in found]


directory, root = files()
behind_nginx, behind_haproxy, behind_h2o = Upstream(1), Upstream(1), Upstream(1)
nginx_port, haproxy_port, h2o_port = free_port(), free_port(), free_port()
(root / "nginx.conf").write_text(
    f"""daemon off; pid {root}/pid; user root; events {{}} http {{ access_log off; client_body_temp_path {root}/b;
    proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{ listen 127.0.0.1:{nginx_port}; location / {{ proxy_pass {behind_nginx.url}; }} }} }}"""
)
(root / "haproxy.cfg").write_text(
    f"""defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend f
  bind 127.0.0.1:{haproxy_port}
  default_backend b
backend b
  server s 127.0.0.1:{behind_haproxy.port}
"""
)
(root / "h2o.conf").write_text(
    f"""{{listen: {{host: 127.0.0.1, port: {h2o_port}}}, user: root, num-threads: 1, error-log: {root}/h2o.log,
    hosts: {{default: {{paths: {{/: {{proxy.reverse.url: "{behind_h2o.url}/", proxy.preserve-host: ON}}}}}}}}}}"""
)
parsers = {
    "httptools": (f"http://127.0.0.1:{listen(with_httptools)}", None),
    "h11": (h11_upstream.url, h11_upstream),
    "nginx": (f"http://127.0.0.1:{nginx_port}", behind_nginx),
    "haproxy": (f"http://127.0.0.1:{haproxy_port}", behind_haproxy),
    "h2o": (f"http://127.0.0.1:{h2o_port}", behind_h2o),
}
with (
    process("nginx", "-c", str(root / "nginx.conf"), "-e", str(root / "log"), port=nginx_port),
    process("haproxy", "-db", "-f", str(root / "haproxy.cfg"), port=haproxy_port),
    process("h2o", "-c", str(root / "h2o.conf"), port=h2o_port),
):
    for name, (url, upstream) in parsers.items():
        with Recorder(url) as recorder:
            for bytes_ in MALFORMED:
                statuses = through(recorder, bytes_)
                same(f"{bytes_!r} before {name}: the number of answers", 1, len(statuses))
                holds(f"{bytes_!r} before {name} is refused: {statuses}", statuses[0] in (400, 501, 505))
                same(f"{bytes_!r}: what {name} parsed", [], understood(upstream))
            for bytes_, *meant in VALID:
                if name == "h2o" and bytes_ == REFUSED_BY_H2O:
                    # The next request may come to h2o on another connection, and is then served.
                    statuses, parsed = through(recorder, bytes_), understood(upstream)
                    holds(f"{bytes_!r} before h2o: {statuses}, {parsed}", statuses[0] == 400 and len(statuses) == len(parsed) + 1)
                    same(f"{bytes_!r}: what h2o parsed", [("GET", "/smuggled", b"")] * len(parsed), parsed)
                    continue
                old = b"HTTP/1.0" in bytes_
                same(f"{bytes_!r} before {name}", [200] if old else [200, 200], through(recorder, bytes_))
                expected = [tuple(meant)] + ([] if old else [("GET", "/smuggled", b"")])
                same(f"{bytes_!r}: what {name} parsed", expected, understood(upstream))
# An HTTP/1 client of an HTTP/2 upstream is read by the same rules.
two = Upstream(2)
with Recorder(two.url, "--upstream-protocol", "http2") as recorder:
    for bytes_ in MALFORMED:
        statuses = through(recorder, bytes_)
        same(f"{bytes_!r} before h2: the number of answers", 1, len(statuses))
        holds(f"{bytes_!r} before h2 is refused: {statuses}", statuses[0] in (400, 501, 505))
        same(f"{bytes_!r}: what reached h2", [], two.whole)
    for bytes_, *_ in VALID:
        same(f"{bytes_!r} before h2", [200] if b"HTTP/1.0" in bytes_ else [200, 200], through(recorder, bytes_))
report(f"{', '.join(parsers)}: {len(MALFORMED)} malformed refused before each, {len(VALID)} odd ones parsed alike by all")
