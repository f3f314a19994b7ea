"""One run of a generator: what the server saw of it, and what it cost."""

import dataclasses, glob, json, math, os, subprocess, sys, tempfile, threading, urllib.request

from generators import FEW, Missing

# A generator that is not through by then never will be.
MOST_S = 300


@dataclasses.dataclass
class Run:
    """`rows`: of each request, when it was whole, when its first and its last event were written (microseconds), and its events."""

    rows: list
    cpu_s: float
    mib: float

    def seconds(self):
        return (max(row[2] for row in self.rows) - min(row[0] for row in self.rows)) / 1e6

    def late_us(self, rate):
        """How much later each request came than the even spacing that fits below all of them, in their order."""
        ahead = [row[0] - i * 1e6 / rate for i, row in enumerate(sorted(self.rows))]
        least = min(ahead)
        return [value - least for value in ahead]


class Bench:
    def __init__(self, port):
        self.port, self.few = port, {}

    def cost(self, generator, load):
        """A run, the processor seconds for each of its requests, and the MiB beyond those of a run of a few: what a run of a few takes
        (start, imports, probes) is taken off."""
        key = (generator.name, load.stream)
        if key not in self.few:
            self.few[key] = self.run(generator, dataclasses.replace(load, requests=FEW, rate=load.rate and 20, cap=None))
        few, full = self.few[key], self.run(generator, load)
        more = len(full.rows) - len(few.rows)
        return full, (full.cpu_s - few.cpu_s) / more, full.mib - few.mib

    def run(self, generator, load):
        command = [str(word) for word in generator.command(f"http://127.0.0.1:{self.port}/{load.manner}", load)]
        self.truth()
        log = tempfile.TemporaryFile("w+")
        child = subprocess.Popen(["taskset", "-c", "0", *command], stdout=log, stderr=log, start_new_session=True)
        watchers = [Memory(child.pid)] + ([Apart(child.pid, generator.alone)] if getattr(generator, "alone", None) else [])
        for watcher in watchers:
            watcher.start()
        timer = threading.Timer(MOST_S, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        timer.cancel()
        for watcher in watchers:
            watcher.over.set()
            watcher.join()
        rows = self.truth()
        # Exit code 4 says that a measurement is invalid, as ours is where it is driven beyond its bounds.
        if os.waitstatus_to_exitcode(status) not in (0, 4) or len(rows) < (1 if generator.share is None else load.requests):
            log.seek(0)
            raise Missing("failed: " + " ".join(log.read()[-300:].split()))
        # A run that was over before it was looked at has only the resident set that the kernel kept, shared pages and all.
        kib = watchers[0].most_kib or usage.ru_maxrss
        return Run(rows, usage.ru_utime + usage.ru_stime, kib / 1024)

    def truth(self):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/truth"))


class Memory(threading.Thread):
    """The most Pss of a session's processes together, looked at from the server's core."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.most_kib, self.over = session, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.25):
            self.most_kib = max(self.most_kib, sum(self.pss(pid) for pid in self.pids()))

    def pids(self):
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = open(path).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.session:
                yield path.split("/")[2]

    def pss(self, pid):
        try:
            return next(int(line.split()[1]) for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
        except (OSError, StopIteration):
            return 0


class Apart(threading.Thread):
    """Leaves the generator's core to a process's threads of one name, and moves all others to the server's, new ones, too. A thread begins
    where the one is that began it, so each is moved, and soon: a replay gives its senders 15 ms before the first instant."""

    def __init__(self, pid, name):
        super().__init__(daemon=True)
        self.pid, self.name_kept, self.over = pid, name, threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            for path in glob.glob(f"/proc/{self.pid}/task/*"):
                try:
                    core = 0 if open(f"{path}/comm").read().strip() == self.name_kept else 1
                    os.sched_setaffinity(int(path.rsplit("/", 1)[1]), {core})
                except OSError:
                    continue


WATCH = """
import json, sys, time
seconds, step = float(sys.argv[1]), 1e9 / float(sys.argv[2])
clock, gaps = time.perf_counter_ns, []
first = last = clock()
while last < first + seconds * 1e9:
    now = clock()
    if now - last > 5000:
        gaps.append((last - first, now - first))
    last = now
print(json.dumps([(end - k * step) / 1000 for begin, end in gaps for k in range(int(begin / step) + 1, int(end / step) + 1)]))
"""


def late_alone_us(rate, seconds, beside):
    """How late a loop that only reads the clock of the generator's core sees instants evenly spaced: what the machine takes from anybody.
    `beside` it the server's core can be as busy, as it is under a generator."""
    watch = lambda core: ["taskset", "-c", core, sys.executable, "-c", WATCH, str(seconds), str(rate)]
    other = subprocess.Popen(watch("1"), stdout=subprocess.DEVNULL) if beside else None
    late = json.loads(subprocess.run(watch("0"), check=True, capture_output=True, text=True).stdout)
    if other:
        other.wait()
    return late + [0.0] * max(0, round(rate * seconds) - len(late))


def quantile(values, q):
    values = sorted(values)
    return values[max(0, math.ceil(q * len(values)) - 1)]
