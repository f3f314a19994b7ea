"""h11 as client and as upstream: what each parsed, direct and through the recorder."""

import socket

import h11

from recorder import Recorder, report, same
from upstreams import Upstream

upstream = Upstream(1)


def ask(place, request, body, trailers=()):
    peer = h11.Connection(h11.CLIENT)
    with socket.create_connection(place, 20) as connection:
        parts = [request, *(h11.Data(data=piece) for piece in body), h11.EndOfMessage(headers=list(trailers))]
        for part in parts:
            connection.sendall(peer.send(part) or b"")
        seen, data = [], b""
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(connection.recv(65536))
            elif isinstance(event, h11.Data):
                data += bytes(event.data)
            elif isinstance(event, h11.Response):
                seen += [event.status_code, event.reason, event.headers.raw_items()]
            elif isinstance(event, h11.EndOfMessage):
                return [*seen, data], upstream.whole.pop()
            else:
                raise SystemExit(f"unexpected: {event}")


def requests():
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PATCH", "QUERY"):
        for target in ("/", "/a//b/../c?x=%41&y", "/%7e;p=1?", "/?" + "q" * 20_000):
            for framing in ("none", "length", "chunked"):
                body = [] if framing == "none" else [b"one", b"", b"\0" * 70_000]
                fields = [("Host", "model.test"), ("X-A", "1"), ("x-a", "2"), ("Empty", ""), ("cookie", "a=b")]
                if framing == "length":
                    fields.append(("Content-Length", str(sum(map(len, body)))))
                if framing == "chunked":
                    fields.append(("Transfer-Encoding", "chunked"))
                trailers = [("x-sum", "7")] if framing == "chunked" else []
                yield h11.Request(method=method, target=target, headers=fields), body, trailers


count = 0
with Recorder(upstream.url) as recorder:
    for request, body, trailers in requests():
        direct = ask(("127.0.0.1", upstream.port), request, body, trailers)
        same(f"{request.method} {request.target[:40]}", direct, ask(recorder.place, request, body, trailers))
        count += 1
report(f"h11 {h11.__version__}: {count} requests, 0 differences in what client and upstream parsed")
