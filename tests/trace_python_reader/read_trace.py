"""Reads a reenact trace and prints every exchange as a line of JSON. Written from docs/trace-format.md alone."""
import json, struct, sys
import msgpack, zstandard

M = (1 << 64) - 1
TABLE = []
for n in range(256):
    for _ in range(8): n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)
def crc32c(data, c=0xFFFFFFFF):
    for b in data: c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF

def unzigzag(z): return (z >> 1) ^ -(z & 1)
def numbers(data):
    at = 0
    while data is None: yield 0
    while at < len(data):
        value = shift = 0
        while True:
            b = data[at]; at += 1; value |= (b & 127) << shift; shift += 7
            if b < 128: break
        yield value
def middle(b, bits=5):
    if b < 1 << bits: return b
    e, m = (b >> bits) + bits - 1, b & (1 << bits) - 1
    return (1 << e) + (m << e - bits) + ((1 << e - bits) >> 1)

ENDPOINT = """chat_completions completions messages models health metrics tokenize other responses embeddings ollama_generate ollama_chat
    ollama_embed tgi_generate tgi_generate_stream cohere_chat gemini_generate gemini_stream triton_generate triton_generate_stream infer
    grpc_infer grpc_stream_infer realtime detokenize rerank score pooling classify version""".split()
METHOD = "POST GET HEAD PUT DELETE OPTIONS OTHER".split()
SHAPE = "known generic unparsable too_large shed failed".split()
OUTCOME = "completed client_cancelled upstream_refused upstream_reset upstream_timeout rejected truncated in_flight".split()
ROLE = "system user assistant tool other".split()
SOURCE = "usage tokenizer counted estimated".split()
STRUCTURED = "none json_object json_schema grammar".split()
EFFORT = "none minimal low medium high other".split()
MEDIA = "image audio video document".split()
FINISH = "stop length tool_calls content_filter error other".split()

def exchanges(frame, payload, spec):
    doc = msgpack.unpackb(payload, strict_map_key=False)
    columns = {k: numbers(v) for k, v in doc["columns"].items()}
    def num(c): return next(columns.setdefault(c, numbers(None)))
    def code(c, names): return names[num(c)]
    def res(c, p): return (p + unzigzag(num(c))) & M
    base, at, flags, in_flight, first_bucket, per, opening, trail = dict(doc["base"]), frame["first"], 0, 0, 0, 0, 0, 0
    def back(c, kind):
        i = base[kind] - unzigzag(num(c)); base[kind] = max(base[kind], i + 1); return i
    out, lens, openings = [], [], []
    for _ in range(frame["count"]):
        at += num(1); flags ^= num(2)
        has = lambda bit: flags >> bit & 1
        e = {"at_us": at, "endpoint": code(3, ENDPOINT), "method": code(4, METHOD), "shape": code(5, SHAPE)}
        in_flight = e["in_flight"] = res(8, in_flight)
        if has(0): e["model"] = num(9)
        if has(1): e["session"] = back(10, "sessions")
        if has(2): e["client"] = back(11, "clients")
        if o := num(12): opening += unzigzag(o - 1)
        openings.append(opening if o else None)
        q, p, r = {}, {}, {}
        messages = []
        for _ in range(num(21)):
            m = {"role": code(22, ROLE), "bytes": num(23)}; t = num(24); messages.append(m)
            if t: m["tokens"] = t - 1
        if messages: q["messages"] = messages
        prompt = 0
        if has(3): prompt = num(25); q["prompt_tokens"] = {"count": prompt, "source": code(26, SOURCE)}
        for bit, c, name in (4, 30, "max_tokens"), (5, 31, "min_tokens"), (7, 33, "best_of"), (12, 36, "logprobs"):
            if has(bit): p[name] = num(c)
        p |= {"n": num(32), "schema_bytes": num(35), "stop_count": num(37), "structured": code(34, STRUCTURED)}
        if has(26): p["continues"] = True
        if has(13): p["reasoning_effort"] = code(38, EFFORT)
        if has(10): p["greedy"] = bool(has(11))
        for bit, name in (6, "ignore_eos"), (8, "stream"), (9, "include_usage"), (14, "token_ids"), (15, "echo"): p[name] = bool(has(bit))
        q["params"] = p
        tools = {"count": num(39), "bytes": num(40)}
        if any(tools.values()): q["tools"] = tools
        media = []
        for _ in range(num(41)):
            part = {"message": num(42), "kind": code(43, MEDIA), "bytes": num(44)}; w = num(45); media.append(part)
            if w: part["pixels"] = [w - 1, num(46)]
        if media: q["media"] = media
        text = tools["bytes"] + sum(m["bytes"] for m in messages)
        q["bytes"] = res(20, text)
        units = 0
        if spec: units = prompt if spec["unit"] == "tokens" else text + tools["count"] + len(messages) + 9 * len(media)
        expected = -(-units // spec["size"]) if spec and spec["partial_last"] else units // spec["size"] if spec else 0
        lens.append(res(27, expected))
        r["status"] = num(60); m = 0
        for bit, c, name in (16, 61, "headers_us"), (17, 62, "first_byte_us"), (18, 63, "first_token_us"):
            if has(bit): m = r[name] = res(c, m)
        if has(19): r["first_answer_us"] = res(64, m)
        buckets = []
        for i in range(num(67)):
            if i == 0: first_bucket = res(68, first_bucket)
            v = num(69); empty = v & 3
            if i and empty == 3: empty += num(70)
            buckets.append([buckets[-1][0] + 1 + empty if i else first_bucket, (v >> 2) + 1])
        longest = res(71, middle(buckets[-1][0]) if buckets else 0)
        if buckets: r["gaps"] = {"buckets": buckets, "longest_us": longest}
        if has(20): m = r["last_token_us"] = res(65, m + sum(middle(b) * n for b, n in buckets))
        if has(21): m = r["end_us"] = res(66, m)
        e["outcome"] = {"kind": code(6, OUTCOME)}
        if e["outcome"]["kind"] not in ("completed", "rejected"): e["outcome"]["at_us"] = res(7, m)
        r["token_events"] = num(80)
        if has(22): r["output_tokens"] = {"count": res(72, r["token_events"]), "source": code(73, SOURCE)}
        if has(23): r["cached_tokens"] = num(74)
        if has(24): r["reasoning_tokens"] = num(75)
        if has(25): r["finish"] = code(76, FINISH)
        r["tool_calls"] = num(77); r["events"] = res(79, r["token_events"]); r["bytes"] = res(78, per * r["events"])
        if r["events"]: per = r["bytes"] // r["events"]
        if n := num(81): trail = res(82, trail); r["gaps_in_order_us"] = [middle(res(83, trail), 6) for _ in range(n)]
        out.append(e | {"request": q, "response": r})
    head = new = doc["base"]["blocks"]; slots = {}; run = None
    for i in sorted(range(len(out)), key=lambda i: min(M, out[i]["at_us"] + out[i]["response"].get("end_us", 0))):
        chain, previous = [], None
        for _ in range(lens[i]):
            slot = None if previous is None else (previous * 0x9E3779B1 & 0xFFFFFFFF) >> 16
            known = slots.get(slot, (None, 0))
            guess = head if previous is None else known[1] if known[0] == previous else (previous + 1) & 0xFFFFFFFF
            if run is None: run = num(28)
            if run: b = guess; run -= 1
            else:
                b = new - unzigzag(num(29)); run = None
                if previous is None: head = b
                else: slots[slot] = (previous, b)
            previous = b; new = max(new, min(b + 1, 0xFFFFFFFF)); chain.append(b)
        if chain: out[i]["request"]["blocks"] = chain
    return list(zip(openings, out))

def read(path):
    data = open(path, "rb").read()
    assert data[:8] == b"\x89RNT\r\n\x1a\n", "not a trace"
    major, _, n = struct.unpack_from("<HHI", data, 8)
    assert major == 1 and crc32c(data[:16 + n]) == struct.unpack_from("<I", data, 16 + n)[0], "bad header"
    header, at, out, open_, last = msgpack.unpackb(data[16:16 + n]), 20 + n, [], {}, 0
    while (at := data.find(b"\xb1\x0cR\x1a", at)) >= 0:
        if len(data) < at + 60 or crc32c(data[at:at + 56]) != struct.unpack_from("<I", data, at + 56)[0]: at += 1; continue
        kind, codec, size, _, count = struct.unpack_from("<4xBB2xIII", data, at)
        payload = data[at + 60:at + 60 + size]
        if crc32c(payload) != struct.unpack_from("<I", data, at + 52)[0]: at += 1; continue
        frame = {"count": count, "first": struct.unpack_from("<Q", data, at + 36)[0]}
        if kind == 2: open_.clear()
        if kind in (1, 3) and codec == 1:
            block = exchanges(frame, zstandard.ZstdDecompressor().decompressobj().decompress(payload), header.get("block"))
            last = max(last, struct.unpack_from("<Q", data, at + 44)[0])
            for number, e in block:
                if kind == 3: open_[number] = e
                else: open_.pop(number, None); out.append(e)
        at += 60 + size
    for e in open_.values(): e["outcome"]["at_us"] = max(e["outcome"]["at_us"], last - e["at_us"])
    return sorted(out + list(open_.values()), key=lambda e: e["at_us"])

if __name__ == "__main__":
    for e in read(sys.argv[1]): print(json.dumps(e))
