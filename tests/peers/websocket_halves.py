"""WebSockets of which one half has stopped: one side silent, not reading, or closed (RFC 6455 and TCP) while the other still sends.
Handshake and frames are made by the websockets package without its I/O; every byte behind the handshake is compared."""

import hashlib
import socket
import threading

import websockets
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from recorder import PATIENCE_S, Recorder, listen, report, same

# More than every buffer on the way takes: who does not read stops the sender.
MUCH = [bytes([at % 251]) * 60_000 for at in range(400)]


def frames(messages, mask):
    return b"".join(Frame(Opcode.BINARY, message).serialize(mask=mask) for message in messages)


def closing(code, mask):
    return Frame(Opcode.CLOSE, Close(code, "enough").serialize()).serialize(mask=mask)


def shut(connection):
    connection.shutdown(socket.SHUT_WR)


def digest(bytes_):
    return len(bytes_), hashlib.sha256(bytes_).hexdigest()[:16]


class Side:
    """One end of a WebSocket after its handshake: what it has read and written."""

    def __init__(self, connection, ahead):
        self.connection, self.read, self.written = connection, bytearray(ahead), bytearray()

    def send(self, bytes_):
        self.written += bytes_
        self.connection.sendall(bytes_)

    def read_until(self, length):
        while len(self.read) < length:
            piece = self.connection.recv(65536)
            if not piece:
                raise SystemExit(f"the other side ended after {len(self.read)} of {length} bytes")
            self.read += piece

    def read_to_the_end(self):
        while piece := self.connection.recv(65536):
            self.read += piece


# What client and server do, each on its own thread.
def client_is_silent(client, server):
    yield lambda: client.read_to_the_end(), lambda: (server.send(frames(MUCH, False)), shut(server.connection))
    yield lambda: (client.send(frames([b"still here"], True)), shut(client.connection)), lambda: server.read_to_the_end()


def server_is_silent(client, server):
    yield lambda: (client.send(frames(MUCH, True)), shut(client.connection)), lambda: server.read_to_the_end()
    yield lambda: client.read_to_the_end(), lambda: shut(server.connection)


def client_closes_its_half(client, server):
    last = frames([b"the last"], True)
    yield lambda: (client.send(last), shut(client.connection)), lambda: server.read_to_the_end()
    # The server knows that nothing will come, and says all it has.
    yield lambda: client.read_to_the_end(), lambda: (server.send(frames(MUCH, False)), shut(server.connection))


def server_closes_its_half(client, server):
    last = frames([b"the last"], False)
    yield lambda: client.read_to_the_end(), lambda: (server.send(last), shut(server.connection))
    yield lambda: (client.send(frames(MUCH, True)), shut(client.connection)), lambda: server.read_to_the_end()


def server_says_close_and_the_client_goes_on(client, server):
    close = closing(1001, False)
    yield lambda: client.read_until(len(close)), lambda: server.send(close)
    rest = frames(MUCH, True) + closing(1001, True)
    yield lambda: client.send(rest), lambda: server.read_until(len(rest))
    yield lambda: client.read_to_the_end(), lambda: shut(server.connection)
    yield lambda: shut(client.connection), lambda: server.read_to_the_end()


def client_does_not_read(client, server):
    much = frames(MUCH, False)
    sent = threading.Event()

    def server_sends():
        server.send(much)
        sent.set()

    def client_waits():
        # What it says meanwhile arrives, though nothing can be said to it.
        client.send(frames([b"I am not reading"], True))
        assert not sent.wait(1), "24 MB were taken from a sender that nobody reads"
        client.read_until(len(much))

    yield client_waits, server_sends
    yield lambda: shut(client.connection), lambda: (server.read_to_the_end(), shut(server.connection))
    yield lambda: client.read_to_the_end(), lambda: None


def both_at_once(client, server):
    yield (
        lambda: (threading.Thread(target=lambda: (client.send(frames(MUCH, True)), shut(client.connection))).start(), client.read_to_the_end()),
        lambda: (threading.Thread(target=lambda: (server.send(frames(MUCH, False)), shut(server.connection))).start(), server.read_to_the_end()),
    )


def server_breaks_off(client, server):
    last = frames([b"the last"], False)
    yield lambda: client.read_until(len(last)), lambda: server.send(last)
    # A reset, not an end.
    server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    yield lambda: ends_in_a_reset(client), lambda: server.connection.close()


def ends_in_a_reset(client):
    try:
        client.read_to_the_end()
    except ConnectionResetError:
        client.read += b"reset"


SCENES = [
    client_is_silent,
    server_is_silent,
    client_closes_its_half,
    server_closes_its_half,
    server_says_close_and_the_client_goes_on,
    client_does_not_read,
    both_at_once,
    server_breaks_off,
]


def together(*parts):
    """Runs both sides' parts and waits for both."""
    failed = []

    def guarded(part):
        try:
            part()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    if failed:
        raise failed[0]
    if any(thread.is_alive() for thread in threads):
        raise SystemExit("a side waits for ever")


accepted, over = [], threading.Event()


def serve(connection):
    connection.settimeout(PATIENCE_S)
    protocol = ServerProtocol()
    request = None
    while request is None:
        protocol.receive_data(connection.recv(65536))
        request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
    protocol.send_response(protocol.accept(request))
    connection.sendall(b"".join(protocol.data_to_send()))
    done = threading.Event()
    accepted.append((Side(connection, b""), done))
    over.set()
    done.wait(4 * PATIENCE_S)


def play(scene, place):
    over.clear()
    with socket.create_connection(place, PATIENCE_S) as connection:
        protocol = ClientProtocol(parse_uri(f"ws://{place[0]}:{place[1]}/ws"))
        protocol.send_request(protocol.connect())
        connection.sendall(b"".join(protocol.data_to_send()))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        assert head.startswith(b"HTTP/1.1 101 "), head
        over.wait(PATIENCE_S)
        client = Side(connection, head.split(b"\r\n\r\n", 1)[1])
        server, done = accepted.pop()
        for parts in scene(client, server):
            together(*parts)
        done.set()
    reset = client.read.endswith(b"reset")
    arrived = client.read.removesuffix(b"reset")
    assert arrived == server.written, f"{scene.__name__}: {digest(arrived)} of {digest(server.written)} reached the client"
    assert client.written.startswith(server.read), f"{scene.__name__}: other bytes reached the server"
    return digest(client.read), digest(server.read), digest(server.written), reset


port = listen(serve)
direct = {scene.__name__: play(scene, ("127.0.0.1", port)) for scene in SCENES}
with Recorder(f"http://127.0.0.1:{port}") as recorder:
    for scene in SCENES:
        seen = play(scene, recorder.place)
        name = scene.__name__
        # Frames are masked anew each time: sizes are the same, and that the bytes are was seen at both ends.
        same(name, [direct[name][0][0], direct[name][1][0], direct[name][3]], [seen[0][0], seen[1][0], seen[3]])
report(f"websockets {websockets.__version__} without its I/O: {len(SCENES)} half-open connections, every byte at both ends")
