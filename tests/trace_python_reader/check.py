"""Reads every golden trace with read_trace.py and compares it with what it must read as.

    pip install crc32c msgpack zstandard && python tests/trace_python_reader/check.py
"""
import json, pathlib
from read_trace import read

traces = pathlib.Path(__file__).parents[2] / "fixtures" / "traces"
for golden in sorted(traces.glob("golden-*.jsonl")):
    expected = [json.loads(line) for line in golden.open()]
    assert read(golden.with_suffix(".rt")) == expected, golden
    unfinished = read(str(golden).replace(".jsonl", "-unfinished.rt"))
    ended = [exchange for exchange in unfinished if exchange["outcome"]["kind"] != "in_flight"]
    assert ended and all(exchange in expected for exchange in ended), golden
    assert len(unfinished) - len(ended) == (golden.stem > "golden-1.0"), golden
    print(f"{golden.stem}: {len(expected)} exchanges")
