"""Holds a replay's request log (JSON lines on standard input) to what a real engine must give: each request answered whole, with as
many tokens as were asked for, counted by the engine itself, and every gap between them seen.
"""

import json
import sys


def faults(request):
    if request["result"] != "ok":
        yield f"it ended as {request['result']}"
        return
    if request["output_tokens"] != request["wanted_output_tokens"]:
        yield f"{request['output_tokens']} tokens came, {request['wanted_output_tokens']} were asked for"
    if not request.get("prompt_tokens"):
        yield "the engine told no prompt tokens"
    if request["stream"] and not request["token_events"]:
        yield "no token was seen to arrive"
    if request["stream"] and not request["sent_us"] <= request["first_token_us"] <= request["last_token_us"] <= request["end_us"]:
        yield "its moments are out of order"


requests = [json.loads(line) for line in sys.stdin]
found = [f"request {request['index']}: {fault}" for request in requests for fault in faults(request)]
if not requests:
    found.append("the log holds no request")
for fault in found:
    print(f"error: {fault}", file=sys.stderr)
print(f"{len(requests)} requests, {len(found)} faults")
sys.exit(bool(found))
