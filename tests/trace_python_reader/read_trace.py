"""Reads a reenact trace and prints each exchange as a line of JSON, its fields named as the columns. Written from docs/trace-format.md alone."""
import json, struct, sys
import crc32c, msgpack, zstandard
from tables import CODES, FLAGS, PLAIN

M, M32 = (1 << 64) - 1, (1 << 32) - 1

def unzigzag(z): return (z >> 1) ^ -(z & 1)
def numbers(column):
    planes = [iter(plane) for plane in column] if isinstance(column, list) else [iter(column)] * 10
    for byte in planes[0]:
        value, place = byte & 127, 0
        while byte > 127: place += 1; byte = next(planes[place]); value |= (byte & 127) << 7 * place
        yield value
def middle(bucket, bits=5):
    shift = (bucket >> bits) - 1
    return bucket if shift < 0 else ((1 << bits) + (bucket & (1 << bits) - 1) << shift) + ((1 << shift) >> 1)

def exchanges(count, at, doc, spec):
    columns, base, coding = {c: numbers(column) for c, column in doc["columns"].items()}, dict(doc["base"]), doc.get("coding", 0)
    def num(c, name=None): value = next(columns[c]) if c in columns else 0; return CODES[name][value] if name in CODES else value
    def residual(c, of): return of + unzigzag(num(c)) & M
    def pairs(c): bucket = 0; return [[bucket := bucket + num(c + 1), num(c + 2) + 1] for _ in range(num(c))]
    def back(c, kind): i = base[kind] - unzigzag(num(c)); base[kind] = max(base[kind], i + 1); return i
    def by_ratio(c, x, sums):
        value = residual(c, x * sums[0] // sums[1] if sums[1] else 0)
        if c == 25 or x: sums[:] = [min(M, a - a // 8 + b) for a, b in zip(sums, (value, x))]
        return value
    flags = in_flight = first = each = opening = trail = 0
    out, lens, openings, of_text, of_events = [], [], [], [0, 0], [0, 0]
    for _ in range(count):
        at, flags, in_flight, m, buckets = at + num(1), flags ^ num(2), residual(8, in_flight), 0, []
        has = lambda name: flags >> FLAGS[name] & 1
        out.append(e := {"at": at, "in_flight": in_flight} | {name: num(c, name) for name, (c, bit) in PLAIN.items() if bit is None or flags >> bit & 1})
        e |= {name: bool(has(name)) for name in FLAGS if name.islower() and (name.upper() not in FLAGS or has(name.upper()))}
        e |= {name: back(c, name + "s") for c, name in ((10, "session"), (11, "client")) if has(name.upper())}
        if told := num(12): opening += unzigzag(told - 1)
        openings.append(opening if told else None)
        messages = e["messages"] = [{"role": num(22, "role"), "bytes": num(23), "tokens": num(24) - 1} for _ in range(num(21))]
        media = e["media"] = [{"message": num(42), "kind": num(43, "media_kind"), "bytes": num(44), "pixels": (w := num(45)) and [w - 1, num(46)], "format": num(47, "media_format")} for _ in range(num(41))]
        e["tensors"] = [{"message": num(49), "datatype": num(50, "tensor_datatype"), "dimensions": [num(52) for _ in range(rank - 1)] if (rank := num(51)) else None} for _ in range(num(48))]
        e["cache_marks"] = [mark(num, messages) for _ in range(num(56))]
        text = e["tools_bytes"] + sum(message["bytes"] for message in messages)
        if has("PROMPT_TOKENS"): e["prompt_tokens"] = by_ratio(25, text, of_text) if coding else num(25)
        e["request_bytes"] = residual(20, text)
        length = text + e["tools"] + len(messages) + 9 * len(media) if spec["unit"] == "bytes" else e.get("prompt_tokens", 0)
        lens.append(residual(27, (length + (spec["size"] - 1) * spec["partial_last"]) // spec["size"]))
        for c, name in (61, "headers"), (62, "first_byte"), (63, "first_token"), (64, "first_answer"):
            if has(name.upper()): e[name] = residual(c, m); m = m if name == "first_answer" else e[name]
        for i in range(num(67)):
            if i == 0: first = bucket = residual(68, first)
            v = num(100 + bucket // 4 % 16 if coding else 69)
            if i > 0: bucket += 1 + (v & 3) + (num(70) if v & 3 == 3 else 0)
            buckets.append([bucket, (v >> 2) + 1])
        e["gap_longest"], e["gaps"] = residual(71, middle(bucket) if buckets else 0), buckets
        if has("LAST_TOKEN"): m = e["last_token"] = residual(65, m + sum(middle(b) * n for b, n in buckets))
        if has("END"): m = e["end"] = residual(66, m)
        e["outcome"] = num(6, "outcome")
        if e["outcome"] not in ("completed", "rejected"): e["outcome_at"] = residual(7, m)
        tokens = e["token_events"] = residual(80, sum(n for _, n in buckets) + bool(buckets)) if coding else num(80)
        n = e["events"] = residual(79, tokens)
        if has("OUTPUT_TOKENS"): e["output_tokens"] = residual(72, tokens)
        e["response_bytes"] = by_ratio(78, n, of_events) if coding else residual(78, each * n)
        if n: each = e["response_bytes"] // n
        if has("FRAMES"):
            sent, step = pairs(88), 0
            e["sent_gaps"], e["sent_longest"] = sent, residual(91, middle(sent[-1][0]) if sent else 0)
            e["sent_trail"] = [middle(step := residual(93, step), 6) for _ in range(num(92))]
            e["came_sizes"] = [[512 << bucket if bucket else 0, n] for bucket, n in pairs(94)]
        if steps := num(81): trail = residual(82, trail); e["trail"] = [middle(residual(83, trail), 6) for _ in range(steps)]
    chains(out, lens, num, base["blocks"], coding)
    return zip(openings, out)

def mark(num, messages):
    odd, index = (place := num(57)) & 1, (place - 1) // 2
    on = {"on": ("message", "tool")[odd], "index": index} if place else {"on": "request"}
    if place and not odd: on["bytes"] = (messages[index]["bytes"] if index < len(messages) else 0) + unzigzag(num(58))
    return on | {"life": num(59, "cache_life")}

def chains(out, lens, num, new, coding):
    head, slots, turns, run = new, {}, {}, None
    for e, length in sorted(zip(out, lens), key=lambda pair: min(M, pair[0]["at"] + pair[0].get("end", 0))):
        chain, previous, session = e.setdefault("blocks", []), None, e.get("session") if coding else None
        for _ in range(length):
            mixed = (previous or 0) * 0x9E3779B1 & M32
            slot, turn = mixed >> 16, (mixed ^ (session or 0) * 0x85EBCA6B & M32) >> 19
            guess = head if previous is None else slots.get(slot, {}).get(previous, previous + 1 & M32)
            if session is not None and previous in slots.get(slot, {}): guess = turns.get(turn, {}).get((previous, session), guess)
            if run is None: run = num(28)
            if run: block, run = guess, run - 1
            else:
                block, run = new - unzigzag(num(29)), None
                if previous is None: head = block
                else: slots[slot], turns[turn] = {previous: block}, {(previous, session): block}
            previous, new = block, max(new, min(block + 1, M32)); chain.append(block)

def matches(data, crc): return crc32c.crc32c(data) == int.from_bytes(crc, "little")
def blocks(data, at):
    while (at := data.find(b"\xb1\x0cR\x1a", at)) >= 0:
        frame, at = data[at:at + 60], at + 1
        payload = data[at + 59:at + 59 + int.from_bytes(frame[8:12], "little")]
        if payload and matches(frame[:56], frame[56:]) and matches(payload, frame[52:56]): at += 59 + len(payload); yield frame, payload

def read(path):
    data, out, still_open, last = open(path, "rb").read(), [], {}, 0
    major, _, n = struct.unpack_from("<HHI", data, 8)
    assert data[:8] == b"\x89RNT\r\n\x1a\n" and major == 1 and matches(data[:16 + n], data[16 + n:20 + n])
    spec = msgpack.unpackb(data[16:16 + n]).get("block") or {"unit": "tokens", "size": M, "partial_last": False}
    for frame, payload in blocks(data, 20 + n):
        if frame[4] == 2: still_open.clear()
        if frame[4] not in (1, 3) or frame[5] != 1: continue
        doc = msgpack.unpackb(zstandard.ZstdDecompressor().decompressobj().decompress(payload), strict_map_key=False)
        count, first_at, last_at = struct.unpack_from("<I16xQQ", frame, 16)
        for opened, e in exchanges(count, first_at, doc, spec):
            if frame[4] == 3: still_open[opened] = e
            else: still_open.pop(opened, None); out.append(e)
        number, last = 0, max(last, last_at)
        for step in numbers(doc.get("gone", b"")): number += unzigzag(step); still_open.pop(number, None)
    for e in still_open.values(): e["outcome_at"] = max(e["outcome_at"], last - e["at"])
    return sorted(out + list(still_open.values()), key=lambda e: e["at"])

if __name__ == "__main__": print(*map(json.dumps, read(sys.argv[1])), sep="\n")
