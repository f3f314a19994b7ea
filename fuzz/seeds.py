"""Writes the seeds, a few hundred small files, into `corpus/TARGET/`: our own fixtures, and what the tests' tables hold. Run by `run`."""

import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
SMALL_BYTES = 16 << 10
# Cut by bytes; into pieces of 3 and 200; all at once.
PLANS = [b"\0", b"\2\3\xc8", b"\1\xff"]


def write(target, seeds):
    directory = HERE / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (directory / f"seed-{zlib.crc32(seed):08x}").write_bytes(seed)


def fixtures(pattern, limit=SMALL_BYTES):
    return [path.read_bytes()[:limit] for path in sorted(FIXTURES.glob(pattern))]


def heads(first_lines, fields):
    return [line + b"\r\n" + field + b"\r\n" for line in first_lines for field in fields]


REQUEST_LINES = [
    b"GET / HTTP/1.1", b"POST /v1/chat/completions?a=%00 HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1",
    b"GET http://real:8/x?y HTTP/1.1", b"HEAD https://[::1] HTTP/1.1",
]
REQUEST_FIELDS = [
    b"Host: a\r\n", b"", b"hOST:a:80\r\nContent-Length: 4\r\n", b"Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n",
    b"Host: a\r\nConnection: close, x, host\r\nx: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\n",
    b"Host: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\n",
    b"Host: a\r\nX-Forwarded-For: 1.2.3.4\r\nx-forwarded-proto: https\r\nForwarded: for=unknown\r\nX-Forwarded-Host: b\r\n",
    b"Host: a\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Connection: a\r\nX: \xff\xfe \t\r\n",
]
STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not found", b"HTTP/1.1 304", b"HTTP/1.1 103 \xfc", b"HTTP/1.1 101 Switching"]
STATUS_FIELDS = [
    b"", b"Content-Length: 5\r\nA: 1\r\na: 2\r\n", b"Transfer-Encoding: chunked\r\nTrailer: x\r\n",
    b"Connection: close, x\r\nx: 1\r\nKeep-Alive: 5\r\nContent-Type: text/event-stream\r\nServer: a\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Encoding: gzip\r\n",
]
CHUNKS = [
    b"0\r\n\r\n", b"5\r\nhello\r\nA;x=\"y\"\r\n, my world\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\nGET", b"0004;a\r\nbody\r\n000\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"ffffffffffffff\r\nx", b"0\r\nContent-Length: 3\r\n\r\n", b"1\r\n\n\r\n0\r\n X: 1\r\n\r\n",
]
V2 = b"\r\n\r\n\0\r\nQUIT\n"
PROXY = [
    b"PROXY UNKNOWN\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\nGET", b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n",
    V2 + b"\x20\0\0\0", V2 + b"\x21\x11\0\x0c" + bytes(range(12)) + b"GET", V2 + b"\x21\x21\0\x29" + bytes(36) + b"\4\0\2\7\7",
    V2 + b"\x21\x31\0\xd8" + bytes(216),
]
STREAMS = [
    b"\xef\xbb\xbf: hello\n\nevent: start\r\ndata: one\r\n\r\ndata:two\rdata: and\r\rid: 7\ndata\n\nevent: gone\n\ndata: caf\xc3\xa9 :x\n\ndata: un",
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}\n\n',
]
BODIES = [
    b'{"prompt":[[1,2],[3]],"echo":true,"logprobs":2,"n":2,"stop":["a"]}', b'{"prompt":"four","best_of":3,"temperature":0}',
    b'{"messages":[{"role":"user","content":[{"type":"text","text":"a\\u00e9"},{"type":"image_url","image_url":{"url":"data:image/gif;base64,R0lGODlhAgADAIAAAP"}}]}],'
    b'"tools":[{"type":"function"}],"stream":true,"stream_options":{"include_usage":true},"response_format":{"type":"json_schema","json_schema":{}}}',
    b'{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"tool_use","id":"i","name":"f","input":{"a":1}}]},'
    b'{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"ok"}]}]}],"system":"brief","max_tokens":7}',
    b'{"messages":[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"x"}]}',
]
def field(number, data):
    """One of protobuf's with a length, below 128."""
    return bytes([number << 3 | 2, len(data)]) + data


def framed(message):
    return b"\0" + struct.pack(">I", len(message)) + message


TENSOR = field(1, b"x") + field(2, b"INT32") + field(3, b"\2\3")
CALL = field(1, b"llama") + field(5, TENSOR + field(5, field(2, b"\1\2"))) + field(5, TENSOR) + field(7, b"raw bytes")
TENSORS = [
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2,3],"data":[1,2,3,4,5,6]},{"name":"y","datatype":"BYTES","shape":[],"data":["a"]}]}',
    b'{"id":"1","inputs":[{"name":"x","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"z"}]}12345678',
    framed(CALL), framed(CALL) * 2, framed(b""), framed(field(5, TENSOR + field(4, field(1, b"shared_memory_region")))), b"\1" + framed(CALL)[1:],
]
WORDS = [
    b"unix:/run/a.sock", b"a=http://host:8000/base/", b"https://[::1]", b"HTTP://A:1", b"ttft.p99<800ms",
    b"goodput.rate>=95%", b"vram.peak<76GiB", b"vram.growth<1MiB/s", b"ttft.p99<+10%", b"quality.pass_rate>-1%", b"errors.rate<0.1%",
]
MOONCAKE = [
    b'{"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [77, 9]}\r\n\n{"hash_ids": [], "x": {"a": [1]}, "timestamp": 4.5, "output_length": 0, "input_length": 1}',
    *fixtures("traces/mooncake*.jsonl", 2000),
]
ROWS = {
    1: [b'{"session_id": "a", "delay": 1.5, "text_input": "x", "output_length": 4}\n{"session_id": "a", "message_mode": "delta", "messages": [{"role": "user", "content": "x"}]}\n{"payload": {"prompt": "x"}}'],
    2: [b'{"chat_id": 2, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 33, "output_length": 2, "hash_ids": [5, 6, 7]}\n{"chat_id": 3, "parent_chat_id": 2, "timestamp": 62, "input_length": 1, "output_length": 2}'],
    4: [b'Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens\n5,17,1.25,"GPT,4",472,18\n5.5,,2,x,3,0\n', *fixtures("traces/burstgpt*.csv", 500)],
    5: [b'{"block_size": 64, "hash_id_scope": "local",\n"requests": [{"t": 0, "type": "s", "in": 130, "out": 5, "hash_ids": [0, 1], "ttft": 0.5}, {"t": 4.5, "type": "subagent", "requests": [{"t": 1, "type": "n", "in": 4, "out": 1}]}]}'],
    7: [b'{"event_type":"request_end","event_time_unix_ms":5,"agent_context":{"trajectory_id":"t"},"request":{"output_tokens":8,"total_time_ms":1.5,"replay":{"trace_block_size":64,"input_length":128,"input_sequence_hashes":[1,2]}}}\n{"event_type":"tool_end"}'],
    8: [b'{"timestamp": 0.5, "input_length": 33, "output_length": 2, "hash_ids": [5, 6, 7]}'],
    9: [b'{"prompt": "x", "output_tokens": 9}\n{"prompt": "y"}'],
    10: [b'{"body": {"messages": [{"role": "user", "content": "x"}]}, "timestamp": "2024-05-10T00:00:00Z"}\n{"body": {"prompt": "x"}, "timestamp": 1.5}'],
    11: fixtures("traces/golden*.jsonl", 6000),
}
AZURE = [
    b"GeneratedTokens,TIMESTAMP,ContextTokens\n2,2024-05-10 00:00:00.009930+00:00,1\n4,2024-05-10 02:00:00.009931+02:00,3\n",
    *fixtures("traces/azure*.csv", 1000),
]

write("request_head", heads(REQUEST_LINES, REQUEST_FIELDS))
write("response_head", heads(STATUS_LINES, STATUS_FIELDS))
write("chunked", [plan + chunks for plan in PLANS for chunks in CHUNKS])
write("answer", [plan + head + body for plan in PLANS for head in heads(STATUS_LINES, STATUS_FIELDS) for body in [b"hello", *CHUNKS[:2]]])
write("proxy_protocol", PROXY)
streams = STREAMS + fixtures("http/*.resp.sse", 4000)
write("event_stream", [plan + stream for plan in PLANS for stream in streams])
bodies = BODIES + fixtures("http/*.req.json")
write("request_body", bodies)
answers = STREAMS + fixtures("http/*.resp.sse", 1500) + fixtures("http/*.resp.json")
pairs = [(body, answers[at % len(answers)]) for at, body in enumerate(bodies * 3)]
write("exchange", [struct.pack("B", at % 16) + PLANS[at % 3] + body + b"\0" + answer for at, (body, answer) in enumerate(pairs)])
write("tensors", TENSORS)
write("trace_reader", fixtures("traces/*.rt") + fixtures("traces/*.rt.age"))
rows = {0: MOONCAKE, 3: AZURE, **ROWS}
# The number of the format, and whether malformed rows end it.
write("importers", [struct.pack("B", kind * 2 + end) + file for kind, files in rows.items() for end in (0, 1) for file in files])
write("words", WORDS)
