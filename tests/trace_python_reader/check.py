"""Reads every golden trace with read_trace.py and compares it with what it must read as.

    pip install crc32c msgpack zstandard && python tests/trace_python_reader/check.py
"""
import json, pathlib
from read_trace import read

# What the lines of `inspect --exchanges` leave out, and what the reader gives for it.
ABSENT = {"messages": [], "media": [], "tensors": [], "cache_marks": [], "blocks": [], "tools": 0, "tools_bytes": 0, "continues": False, "continuous_usage": False, "return_token_ids": False, "encoding_format": "unsaid", "request_media_type": "unsaid", "response_media_type": "unsaid", "gaps": [], "gap_longest": 0}
FRAMES = {"sent_gaps": [], "sent_longest": 0, "sent_trail": [], "came_sizes": []}
# Where the last word of a path is not the name of its column.
COLUMNS = {
    "request.bytes": "request_bytes", "response.bytes": "response_bytes", "request.tools.count": "tools", "request.tools.bytes": "tools_bytes",
    "request.prompt_tokens.count": "prompt_tokens", "request.prompt_tokens.source": "prompt_tokens_source",
    "response.output_tokens.count": "output_tokens", "response.output_tokens.source": "output_tokens_source",
    "response.gaps.buckets": "gaps", "response.gaps.longest_us": "gap_longest", "response.gaps_in_order_us": "trail",
    "request.media_type": "request_media_type", "response.media_type": "response_media_type",
    "frames.sent_gaps.buckets": "sent_gaps", "frames.sent_gaps.longest_us": "sent_longest", "frames.sent_gaps_in_order_us": "sent_trail",
    "outcome.kind": "outcome", "outcome.at_us": "outcome_at",
}


def by_column(value, path=""):
    """Fields by the names of their columns."""
    if isinstance(value, dict):
        fields = (by_column(field, f"{path}.{name}".strip(".")) for name, field in value.items())
        return (FRAMES if path == "frames" else {}) | {name: field for some in fields for name, field in some.items()}
    name = COLUMNS.get(path) or path.split(".")[-1].removesuffix("_us")
    absent = {"messages": {"tokens": -1}, "media": {"pixels": 0, "format": "other"}, "tensors": {"dimensions": None}, "cache_marks": {"life": "unsaid"}}.get(name)
    return {name: [absent | one for one in value] if absent else value}


traces = pathlib.Path(__file__).parents[2] / "fixtures" / "traces"
goldens = sorted(traces.glob("golden-*.jsonl"))
assert goldens, traces
for golden in goldens:
    expected = [ABSENT | by_column(json.loads(line)) for line in golden.open()]
    assert read(golden.with_suffix(".rt")) == expected, golden
    unfinished = read(str(golden).replace(".jsonl", "-unfinished.rt"))
    ended = [exchange for exchange in unfinished if exchange["outcome"] != "in_flight"]
    assert ended and all(exchange in expected for exchange in ended), golden
    assert len(unfinished) - len(ended) == (golden.stem > "golden-1.0"), golden
    print(f"{golden.stem}: {len(expected)} exchanges")
