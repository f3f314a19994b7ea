"""The tables, each printed row by row as it is measured."""

import concurrent.futures, dataclasses, pathlib, resource, tempfile, types

from generators import CONNECTIONS, TOKENS, Load, Missing, Reenact, ReenactAlone, ReenactAwake
from measuring import late_alone_us, quantile

# So many streams of 100 tokens, 100 a second each, begun every second make about 1,000 open at once: as many as the server can
# pace on its own core and still tell the truth.
MOST_STREAMS_PER_S = 900
IDLE_PER_S = 20
SHORT_PER_S = 10_000
MOST_OPEN = 50_000

# In the place of a generator: what the machine itself is late by, with the server's core idle and busy.
CLOCKS = [
    types.SimpleNamespace(name="a loop that only reads the clock", beside=False),
    types.SimpleNamespace(name="the same with one on the other core", beside=True),
]


def table(columns, generators, row):
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for generator in generators:
        try:
            cells = row(generator)
        except Missing as why:
            cells = [str(why)] + [""] * (len(columns) - 1)
        print(f"| {generator.name} | {' | '.join(cells)} |", flush=True)
    print()


def scaled(generator, requests):
    """The slower peers take a tenth."""
    return requests // (generator.share or 1)


def throughput(bench, generators, quick):
    """Requests a second of each generator, by the server's count, plain JSON last."""
    reached = {}

    def row_of(load):
        def row(generator):
            reached[generator.name] = 0
            run, cpu_s, _ = bench.cost(generator, dataclasses.replace(load, requests=scaled(generator, load.requests)))
            reached[generator.name] = len(run.rows) / run.seconds()
            unit_us = cpu_s * 1e6 / (TOKENS if load.stream else 1)
            events = f"{sum(row[3] for row in run.rows) / run.seconds():,.0f}" if load.stream else "–"
            return [f"{reached[generator.name]:,.0f}", events, f"{unit_us:.2f}", f"{1e6 / unit_us:,.0f}", f"{run.mib:.0f}"]
        return row

    cases = {
        "SSE, a write per event": Load("events", True, 500 if quick else 3_000),
        "SSE, 100 events at once": Load("burst", True, 5_000 if quick else 30_000),
        "Plain JSON": Load("json", False, 20_000 if quick else 100_000),
    }
    for case, load in cases.items():
        unit = "event" if load.stream else "request"
        print(f"**{case}**, {CONNECTIONS} connections, as fast as it goes; the server's core may be the bound, so the last but one column is what a core of the generator's would do\n")
        table(["requests/s", "events/s", f"CPU µs per {unit}", f"{unit}s/s per core", "MiB"], generators, row_of(load))
    return reached


def pacing(bench, generators, quick, reached):
    seconds = 5 if quick else 15

    def row(generator):
        if generator in CLOCKS:
            late = late_alone_us(SHORT_PER_S, seconds, generator.beside)
            return [f"{quantile(late, q):.0f}" for q in (0.5, 0.99, 0.999)] + ["–"] * 5
        # One that hardly reaches the rate flat out cannot keep it.
        if (most := reached.get(generator.name, reached.get(Reenact.name, 0))) < 1.2 * SHORT_PER_S:
            raise Missing(f"{most:,.0f} requests/s at most")
        run, cpu_s, _ = bench.cost(generator, Load("json", False, SHORT_PER_S * seconds, SHORT_PER_S))
        late = run.late_us(SHORT_PER_S)
        told = generator.lateness_ms() if hasattr(generator, "lateness_ms") else {}
        own = [f"{told[q] * 1000:.0f}" if q in told else "–" for q in ("p50", "p99", "p99_9")]
        return own + [f"{quantile(late, q):.0f}" for q in (0.5, 0.99, 0.999)] + [f"{cpu_s * 1e6:.1f}", f"{run.mib:.0f}"]

    alone = [apart(ours.folder) for ours in generators if type(ours) is Reenact for apart in (ReenactAwake, ReenactAlone)]
    print(f"**{SHORT_PER_S:,} short requests a second**, plain JSON: how late they were sent, as the generator tells it and as the server saw it (its own wake-ups included)\n")
    table(["told: p50 µs", "p99 µs", "p99.9 µs", "seen: p50 µs", "p99 µs", "p99.9 µs", "CPU µs per request", "MiB"], [*CLOCKS, *generators, *alone], row)


def accuracy(bench, generators, quick):
    """Reported latencies beside the truth: idle, busy, and busy under a cap."""
    seconds, busy, stream_cost_s = (5 if quick else 15), {}, {}

    def paced(generator, rate, cap=None):
        measured = bench.cost(generator, Load("paced", True, round(rate * seconds), rate, cap))
        stream_cost_s[generator.name] = measured[1]
        return measured

    def row_at(rate_of, cap_of=lambda rate: None):
        def row(generator):
            rate = rate_of(generator)
            cap = cap_of(rate)
            run, cpu_s, _ = paced(generator, rate, cap)
            said = generator.reported(capped=cap is not None)
            rows, late = sorted(run.rows), run.late_us(rate)
            per_core = f"{TOKENS / cpu_s:,.0f}" if cpu_s > 0 else "–"
            cells = [f"{rate:,.0f}", f"{len(rows) / run.seconds() * cpu_s:.0%}", per_core, *(f"{quantile(late, q) / 1000:.2f}" for q in (0.5, 0.99, 0.999))]
            for key, column in (("ttft", 1), ("e2e", 2)):
                # Under a cap a request waits in the generator, and what a user feels begins when it should have been sent.
                true_ms = [(row[column] - row[0] + (waited if cap else 0)) / 1000 for row, waited in zip(rows, late)]
                for name, q in (("p50", 0.5), ("p99", 0.99)):
                    true = quantile(true_ms, q)
                    cells += [f"{true:.1f}", f"{said[key][name] - true:+.2f}" if said[key] else "–"]
            # As the peers tell it: the mean of each answer's gaps.
            true_ms = [(row[2] - row[1]) / (row[3] - 1) / 1000 for row in rows if row[3] > 1]
            for name, q in (("p50", 0.5), ("p99", 0.99)):
                true = quantile(true_ms, q)
                cells += [f"{true:.2f}", f"{said['itl'][name] - true:+.3f}" if said["itl"] else "–"]
            return cells
        return row

    def busy_rate(generator):
        """Streams a second that keep four fifths of its core busy, by what a rate near that costs, and by what it reaches."""
        if type(generator) is ReenactAwake:
            # All of its core is used whatever the rate: the one that it is to be held against.
            return busy[Reenact.name]
        if generator.name not in busy:
            # Idle, each event wakes it up: so much is never needed. A busy one handles several at once.
            idle_s = stream_cost_s.get(generator.name) or paced(generator, IDLE_PER_S)[1]
            likely = 0.6 / idle_s if idle_s > 0 else MOST_STREAMS_PER_S / (generator.share or 1)
            busy_s = paced(generator, min(MOST_STREAMS_PER_S, likely))[1]
            # What a start costs varies by seconds with the slow ones, so what they reach at most bounds it, too.
            flat_out = bench.run(generator, Load("events", True, scaled(generator, 1_000)))
            # And so much that a short run can seem to cost nothing.
            by_cost = 0.8 / busy_s if busy_s > 0 else MOST_STREAMS_PER_S
            busy[generator.name] = max(1, round(min(MOST_STREAMS_PER_S, by_cost, 0.8 * len(flat_out.rows) / flat_out.seconds())))
        return busy[generator.name]

    columns = ["streams/s", "its core", "events/s per core", "late p50 ms", "p99", "p99.9", "TTFT p50 true ms", "error ms", "TTFT p99 true", "error", "E2E p50 true", "error", "E2E p99 true", "error", "ITL p50 true", "error", "ITL p99 true", "error"]
    paces = f"streams of {TOKENS} tokens, 100 tokens/s each; error = reported − true"
    able = [generator for generator in generators if generator.share]
    # Nothing has to wake it for an event either.
    able += [ReenactAwake(ours.folder) for ours in able if type(ours) is Reenact]
    print(f"**Idle**: {paces}\n")
    table(columns, able, row_at(lambda _: IDLE_PER_S))
    print(f"**Four fifths of its core busy**, or {MOST_STREAMS_PER_S} streams a second, about 1,000 open at once, whichever is less: {paces}\n")
    table(columns, able, row_at(busy_rate))
    print(f"**The same rate with at most half as many open as it needs**: {paces}, both from the instant at which the request should have been sent\n")
    table(columns, able, row_at(busy_rate, lambda rate: max(1, round(rate / 2))))


def open_streams(bench, generators, quick, bench_of_its_own):
    # Descriptors beside the streams: files, the poller, spare connections.
    fit = min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1_000, free_ports() - 1_000)
    streams = 2_000 if quick else fit // 1_000 * 1_000
    shards = 2 if quick else -(-MOST_OPEN // streams)

    def held(bench, generator):
        count = scaled(generator, streams)
        # The first is over after 20 s and the last begun after ten at the latest.
        run, _, more_mib = bench.cost(generator, Load("held", True, count, max(200, count / 10), tokens=3))
        return count, run.mib, more_mib

    def row(generator):
        count, mib, more_mib = held(bench, generator)
        return [f"{count:,}", f"{mib:.0f}", f"{more_mib * 1024 / count:.1f}"]

    def row_of_shards(ours):
        # A folder and a server for each; begun together, so all are open at once.
        places = [bench_of_its_own() for _ in range(shards)]
        folders = [pathlib.Path(tempfile.mkdtemp(dir=ours.folder)) for _ in range(shards)]
        with concurrent.futures.ThreadPoolExecutor(shards) as pool:
            counts, mib, more_mib = zip(*pool.map(lambda place, folder: held(place, Reenact(folder)), places, folders))
        return [f"{sum(counts):,}", f"{sum(mib):.0f}", f"{sum(more_mib) * 1024 / sum(counts):.1f}"]

    print("**Open streams**, an event every 10 s in each: what the generator holds, without the system's socket buffers\n")
    columns = ["streams open", "MiB", "KiB for each"]
    table(columns, [generator for generator in generators if generator.share], row)
    if shards > 1:
        ours = next(generator for generator in generators if type(generator) is Reenact)
        several = types.SimpleNamespace(name=f"{ours.name}, {shards} processes", folder=ours.folder)
        table(columns, [several], row_of_shards)


def free_ports():
    first, last = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
    return last - first
