"""Reads what an OTLP receiver was sent with opentelemetry-proto, and what LangSmith was with its SDK's models; writes JSON."""

import gzip
import json
import sys
from datetime import datetime
from pathlib import Path

from google.protobuf.json_format import MessageToDict


def otlp(message, path):
    body = Path(path).read_bytes()
    message.ParseFromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    # A field that the specification does not have is kept by the parser as unknown: none may be there.
    whole = message.ByteSize()
    message.DiscardUnknownFields()
    assert message.ByteSize() == whole, f"{path} has fields that opentelemetry-proto does not"
    return MessageToDict(message)


def experiment(path):
    from langsmith.evaluation.evaluator import EvaluationResult
    from langsmith.schemas import ExampleCreate

    body = json.loads(Path(path).read_text())
    start, end = (datetime.fromisoformat(body[f"experiment_{edge}_time"]) for edge in ("start", "end"))
    assert start <= end
    for score in body["summary_experiment_scores"]:
        EvaluationResult.model_validate(score)
    for row in body["results"]:
        ExampleCreate(id=row["row_id"], inputs=row["inputs"], outputs=row["expected_outputs"])
        assert start <= datetime.fromisoformat(row["start_time"]) <= datetime.fromisoformat(row["end_time"]) <= end
        assert isinstance(row["actual_outputs"], dict) and isinstance(row["run_metadata"], dict)
        for score in row["evaluation_scores"]:
            EvaluationResult.model_validate(score)
    return body


def read(kind, path):
    if kind == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return otlp(ExportTraceServiceRequest(), path)
    if kind == "metrics":
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        return otlp(ExportMetricsServiceRequest(), path)
    return experiment(path)


kind, *paths = sys.argv[1:]
json.dump([read(kind, path) for path in paths], sys.stdout)
