"""Which requests of the trace are cancelled, and how. As a program: lets the clients of a trace in JSON lines (standard input) have gone
so, and writes it to standard output.
"""

import json
import sys

# After so many token events, and after so long without one: what a replay repeats of a client that had gone.
EVENTS = 3
WAITED_US = 20_000


def cancelled_after(index):
    """Token events after which the request is cancelled; 0: it is cancelled before the first; None: it is not."""
    return {2: EVENTS, 0: 0}.get(index % 4)


def main():
    index = 0
    for line in sys.stdin:
        exchange = json.loads(line)
        if "schema" not in exchange:
            events = cancelled_after(index)
            if events is not None:
                exchange["outcome"] = {"kind": "client_cancelled", "at_us": WAITED_US}
                exchange["response"]["token_events"] = events
            index += 1
        print(json.dumps(exchange))


if __name__ == "__main__":
    main()
