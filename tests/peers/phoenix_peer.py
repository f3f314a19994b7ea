"""Arize Phoenix, a tracing service of somebody else's, takes what a replay sends over OTLP; what it then shows is read back from it.

Not of the recorder, and most of a gigabyte to install: `tests/peers/run phoenix_peer` alone runs it.
"""

import datetime
import json
import os
import pathlib
import subprocess
import threading
import urllib.error
import urllib.request

from recorder import BINARY, files, free_port, holds, process, report

PHOENIX = pathlib.Path("target/peers/phoenix/bin/phoenix").absolute()
# More than one batch.
REQUESTS = 600
PROJECT = "peer"

directory, root = files()


def get(path):
    with urllib.request.urlopen(f"{phoenix_url}{path}", timeout=10) as answer:
        return json.load(answer)


def wait_for_phoenix(child):
    """It makes its database first: up to a minute on a slow disk."""
    for _ in range(1200):
        holds("phoenix goes on", child.poll() is None)
        try:
            urllib.request.urlopen(f"{phoenix_url}/healthz", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            threading.Event().wait(0.05)
    raise SystemExit("phoenix did not start within a minute")


def all_spans():
    spans, cursor = [], ""
    while True:
        page = get(f"/v1/projects/{PROJECT}/spans?limit=500{cursor}")
        spans += page["data"]
        if not page["next_cursor"]:
            return spans
        cursor = f"&cursor={page['next_cursor']}"


def spans_when_there(count):
    """It writes what it took a moment later."""
    for _ in range(60):
        try:
            spans = all_spans()
        except urllib.error.HTTPError:
            spans = []
        if len(spans) >= count:
            return spans
        threading.Event().wait(1)
    raise SystemExit(f"phoenix shows {len(spans)} of {count} spans")


def moment(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def replay(out, *arguments):
    done = subprocess.run(
        [BINARY, "replay", str(root / "trace.rt"), "--target", f"candidate={sim_url}", "--out", str(root / out)]
        + ["--fidelity", "lateness=10s", "--fidelity", "ks=1", "--otlp", phoenix_url, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={PROJECT}"},
    )
    with open(root / out / "result.json") as result:
        return done.stderr, json.load(result)["targets"][0]


phoenix_port, sim_port = free_port(), free_port()
phoenix_url, sim_url = f"http://127.0.0.1:{phoenix_port}", f"http://127.0.0.1:{sim_port}"
environment = os.environ | {
    "PHOENIX_HOST": "127.0.0.1",
    "PHOENIX_PORT": str(phoenix_port),
    "PHOENIX_GRPC_PORT": str(free_port()),
    "PHOENIX_WORKING_DIR": str(root),
    "PHOENIX_TELEMETRY_ENABLED": "false",
}
with open(root / "rows.jsonl", "w") as rows:
    for chat in range(REQUESTS // 2):
        for turn in range(2):
            identity = chat * 2 + turn
            parent = identity - 1 if turn else -1
            row = {"chat_id": identity, "parent_chat_id": parent, "timestamp": identity * 0.002, "turn": turn + 1, "type": "text"}
            row |= {"input_length": 32, "output_length": 8, "hash_ids": [chat, chat * 2 + turn + REQUESTS]}
            rows.write(json.dumps(row) + "\n")
done = subprocess.run([BINARY, "import", "bailian", str(root / "rows.jsonl"), "-o", str(root / "trace.rt")], capture_output=True, text=True)
holds(done.stderr, done.returncode == 0)

log = open(root / "phoenix.log", "w")
child = subprocess.Popen([PHOENIX, "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT)
sim = process(BINARY, "sim", "--listen", f"127.0.0.1:{sim_port}", "--profile", "fast", "--model", "m-7b", "--error-rate", "10%", port=sim_port)
try:
    with sim:
        wait_for_phoenix(child)
        said, target = replay("all")
        holds(f"it takes all, and no metrics: {said}", f"took {REQUESTS + 1} spans; it takes no metrics" in said)
        posts = [line for line in (root / "phoenix.log").read_text().splitlines() if "POST /v1/traces" in line]
        holds(f"under gzip at once: {posts}", len(posts) == 2 and all("200 OK" in line for line in posts))
        spans = spans_when_there(REQUESTS + 1)
        holds(f"{len(spans)} spans, each once", len(spans) == len({span["context"]["span_id"] for span in spans}) == REQUESTS + 1)
        runs = [span for span in spans if span["name"] == "replay candidate"]
        requests = [span for span in spans if span["name"] == "chat m-7b"]
        holds("one of the run, the others of requests", (len(runs), len(requests)) == (1, REQUESTS))
        holds("the run is no call of a model", runs[0]["span_kind"] == "CHAIN")
        begin, end = moment(runs[0]["start_time"]), moment(runs[0]["end_time"])
        failed = 0
        sessions = {}
        for span in requests:
            told = span["attributes"]
            holds(f"kind: {span}", span["span_kind"] == "LLM" and span["parent_id"] is None)
            holds(f"times: {span}", begin <= moment(span["start_time"]) <= moment(span["end_time"]) <= end)
            holds(f"model: {told}", told["llm.model_name"] == told["gen_ai.request.model"] == "m-7b")
            sessions.setdefault(told["session.id"], []).append(span)
            if span["status_code"] == "ERROR":
                failed += 1
                holds(f"failure: {told}", span["status_message"] == told["error.type"] and told["http.response.status_code"] == 500)
                continue
            holds(f"no failure: {span}", span["status_code"] == "UNSET" and "error.type" not in told)
            tokens = [told[f"llm.token_count.{which}"] for which in ("prompt", "completion", "total")]
            holds(f"tokens: {told}", tokens[1] == 8 and tokens[0] + 8 == tokens[2])
            holds(f"first token: {span}", 0 < told["gen_ai.server.time_to_first_token"] < 60 and span["events"][0]["name"] == "new_token")
            holds(f"content: {told}", not any(key.endswith((".content", "input.value", "output.value")) for key in told))
        holds(f"{failed} failed, as in the result", 0 < failed == target["requests"]["failed"])
        holds("turns share a session", all(len(turns) == 2 for turns in sessions.values()))
        report(f"phoenix: {REQUESTS} requests arrive as spans with kind, model, tokens, times, failure, session")

        shown = get(f"/v1/projects/{PROJECT}/sessions?limit=1000")["data"]
        holds(f"phoenix groups them itself: {len(shown)}", len(shown) == REQUESTS // 2)
        report(f"phoenix: {len(shown)} conversations are its sessions")

        said, target = replay("sample", "--otlp-sample", "5%")
        taken = int(said.split(" spans (a sample of 5 %")[0].rsplit(" ", 1)[1])
        ok = taken - 1 - target["requests"]["failed"]
        holds(f"a twentieth of what went well: {said}", REQUESTS // 50 <= ok <= REQUESTS // 10)
        spans_when_there(REQUESTS + 1 + taken)
        report(f"phoenix: a sample of 5 % is {taken} spans, the failed ones among them")
finally:
    child.terminate()
    child.wait(20)
    log.close()
    directory.cleanup()
