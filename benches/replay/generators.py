"""The load generators, each as the command that puts a load on a server and as the latencies that it tells afterwards."""

import dataclasses, json, os, pathlib, shutil, subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
REENACT = pathlib.Path(os.environ.get("REENACT", ROOT / "target/dist/reenact")).resolve()
PEERS = pathlib.Path(os.environ.get("PEERS", ROOT / ".peers")).resolve()
CONNECTIONS = 64
TOKENS = 100
FEW = 20


class Missing(Exception):
    """A generator cannot do this, and why."""


@dataclasses.dataclass(frozen=True)
class Load:
    """`manner` is the server's (upstream.rs). Without a `rate` (per second) it is a closed loop over CONNECTIONS; with a `cap`,
    no more are open at once."""

    manner: str
    stream: bool
    requests: int
    rate: float | None = None
    cap: int | None = None
    tokens: int = TOKENS


class Reenact:
    name = "reenact replay"
    share = 1
    # The thread, by name, that has the generator's core to itself; else all have it together.
    alone = None
    more = []

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def command(self, url, load):
        gap_us = 1e6 / load.rate if load.rate else 0
        lines = self.folder / "trace.jsonl"
        with open(lines, "w") as out:
            for i in range(load.requests):
                out.write(json.dumps(exchange(round(i * gap_us), load)) + "\n")
        trace, self.out = self.folder / "trace.rt", self.folder / "ours"
        trace.unlink(missing_ok=True)
        shutil.rmtree(self.out, ignore_errors=True)
        subprocess.run([REENACT, "--log-level", "error", "import", "jsonl", lines, "-o", trace], check=True, capture_output=True)
        command = [REENACT, "--log-level", "error", "replay", trace, "--target", url, "--model", "m", "--threads", 1, "--gpu", "off", "--out", self.out, *self.more]
        # A closed loop is all at once, each as soon as a connection is free. The run is rightly invalid, and is not judged here.
        cap = load.cap if load.rate else CONNECTIONS
        return command + ["--max-in-flight", 2 * load.requests] + (["--connections", cap] if cap else [])

    def reported(self, capped=False):
        target = self.target()
        latency, since = target["latency"], "" if capped else "_from_send"
        return {"ttft": latency.get(f"ttft{since}_ms"), "e2e": latency[f"e2e{since}_ms"], "itl": latency.get("tpot_ms")}

    def lateness_ms(self):
        return self.target()["fidelity"]["lateness_ms"]

    def target(self):
        targets = json.loads((self.out / "result.json").read_text())["targets"]
        return next(target for target in targets if target["name"] != "recorded")


class ReenactAlone(Reenact):
    """The same with a core that only its sending thread has: what prepares requests and what counts them are on the server's."""

    name = "reenact replay, a core for its sender"
    alone = "send"


class ReenactAwake(ReenactAlone):
    """A sender that has a core to itself, and never sleeps there."""

    name = "reenact replay --busy-poll, a core for its sender"
    more = ["--busy-poll"]


def exchange(at_us, load):
    """A line of our own format: a prompt of 50 tokens, an answer of as many as the server has events."""
    params = {"ignore_eos": False, "n": 1, "stream": load.stream, "include_usage": False, "structured": "none", "schema_bytes": 0, "stop_count": 0, "token_ids": False, "echo": False}
    return {
        "at_us": at_us, "endpoint": "chat_completions", "method": "POST", "in_flight": 0, "shape": "known",
        "request": {"bytes": 0, "messages": [{"role": "user", "bytes": 0}], "prompt_tokens": {"count": 50, "source": "usage"}, "params": params},
        "response": {"status": 200, "output_tokens": {"count": load.tokens, "source": "usage"}, "tool_calls": 0, "bytes": 0, "events": 0, "token_events": 0},
        "outcome": {"kind": "completed"},
    }


def body(load):
    return json.dumps({"model": "m", "stream": load.stream, "max_tokens": load.tokens, "messages": [{"role": "user", "content": "word " * 50}]})


class Wrk:
    """The fastest that there is, which reads no events and times no tokens: a floor."""

    name = "wrk"
    share = None  # it runs for a time, not for a number of requests

    def __init__(self, folder):
        self.script = pathlib.Path(folder) / "wrk.lua"

    def command(self, url, load):
        if load.rate:
            raise Missing("has no rate")
        self.script.write_text(f"wrk.method = 'POST'\nwrk.body = [[{body(load)}]]\nwrk.headers['Content-Type'] = 'application/json'\n")
        seconds = 1 if load.requests <= FEW else 4
        return ["wrk", "-t", 1, "-c", CONNECTIONS, "-d", f"{seconds}s", "-s", self.script, f"{url}/v1/chat/completions"]


class Oha:
    """Reads no events and times no tokens: it can say when an answer was whole."""

    name = "oha"
    share = 1

    def __init__(self, folder):
        self.out = pathlib.Path(folder) / "oha.json"

    def command(self, url, load):
        open_at_once = load.cap or (CONNECTIONS if not load.rate else max(CONNECTIONS, load.requests // 4) if load.stream else 4 * CONNECTIONS)
        rate = ["-q", load.rate, "--latency-correction"] if load.rate else []
        self.out.unlink(missing_ok=True)
        return [
            "oha", "--no-tui", "--output-format", "json", "--output", self.out, "-n", load.requests, "-c", open_at_once, *rate,
            "-m", "POST", "-T", "application/json", "-d", body(load), f"{url}/v1/chat/completions",
        ]

    def reported(self, capped=False):
        told = json.loads(self.out.read_text())["latencyPercentiles"]
        return {"ttft": None, "e2e": {q: told[q] * 1000 for q in ("p50", "p99")}, "itl": None}


class GuideLlm:
    name = "guidellm"
    share = 10

    def __init__(self, folder):
        self.tokenizer, self.out = tokenizer(folder), pathlib.Path(folder) / "guidellm.json"

    def command(self, url, load):
        profile = f"kind=constant,rate={load.rate}" if load.rate else f"kind=concurrent,streams={CONNECTIONS}"
        if load.cap:
            profile += f",max_concurrency={load.cap}"
        self.out.unlink(missing_ok=True)
        return [
            PEERS / "bin/guidellm", "run", "--disable-console",
            "--backend", f"kind=openai_http,target={url},model=m,stream={str(load.stream).lower()}",
            "--profile", profile, "--constraint", f"kind=max_requests,count={load.requests}",
            "--tokenizer", f"kind=huggingface_auto,model={self.tokenizer}",
            "--data", f"kind=synthetic_text,prompt_tokens=50,output_tokens={load.tokens}", "--output", f"kind=json,path={self.out}",
        ]

    def reported(self, capped=False):
        metrics = json.loads(self.out.read_text())["benchmarks"][0]["metrics"]
        of = lambda name, factor: {q: metrics[name]["successful"]["percentiles"][q] * factor for q in ("p50", "p99")}
        return {"ttft": of("time_to_first_token_ms", 1), "e2e": of("request_latency", 1000), "itl": of("inter_token_latency_ms", 1)}


class AiPerf:
    name = "aiperf"
    share = 10

    def __init__(self, folder):
        self.tokenizer, self.out = tokenizer(folder), pathlib.Path(folder) / "aiperf"

    def command(self, url, load):
        shutil.rmtree(self.out, ignore_errors=True)
        pace = ["--request-rate", load.rate, "--arrival-pattern", "constant"] if load.rate else ["--concurrency", min(CONNECTIONS, load.requests)]
        if load.cap:
            pace += ["--concurrency", load.cap]
        return [
            PEERS / "bin/aiperf", "profile", "-m", "m", "--url", url, "--endpoint-type", "chat", *(["--streaming"] if load.stream else []), *pace,
            "--request-count", load.requests, "--tokenizer", self.tokenizer, "--isl", 50, "--osl", load.tokens, "--ui", "none", "--artifact-dir", self.out,
            "--no-gpu-telemetry", "--no-server-metrics", "--use-server-token-count", "--random-seed", 1,
        ]

    def reported(self, capped=False):
        found = json.loads(next(self.out.rglob("profile_export_aiperf.json")).read_text())
        return {"ttft": found.get("time_to_first_token"), "e2e": found["request_latency"], "itl": found.get("inter_token_latency")}


def tokenizer(folder):
    """A tokenizer of single bytes, so that nothing is downloaded."""
    path = pathlib.Path(folder) / "tokenizer"
    if not path.exists():
        program = f"""
from tokenizers import Tokenizer, models, pre_tokenizers, decoders
from transformers import PreTrainedTokenizerFast
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE(vocab={{letter: i for i, letter in enumerate(letters + ["<eos>"])}}, merges=[]))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", bos_token="<eos>").save_pretrained({str(path)!r})
"""
        subprocess.run([PEERS / "bin/python", "-c", program], check=True, capture_output=True)
    return path


def installed(folder):
    found = [Reenact(folder)]
    found += [kind(folder) for kind in (Wrk, Oha) if shutil.which(kind.name)]
    found += [kind(folder) for kind in (GuideLlm, AiPerf) if (PEERS / "bin" / kind.name).exists()]
    return found
