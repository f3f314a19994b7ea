"""Holds a replay's request log (JSON lines on standard input) to what a real engine must give: each request answered whole, its prompt and
its answer as many tokens as were asked for, counted by the engine itself, and every gap between them seen; and each one that the recorded
client had cancelled cancelled there, upon which the engine, at the URL given, stops working at it. The replay's own result (the file given) must
say the same of its prompts.

usage: check.py URL RESULT.json
"""

import json
import sys
import time
import urllib.request

from cancels import WAITED_US, cancelled_after

# An engine that had not noticed would go on to the end of its context: minutes.
STOPS_WITHIN_S = 10


def faults(request):
    events = cancelled_after(request["index"])
    if events is not None:
        yield from cancel_faults(request, events)
        return
    if request["result"] != "ok":
        yield f"it ended as {request['result']}"
        return
    if request["output_tokens"] != request["wanted_output_tokens"]:
        yield f"{request['output_tokens']} tokens came, {request['wanted_output_tokens']} were asked for"
    # The words are one token each to this engine, which says so itself (/tokenize): there is nothing to be off by.
    if request.get("prompt_tokens") != request["wanted_prompt_tokens"]:
        yield f"its prompt was {request.get('prompt_tokens')} tokens, {request['wanted_prompt_tokens']} were wanted"
    if request["stream"] and not request["token_events"]:
        yield "no token was seen to arrive"
    if request["stream"] and not request["sent_us"] <= request["first_token_us"] <= request["last_token_us"] <= request["end_us"]:
        yield "its moments are out of order"


def cancel_faults(request, events):
    if request["result"] != "cancelled":
        yield f"it ended as {request['result']}, and should have been cancelled"
    elif not events <= request["token_events"] < request["recorded_output_tokens"]:
        # One read may bring more events than the one that was waited for, never all of them.
        yield f"it was cancelled after {request['token_events']} token events, not after {events}"
    elif not events and request["end_us"] - request["sent_us"] < WAITED_US:
        yield "it was cancelled sooner than recorded"


def still_at_work(url):
    """Slots of the engine that work, long after the last request was over."""
    until = time.monotonic() + STOPS_WITHIN_S
    while True:
        working = [slot["id"] for slot in json.load(urllib.request.urlopen(f"{url}/slots")) if slot["is_processing"]]
        if not working or time.monotonic() > until:
            return working
        time.sleep(0.05)


requests = [json.loads(line) for line in sys.stdin]
found = [f"request {request['index']}: {fault}" for request in requests for fault in faults(request)]
if not any(request["result"] == "cancelled" for request in requests):
    found.append("the log holds no cancelled request")
if not any(request["result"] == "ok" for request in requests):
    found.append("the log holds no answered request")
found += [f"slot {slot} of the engine works on at a request that was cancelled" for slot in still_at_work(sys.argv[1])]
fidelity = json.load(open(sys.argv[2]))["targets"][0]["fidelity"]
if fidelity.get("prompt_tokens_errors", {}).get("max") != 0:
    found.append(f"the result has prompts off by {fidelity.get('prompt_tokens_errors')}")
for fault in found:
    print(f"error: {fault}", file=sys.stderr)
print(f"{len(requests)} requests, {len(found)} faults")
sys.exit(bool(found))
