"""Generated sequences of HTTP/2 frames: conversations as they may be, then with frames taken out, doubled, swapped and put in (hypothesis,
hyperframe, hpack). hyper-h2 reads the same frames and judges: the recorder forwards no request that it calls malformed, answers or ends
every connection, and serves another one meanwhile."""

import collections
import contextlib
import itertools
import os
import re
import traceback

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hpack
import hypothesis
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import strategies as st

from recorder import Recorder, holds, report
from upstreams import Upstream

SEQUENCES = int(os.environ.get("REENACT_SEQUENCES", "1500"))
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LAST_PING = b"the last"
STREAMS = st.sampled_from([1, 3, 5, 7])
ANY_STREAM = st.sampled_from([0, 1, 2, 3, 5, 7, 9, 2**31 - 1])
# Paths are the requests' names, and each is new.
names = itertools.count()
EXTRA_FIELDS = [
    ("x-a", "1"), ("x-a", "1"), ("te", "trailers"), ("cookie", "a=b"), ("content-length", "4"), ("content-length", "0"), ("content-length", "+4"),
    ("X-Upper", "1"), ("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip"), (":path", "/twice"), (":late", "1"),
    ("x\r\ny", "1"), ("x", "1\r\ny: 2"), ("x", "\0"), ("", "1"), ("host", "other"), ("upgrade", "h2c"), ("expect", "100-continue"),
]


def flagged(frame, *flags):
    for flag in flags:
        frame.flags.add(flag)
    return frame


def block(fields):
    return hpack.Encoder().encode(fields, huffman=False)


@st.composite
def head(draw, stream):
    fields = [(":method", draw(st.sampled_from(["GET", "POST", "POST"]))), (":scheme", "http"), (":authority", "a"), (":path", f"/{next(names)}")]
    if draw(st.integers(0, 5)) == 0:
        fields += draw(st.lists(st.sampled_from(EXTRA_FIELDS), min_size=1, max_size=2))
    if draw(st.integers(0, 15)) == 0:
        # Not :authority: hyper-h2 cannot do without, RFC 9113 (8.3.1) can, and the upstream's name takes its place.
        fields.pop(draw(st.sampled_from([0, 1, 3])))
    return fields


@st.composite
def conversation(draw, stream):
    """One request's frames, as they may be but for some of its fields."""
    bodies = draw(st.lists(st.binary(max_size=30), max_size=3))
    trailers = draw(st.integers(0, 4)) == 0
    ended = not bodies and not trailers
    encoded = block(draw(head(stream)))
    pieces = draw(st.integers(1, 3))
    size = -(-len(encoded) // pieces)
    parts = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    frames = [flagged(HeadersFrame(stream, parts[0]), *(["END_STREAM"] if ended else []))]
    frames += [ContinuationFrame(stream, part) for part in parts[1:]]
    flagged(frames[-1], "END_HEADERS")
    for at, body in enumerate(bodies):
        frame = DataFrame(stream, body)
        if draw(st.integers(0, 5)) == 0:
            frame.pad_length = draw(st.integers(1, 9))
            flagged(frame, "PADDED")
        frames.append(flagged(frame, *(["END_STREAM"] if at == len(bodies) - 1 and not trailers else [])))
    if trailers:
        fields = [("x-sum", "1")] if draw(st.integers(0, 3)) else [draw(st.sampled_from(EXTRA_FIELDS))]
        frames.append(flagged(HeadersFrame(stream, block(fields)), "END_HEADERS", "END_STREAM"))
    return [frame.serialize() for frame in frames]


def raw(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


@st.composite
def odd_frame(draw):
    """A frame that has its form but perhaps no business where it stands, or no form."""
    stream = draw(ANY_STREAM)
    ends = draw(st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS]))
    number = draw(st.sampled_from([0, 1, 2, 9, 16384, 65535, 70000, 2**31 - 1, 2**32 - 1])).to_bytes(4, "big")
    return draw(
        st.sampled_from(
            [
                raw(HeadersFrame.type, ends, stream, block(draw(head(stream)))),
                raw(DataFrame.type, ends & END_STREAM, stream, b"odd data"),
                raw(ContinuationFrame.type, ends & END_HEADERS, stream, block([("x-b", "2")])),
                raw(RstStreamFrame.type, 0, stream, number),
                raw(PriorityFrame.type, 0, stream, number + b"\3"),
                raw(SettingsFrame.type, 0, 0, bytes([0, draw(st.integers(1, 9))]) + number),
                raw(SettingsFrame.type, ACK, 0, b""),
                raw(PingFrame.type, draw(st.sampled_from([0, ACK])), 0, b"12345678"),
                raw(WindowUpdateFrame.type, 0, stream, number),
                raw(GoAwayFrame.type, 0, 0, bytes(4) + number),
                raw(PushPromiseFrame.type, END_HEADERS, stream, b"\0\0\0\2" + block([("x", "1")])),
                raw(draw(st.integers(0, 15)), draw(st.integers(0, 255)), stream, draw(st.binary(max_size=24))),
            ]
        )
    )


@st.composite
def sequences(draw):
    """The frames of one connection, behind its settings."""
    talks = [draw(conversation(stream)) for stream in (1, 3, 5, 7)[: draw(st.integers(1, 4))]]
    frames = []
    # Header blocks may not be interrupted, and streams begin in order; what is wrong comes below.
    while any(talks):
        talk = next((talk for talk in talks if talk and draw(st.booleans())), next(talk for talk in talks if talk))
        frames.append(talk.pop(0))
        while talk and talk[0][3] == ContinuationFrame.type:
            frames.append(talk.pop(0))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frames) - 1)) if frames else 0
        change = draw(st.integers(0, 4))
        if change == 0 and frames:
            frames.pop(at)
        elif change == 1 and frames:
            frames.insert(at, frames[at])
        elif change == 2 and frames:
            frames.insert(draw(st.integers(0, len(frames) - 1)), frames.pop(at))
        elif change == 3 and frames and len(frames[at]) > 9:
            place = draw(st.integers(3, len(frames[at]) - 1))
            frames[at] = frames[at][:place] + bytes([frames[at][place] ^ (1 << draw(st.integers(0, 7)))]) + frames[at][place + 1 :]
        else:
            frames.insert(at, draw(odd_frame()))
    return frames


def judged(frames, over_length):
    """The requests that hyper-h2 finds whole and well-formed in these frames, as (stream, (method, path, body)), and why it hung up, if it did.

    It hangs up for everything. RFC 9113 (8.1.1) wants a malformed message to cost its stream and no other: such a stream's frames are
    taken out, and the rest is judged again. A request that is good up to its last frame of trailers may go on without them. Nor does
    the client's GOAWAY end its own requests (6.8). `over_length` gets those with more data than their length, up to that."""
    dropped, reset, without_trailers = set(), set(), []
    frames = [frame for frame in frames if frame[3] != GoAwayFrame.type]
    # A server ignores ALTSVC (RFC 7838, 4), whatever is in it, as any kind that it does not know.
    frames = [frame[:3] + b"\xff" + frame[4:] if frame[3] == AltSvcFrame.type else frame for frame in frames]
    while True:
        whole, frame, error = read([frame for frame in frames if stream_of(frame) not in dropped], without_trailers, reset, over_length)
        if error is None or stream_of(frame) == 0 or not costs_one_stream(error):
            return whole + without_trailers, error or bool(dropped or reset)
        dropped.add(stream_of(frame))


def stream_of(frame):
    return int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def costs_one_stream(error):
    checks_fields = any(where.filename.endswith("h2/utilities.py") for where in traceback.extract_tb(error.__traceback__))
    # A stream out of order should cost the connection. Where it is malformed besides, the recorder's h2 resets the stream alone; it is not
    # forwarded either way. What is sent on a closed stream costs that (5.1), also where it was closed by a later one's opening.
    kinds = (h2.exceptions.InvalidBodyLengthError, h2.exceptions.StreamIDTooLowError, h2.exceptions.NoSuchStreamError)
    return checks_fields or isinstance(error, kinds) or any(mark in str(error) for mark in OF_ONE_STREAM)


# RFC 9113: 8.1 for trailers, 6.9 and 6.9.1 for windows; RFC 7540: 5.3.1 for priorities. And at the edge of a continuation, the recorder's
# h2 takes a change of the table's size that hpack does not. Data comes first of all where the stream before it was taken out.
OF_ONE_STREAM = [
    "RECV_DATA in state ConnectionState.IDLE",
    "Invalid frame during header block",
    "Table size update not at the start",
    "Invalid content-length",
    "Trailers must have END_STREAM",
    "WINDOW_UPDATE",
    "Flow control window",
    "may not depend on itself",
]


def read(frames, without_trailers, reset, over_length):
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    peer.initiate_connection()
    peer.receive_data(PREFACE + SettingsFrame(0).serialize())
    heads, bodies, whole = {}, collections.defaultdict(bytes), []
    block_frame = None
    for frame in frames:
        try:
            events = peer.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            stream, last = stream_of(frame), frame[3] == HeadersFrame.type and frame[4] & (END_STREAM | END_HEADERS) == END_STREAM | END_HEADERS
            if stream in heads and last:
                without_trailers.append((stream, request(heads[stream], bodies[stream])))
            if isinstance(error, h2.exceptions.InvalidBodyLengthError):
                came = bodies[stream] + (frame[10 : len(frame) - frame[9]] if frame[4] & PADDED else frame[9:])
                if len(came) > (length := int(heads[stream][b"content-length"])):
                    over_length.append(request(heads[stream], came[:length]))
            # What interrupts a header block is wrong about the block. The recorder's h2 lets go of one at its first malformed field.
            return whole, block_frame if str(error).startswith("Invalid frame during header block") else frame, error
        if frame[3] == HeadersFrame.type:
            block_frame = frame
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                heads[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamReset):
                reset.add(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                named = heads[event.stream_id]
                whole.append((event.stream_id, request(named, bodies[event.stream_id])))
    return whole, None, None


def request(head, body):
    # To the recorder's http, a fragment is no part of a path (docs/http.md).
    return head[b":method"], head[b":path"].split(b"#")[0], body


def send(recorder, frames, good):
    """Sends them and a ping, and waits until that and each good request are answered, or the connection has ended."""
    given_up = {stream_of(frame) for frame in frames if frame[3] == RstStreamFrame.type}
    open_ = {0} | {stream for stream, _ in good if stream not in given_up}
    ahead = b""
    with recorder.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(PREFACE + SettingsFrame(0).serialize() + b"".join(frames) + PingFrame(0, LAST_PING).serialize())
        while piece := connection.recv(65536):
            ahead += piece
            while len(ahead) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(ahead[:9]))
                if len(ahead) < 9 + length:
                    break
                frame.parse_body(memoryview(ahead[9 : 9 + length]))
                ahead = ahead[9 + length :]
                if isinstance(frame, (HeadersFrame, RstStreamFrame)):
                    open_.discard(frame.stream_id)
                if isinstance(frame, PingFrame) and "ACK" in frame.flags and frame.opaque_data == LAST_PING:
                    open_.discard(0)
                if not open_:
                    return "answered"
    return "ended"


class Neighbour:
    """A client with a connection of its own that asks again and again."""

    def __init__(self, recorder):
        self.connection = recorder.connect()
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.peer.initiate_connection()

    def ask(self):
        stream = self.peer.get_next_available_stream_id()
        self.peer.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/neighbour")], end_stream=True)
        self.connection.sendall(self.peer.data_to_send())
        status = None
        while piece := self.connection.recv(65536):
            for event in self.peer.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.StreamEnded):
                    self.connection.sendall(self.peer.data_to_send())
                    return status
            self.connection.sendall(self.peer.data_to_send())
        return "closed"


def run(version):
    upstream = Upstream(version)
    tried, judgements, over_length = [], [], []
    outcomes, faultless = collections.Counter(), collections.Counter()
    with Recorder(upstream.url, "--upstream-protocol", f"http{version}") as recorder, contextlib.ExitStack() as stack:
        neighbour = Neighbour(recorder)
        stack.callback(neighbour.connection.close)

        @hypothesis.settings(
            max_examples=SEQUENCES, database=None, deadline=None, derandomize=True, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(sequences())
        def sequence(frames):
            tried.append(frames)
            judgements.append(judged(frames, over_length))
            try:
                outcome = send(recorder, frames, judgements[-1][0])
            except TimeoutError:
                raise SystemExit(f"the recorder neither answers nor ends: {frames}") from None
            outcomes[outcome] += 1
            whole, error = judgements[-1]
            if not error and outcome == "answered":
                faultless.update(good for _, good in whole)
            status = neighbour.ask()
            holds(f"a neighbour is served ({status}) after {frames}", status == "200")

        sequence()
    # The recorder has ended, so whatever it forwards has arrived.
    # A request that its client broke off is broken off there, too.
    misread = [error for error in upstream.broken if "without sending complete message body" not in error]
    holds(f"the upstream understood all: {misread}", not misread)
    good = collections.Counter(one for whole, _ in judgements for _, one in whole)
    forwarded = collections.Counter()
    for fields, body in upstream.whole:
        fields = dict(fields)
        # A chunked body's trailers are written behind it.
        body = re.sub(rb"\[\(b'.*\)\]$", b"", body) if version == 1 else body
        forwarded[fields[b":method"], fields[b":path"], body] += 1
    forwarded = collections.Counter({one: count for one, count in forwarded.items() if one[1] != b"/neighbour"})
    # An HTTP/1 request is whole with the last byte of its length, and gone before what follows shows that the stream is malformed.
    early = collections.Counter(over_length) if version == 1 else collections.Counter()
    if wrong := forwarded - good - early:
        causes = [frames for frames in tried for one in wrong if one[1] in b"".join(frame[9:] for frame in frames)]
        raise SystemExit(f"forwarded, though malformed for hyper-h2: {wrong}; in {[(frames, judged(frames, [])) for frames in causes[:3]]}")
    hung_up = sum(bool(error) for _, error in judgements)
    # The recorder may refuse a little more than hyper-h2 does.
    refused = faultless - forwarded
    holds(f"requests of faultless connections are forwarded: not {refused}", refused.total() * 50 < faultless.total())
    report(
        f"hypothesis {hypothesis.__version__}, HTTP/{version} upstream: {len(tried)} sequences ({hung_up} malformed for hyper-h2), {outcomes['answered']} answered, "
        f"{outcomes['ended']} ended; forwarded were {(faultless & forwarded).total()} of {faultless.total()} requests of faultless connections, "
        f"{(forwarded - faultless).total()} of {(good - faultless).total()} good ones on others, and no malformed one"
    )


for version in (2, 1):
    run(version)
