"""The recorder as a child process, and the plainest upstreams: what every peer's script shares."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

BINARY = os.environ["REENACT_BINARY"]
PATIENCE_S = 20


class Recorder:
    """`reenact record` in front of `upstream`, ended with its `with` block."""

    def __init__(self, upstream, *options, scheme="http", environment=None):
        self.directory = tempfile.TemporaryDirectory()
        command = [BINARY, "record", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream]
        command += ["--trace-dir", self.directory.name, *options]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        mark = f"listening on {scheme}://"
        for line in self.child.stderr:
            self.log.append(line)
            if mark in line:
                break
        else:
            raise SystemExit("the recorder did not start:\n" + "".join(self.log))
        self.address = line.split(mark)[1].split()[0].strip("/,")
        self.url = f"{scheme}://{self.address}"
        host, port = self.address.rsplit(":", 1)
        self.place = (host, int(port))
        threading.Thread(target=lambda: self.log.extend(self.child.stderr), daemon=True).start()

    def connect(self):
        return socket.create_connection(self.place, PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.child.terminate()
        status = self.child.wait(PATIENCE_S)
        self.directory.cleanup()
        if kind is None and status != 0:
            raise SystemExit(f"the recorder ended with {status}:\n" + "".join(self.log))
        if any("panicked" in line for line in self.log):
            raise SystemExit("the recorder panicked:\n" + "".join(self.log))


def listen(serve):
    """Serves each connection on a thread of its own; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept():
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=quietly, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def quietly(serve, connection):
    with contextlib.suppress(OSError), connection:
        serve(connection)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_until_it_listens(port):
    for _ in range(2000):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        threading.Event().wait(0.01)
    raise SystemExit(f"nothing listens on {port}")


@contextlib.contextmanager
def process(*command, port):
    """A server of somebody else's, until the block ends."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until_it_listens(port)
        yield child
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


def files():
    """A directory for the configuration of a peer."""
    directory = tempfile.TemporaryDirectory()
    return directory, pathlib.Path(directory.name)


def same(what, direct, proxied):
    if isinstance(direct, list) and isinstance(proxied, list) and len(direct) == len(proxied):
        # Only what differs is worth reading.
        pairs = [(one, other) for one, other in zip(direct, proxied) if one != other]
        direct, proxied = [one for one, _ in pairs], [other for _, other in pairs]
    if direct != proxied:
        raise SystemExit(f"{what} differs\n  direct:  {direct!r}\n  proxied: {proxied!r}")


def holds(what, fact):
    if not fact:
        raise SystemExit(f"not so: {what}")


def report(line):
    print(line)
    sys.stdout.flush()
