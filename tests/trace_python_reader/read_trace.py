"""Reads a reenact trace and prints every exchange as a line of JSON. Written from docs/trace-format.md alone."""
import json, struct, sys
import crc32c, msgpack, zstandard
from names import EFFORT, ENDPOINT, FINISH, MEDIA, METHOD, OUTCOME, ROLE, SHAPE, SOURCE, STRUCTURED

M = (1 << 64) - 1
def unzigzag(z): return (z >> 1) ^ -(z & 1)
def numbers(column):
    planes = [iter(p) for p in column] if isinstance(column, list) else [iter(column)] * 10
    for byte in planes[0]:
        value, shift = byte & 127, 0
        while byte > 127: shift += 1; byte = next(planes[shift]); value |= (byte & 127) << 7 * shift
        yield value
def middle(bucket, bits=5):
    if bucket < 1 << bits: return bucket
    e, m = (bucket >> bits) + bits - 1, bucket & (1 << bits) - 1
    return (1 << e) + (m << e - bits) + ((1 << e - bits) >> 1)

class Ratio:
    of = per = 0
    def expected(self, x): return x * self.of // self.per & M if self.per else 0
    def learn(self, x, y): self.of, self.per = (min(M, a - a // 8 + b) for a, b in ((self.of, y), (self.per, x)))

def exchanges(count, at, doc, spec):
    columns, base, coding = {k: numbers(v) for k, v in doc["columns"].items()}, dict(doc["base"]), doc.get("coding", 0)
    def num(c): return next(columns[c]) if c in columns else 0
    def res(c, p): return (p + unzigzag(num(c))) & M
    def back(c, kind): i = base[kind] - unzigzag(num(c)); base[kind] = max(base[kind], i + 1); return i
    flags = in_flight = first = per = opening = trail = 0
    tokens_per_byte, bytes_per_event, out, lens, openings = Ratio(), Ratio(), [], [], []
    for _ in range(count):
        at += num(1); flags ^= num(2); q, r, m = {}, {}, 0
        def has(bit): return flags >> bit & 1
        in_flight = res(8, in_flight)
        e = {"at_us": at, "endpoint": ENDPOINT[num(3)], "method": METHOD[num(4)], "shape": SHAPE[num(5)], "in_flight": in_flight}
        if has(0): e["model"] = num(9)
        if has(1): e["session"] = back(10, "sessions")
        if has(2): e["client"] = back(11, "clients")
        o = num(12); opening += unzigzag(o - 1) if o else 0; openings.append(opening if o else None)
        messages = [{"role": ROLE[num(22)], "bytes": num(23), "tokens": num(24) - 1} for _ in range(num(21))]
        q["messages"] = [{k: v for k, v in x.items() if v != -1} for x in messages]
        p = {name: num(c) for bit, c, name in ((4, 30, "max_tokens"), (5, 31, "min_tokens"), (7, 33, "best_of"), (12, 36, "logprobs")) if has(bit)}
        p |= {"n": num(32), "schema_bytes": num(35), "stop_count": num(37), "structured": STRUCTURED[num(34)]}
        p |= {name: bool(has(bit)) for bit, name in ((6, "ignore_eos"), (8, "stream"), (9, "include_usage"), (14, "token_ids"), (15, "echo"))}
        if has(13): p["reasoning_effort"] = EFFORT[num(38)]
        if has(10): p["greedy"] = bool(has(11))
        if has(26): p["continues"] = True
        tools = {"count": num(39), "bytes": num(40)}
        media = [{"message": num(42), "kind": MEDIA[num(43)], "bytes": num(44), "pixels": [w - 1, num(46)] if (w := num(45)) else None} for _ in range(num(41))]
        text = tools["bytes"] + sum(x["bytes"] for x in messages)
        if has(3):
            n = res(25, tokens_per_byte.expected(text)) if coding else num(25)
            tokens_per_byte.learn(text, n); q["prompt_tokens"] = {"count": n, "source": SOURCE[num(26)]}
        q |= {"params": p, "media": [{k: v for k, v in x.items() if v is not None} for x in media], "bytes": res(20, text)}
        if any(tools.values()): q["tools"] = tools
        e["request"] = {k: v for k, v in q.items() if v != []}
        units = 0 if not spec else text + tools["count"] + len(messages) + 9 * len(media) if spec["unit"] == "bytes" else q.get("prompt_tokens", {"count": 0})["count"]
        lens.append(res(27, (units + (spec["size"] - 1) * spec["partial_last"]) // spec["size"] if spec else 0))
        r["status"] = num(60)
        for bit, c, name in (16, 61, "headers_us"), (17, 62, "first_byte_us"), (18, 63, "first_token_us"):
            if has(bit): m = r[name] = res(c, m)
        if has(19): r["first_answer_us"] = res(64, m)
        buckets = []
        for i in range(num(67)):
            if i == 0: first = res(68, first)
            known = buckets[-1][0] if i else first
            v = num(100 + known // 4 % 16) if coding else num(69)
            buckets.append([known + 1 + (v & 3) + (num(70) if v & 3 == 3 else 0) if i else first, (v >> 2) + 1])
        longest = res(71, middle(buckets[-1][0]) if buckets else 0)
        if buckets: r["gaps"] = {"buckets": buckets, "longest_us": longest}
        if has(20): m = r["last_token_us"] = res(65, m + sum(middle(b) * n for b, n in buckets))
        if has(21): m = r["end_us"] = res(66, m)
        kind = OUTCOME[num(6)]; e["outcome"] = {"kind": kind} | ({"at_us": res(7, m)} if kind not in ("completed", "rejected") else {})
        r["token_events"] = res(80, sum(n for _, n in buckets) + bool(buckets)) if coding else num(80)
        if has(22): r["output_tokens"] = {"count": res(72, r["token_events"]), "source": SOURCE[num(73)]}
        if has(23): r["cached_tokens"] = num(74)
        if has(24): r["reasoning_tokens"] = num(75)
        if has(25): r["finish"] = FINISH[num(76)]
        n = r["events"] = res(79, r["token_events"]); r["tool_calls"] = num(77)
        r["bytes"] = res(78, bytes_per_event.expected(n) if coding else per * n)
        if n: per = r["bytes"] // n; bytes_per_event.learn(n, r["bytes"])
        if n := num(81): trail = res(82, trail); r["gaps_in_order_us"] = [middle(res(83, trail), 6) for _ in range(n)]
        out.append(e | {"response": r})
    chains(out, lens, num, base["blocks"], coding)
    return zip(openings, out)

def chains(out, lens, num, new, coding):
    head, slots, turns, run = new, {}, {}, None
    for i in sorted(range(len(out)), key=lambda i: min(M, out[i]["at_us"] + out[i]["response"].get("end_us", 0))):
        chain, previous, session = [], None, out[i].get("session") if coding else None
        for _ in range(lens[i]):
            if previous is None: guess, known = head, None
            else:
                slot, known = (mixed := previous * 0x9E3779B1 & 0xFFFFFFFF) >> 16, None
                turn = (mixed ^ (session or 0) * 0x85EBCA6B & 0xFFFFFFFF) >> 19
                known = slots.get(slot, (None,))[0] == previous
                guess = slots[slot][1] if known else (previous + 1) & 0xFFFFFFFF
                if known and session is not None and turns.get(turn, (0,))[:2] == (previous, session): guess = turns[turn][2]
            if run is None: run = num(28)
            if run: block, run = guess, run - 1
            else:
                block, run = new - unzigzag(num(29)), None
                if previous is None: head = block
                else: slots[slot] = (previous, block); turns[turn] = (previous, session, block)
            previous = block; new = max(new, min(block + 1, 0xFFFFFFFF)); chain.append(block)
        if chain: out[i]["request"]["blocks"] = chain

def read(path):
    data, at, out, still_open, last = open(path, "rb").read(), 0, [], {}, 0
    major, _, n = struct.unpack_from("<HHI", data, 8)
    assert data[:8] == b"\x89RNT\r\n\x1a\n" and major == 1 and crc32c.crc32c(data[:16 + n]) == struct.unpack_from("<I", data, 16 + n)[0]
    spec = msgpack.unpackb(data[16:16 + n]).get("block")
    while (at := data.find(b"\xb1\x0cR\x1a", at)) >= 0:
        head, payload = data[at:at + 56], b""
        if len(data) >= at + 60 and crc32c.crc32c(head) == struct.unpack_from("<I", data, at + 56)[0]:
            payload = data[at + 60:at + 60 + struct.unpack_from("<I", head, 8)[0]]
        if not payload or crc32c.crc32c(payload) != struct.unpack_from("<I", head, 52)[0]: at += 1; continue
        at += 60 + len(payload)
        if head[4] == 2: still_open.clear()
        if head[4] not in (1, 3) or head[5] != 1: continue
        doc = msgpack.unpackb(zstandard.ZstdDecompressor().decompressobj().decompress(payload), strict_map_key=False)
        count, first_at, last_at = struct.unpack_from("<I16xQQ", head, 16)
        for number, e in exchanges(count, first_at, doc, spec):
            if head[4] == 3: still_open[number] = e
            else: still_open.pop(number, None); out.append(e)
        number = 0
        for step in numbers(doc.get("gone", b"")): number += unzigzag(step); still_open.pop(number, None)
        last = max(last, last_at)
    for e in still_open.values(): e["outcome"]["at_us"] = max(e["outcome"]["at_us"], last - e["at_us"])
    return sorted(out + list(still_open.values()), key=lambda e: e["at_us"])

if __name__ == "__main__":
    for e in read(sys.argv[1]): print(json.dumps(e))
