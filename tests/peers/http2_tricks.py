"""HTTP/2 as it must not be, frame by frame (hyperframe, hpack), and as it may be (h2): what is malformed is refused on its
stream or its connection, reaches no upstream whole, and leaves the recorder serving."""

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from frames import frames_from
from recorder import Recorder, holds, report
from upstreams import Upstream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


def block(fields):
    return hpack.Encoder().encode(fields, huffman=False)


def headers(fields, stream=1, flags=("END_HEADERS", "END_STREAM")):
    frame = HeadersFrame(stream, block(fields))
    for flag in flags:
        frame.flags.add(flag)
    return frame.serialize()


def data(bytes_, stream=1, end=True):
    frame = DataFrame(stream, bytes_)
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def continuation_flood(last):
    first = HeadersFrame(1, block(HEAD))
    first.flags.add("END_STREAM")
    field = block([("x-pad", "y" * 8000)])
    rest = b"".join(ContinuationFrame(1, field).serialize() for _ in range(400))
    end = ContinuationFrame(1, b"")
    end.flags.add("END_HEADERS")
    return first.serialize() + rest + (end.serialize() if last else b"")


def without(name):
    return [field for field in HEAD if field[0] != name]


def changed(name, value):
    return [(field, value if field == name else old) for field, old in HEAD]


OPEN = ("END_HEADERS",)
# Each is one connection's frames after the preface and the settings.
MALFORMED = {
    "an upper-case name": headers(HEAD + [("X-Upper", "1")]),
    "a name with a blank": headers(HEAD + [("x y", "1")]),
    "a name with a colon": headers(HEAD + [("x:y", "1")]),
    "an empty name": headers(HEAD + [("", "1")]),
    "a name with a line end": headers(HEAD + [("x\r\ny", "1")]),
    "a value with a line end": headers(HEAD + [("x", "1\r\nhost: b")]),
    "a value with a bare line feed": headers(HEAD + [("x", "1\nhost: b")]),
    "a value with NUL": headers(HEAD + [("x", "1\0")]),
    "connection": headers(HEAD + [("connection", "close")]),
    "keep-alive": headers(HEAD + [("keep-alive", "1")]),
    "proxy-connection": headers(HEAD + [("proxy-connection", "close")]),
    "transfer-encoding": headers(HEAD + [("transfer-encoding", "chunked")], flags=OPEN) + data(b"0\r\n\r\n"),
    "upgrade": headers(HEAD + [("upgrade", "websocket")]),
    "te other than trailers": headers(HEAD + [("te", "gzip")]),
    "no :method": headers(without(":method")),
    "no :path": headers(without(":path")),
    "no :scheme": headers(without(":scheme")),
    "an empty :path": headers(changed(":path", "")),
    "a :path with a blank": headers(changed(":path", "/ HTTP/1.1\r\nx: y")),
    "a :path that is none": headers(changed(":path", "x")),
    "a :method with a blank": headers(changed(":method", "GET / HTTP/1.1")),
    ":method twice": headers([(":method", "GET")] + HEAD),
    ":path twice": headers(HEAD + [(":path", "/b")]),
    ":authority twice": headers(HEAD + [(":authority", "b")]),
    "an :authority with a user": headers(changed(":authority", "u@a")),
    "an :authority with a line end": headers(changed(":authority", "a\r\nx: y")),
    "a host that is not :authority": headers(HEAD + [("host", "b")]),
    "no host": headers(without(":authority")),
    "host twice": headers(without(":authority") + [("host", "a"), ("host", "b")]),
    "an unknown pseudo-header": headers(HEAD + [(":unknown", "1")]),
    "an answer's pseudo-header": headers(HEAD + [(":status", "200")]),
    "a late pseudo-header": headers(HEAD[:-1] + [("x", "1"), HEAD[-1]]),
    "framing in trailers": headers(HEAD, flags=OPEN) + headers([("connection", "close")]),
    "trailers that end nothing": headers(HEAD, flags=OPEN) + headers([("x", "1")], flags=OPEN) + data(b"x"),
    "more data than content-length": headers(HEAD + [("content-length", "2")], flags=OPEN) + data(b"four"),
    "less data than content-length": headers(HEAD + [("content-length", "9")], flags=OPEN) + data(b"four"),
    "no data for content-length": headers(HEAD + [("content-length", "9")]),
    "content-length twice": headers(HEAD + [("content-length", "4"), ("content-length", "5")], flags=OPEN) + data(b"four"),
    "a content-length with a sign": headers(HEAD + [("content-length", "+4")], flags=OPEN) + data(b"four"),
    "CONNECT": headers([(":method", "CONNECT"), (":authority", "b:22")], flags=OPEN) + data(b"x", end=False),
    "CONNECT for a WebSocket": headers([(":method", "CONNECT"), (":protocol", "websocket")] + HEAD[1:], flags=OPEN),
    "a header list of 3 MB that ends": continuation_flood(last=True),
    "a header list of 3 MB that does not end": continuation_flood(last=False),
    "data before headers": data(b"x"),
    "data on stream 0": b"\0\0\1\0\1\0\0\0\0x",
    "an even stream": headers(HEAD, stream=2),
    "a stream below the last": headers(HEAD, stream=5, flags=OPEN) + headers(HEAD, stream=3),
    "a window that overflows": WindowUpdateFrame(0, 2**31 - 1).serialize() + WindowUpdateFrame(0, 2**31 - 1).serialize(),
    "a window of nothing": b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",
    "a frame over the limit": b"\x10\0\1\0\1\0\0\0\1" + b"x" * 70000,
    "settings of a wrong length": b"\0\0\5\4\0\0\0\0\0abcde",
    "a ping of a wrong length": b"\0\0\7\6\0\0\0\0\0abcdefg",
    "a continuation of nothing": ContinuationFrame(1, block(HEAD)).serialize(),
    "something inside a header block": HeadersFrame(1, block(HEAD)).serialize() + PingFrame(0, b"x" * 8).serialize(),
    "padding longer than its frame": b"\0\0\2\1\x0d\0\0\0\1\xff\x82",
    "a broken header block": b"\0\0\4\1\5\0\0\0\1\xff\xff\xff\xff",
    "a stream that depends on itself": PriorityFrame(1, depends_on=1).serialize() + b"\0\0\1\0\1\0\0\0\0x",
    "a push": b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82",
}


LATE = headers(HEAD, flags=OPEN) + headers([(":path", "/late")])


def refused(recorder, bytes_):
    """Sends it and gives what the recorder said: the first refusal of a stream, of the connection, or an answer's status."""
    with recorder.connect() as connection:
        connection.settimeout(10)
        decoder = hpack.Decoder()
        try:
            connection.sendall(PREFACE + SettingsFrame(0).serialize() + bytes_)
            for frame in frames_from(connection):
                if isinstance(frame, HeadersFrame):
                    return "status " + dict(decoder.decode(frame.data))[":status"]
                if type(frame).__name__ in ("RstStreamFrame", "GoAwayFrame"):
                    return f"{type(frame).__name__[:-5]} {frame.error_code}"
        except TimeoutError:
            return "nothing in 10 s"
        except ConnectionError:
            pass
        return "closed"


def ask(recorder, head, body=b"", trailers=None):
    """A good request with h2 as the client: the answer's headers, data and whether it ended in order."""
    with recorder.connect() as connection:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        peer.initiate_connection()
        peer.send_headers(1, head, end_stream=not body and not trailers)
        if body:
            peer.send_data(1, body, end_stream=not trailers)
        if trailers:
            peer.send_headers(1, trailers, end_stream=True)
        connection.sendall(peer.data_to_send())
        answer, found = None, b""
        while piece := connection.recv(65536):
            for event in peer.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    answer = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    found += event.data
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise SystemExit(f"a good request was refused: {event}")
                elif isinstance(event, h2.events.StreamEnded):
                    return answer[":status"], found
            connection.sendall(peer.data_to_send())
    raise SystemExit("a good request was left without an answer")


def flood(recorder, frames):
    """Sends it all, unless the recorder hangs up before."""
    with recorder.connect() as connection:
        try:
            connection.sendall(PREFACE + SettingsFrame(0).serialize() + frames)
            connection.settimeout(2)
            while connection.recv(65536):
                pass
        except (TimeoutError, ConnectionError):
            pass


def rapid_resets():
    frames = b""
    for stream in range(1, 20001, 2):
        frames += headers(HEAD, stream, OPEN) + RstStreamFrame(stream, 8).serialize()
    return frames


failed = []
for version in (2, 1):
    upstream = Upstream(version)
    with Recorder(upstream.url, "--upstream-protocol", f"http{version}") as recorder:
        said = {}
        for name, frames in MALFORMED.items():
            before = len(upstream.whole)
            said[name] = refused(recorder, frames)
            if said[name].startswith(("status 2", "nothing")) or len(upstream.whole) != before:
                forwarded = upstream.whole[before:]
                failed.append(f"HTTP/{version} upstream: {name}: {said[name]}; reached the upstream: {forwarded}")
            if ask(recorder, HEAD) != ("200", b"seen"):
                failed.append(f"HTTP/{version} upstream: no good answer after {name}")
        for name, frames in {
            "10,000 rapid resets": rapid_resets(),
            "20,000 pings": PingFrame(0, b"x" * 8).serialize() * 20000,
            "20,000 settings": SettingsFrame(0).serialize() * 20000,
            "20,000 empty data frames": headers(HEAD, 1, OPEN) + data(b"", end=False) * 20000,
        }.items():
            flood(recorder, frames)
            holds(f"a good answer after {name}", ask(recorder, HEAD) == ("200", b"seen"))
        before = len(upstream.whole)
        holds("a body passes", ask(recorder, HEAD + [("content-length", "5")], b"hello") == ("200", b"seen"))
        holds("trailers pass", ask(recorder, HEAD, b"body", [("x-sum", "1")]) == ("200", b"seen"))
        holds("cookies pass", ask(recorder, HEAD + [("cookie", "a=1"), ("cookie", "b=2")]) == ("200", b"seen"))
        # hyper leaves such a trailer out before we see it; the request itself is a good one.
        holds("a pseudo-header in trailers is not refused", refused(recorder, LATE).startswith("status 200"))
        holds("nor is it forwarded", b"late" not in repr(upstream.whole.pop()).encode())
        holds("all three arrived", len(upstream.whole) == before + 3 and not upstream.broken)
        holds("bodies are whole", [body[:4] for _, body in upstream.whole[before:]] == [b"hell", b"body", b""])
    kinds = {}
    for answer in said.values():
        kinds[answer.split()[0]] = kinds.get(answer.split()[0], 0) + 1
    if not failed:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        report(f"h2, hyperframe, HTTP/{version} upstream: {len(MALFORMED)} malformed ({counts}), 4 floods: none forwarded")
if failed:
    raise SystemExit("\n".join(failed))
