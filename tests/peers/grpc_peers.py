"""grpcio as client and as server, with a service that looks like KServe's: each kind of call, direct and through the recorder,
in the clear and over TLS with a CA of our own on either side or both, clients' certificates included."""

import concurrent.futures
import os
import subprocess
import threading

# A client that is refused is one of the cases, and not worth lines of its log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc

from recorder import Recorder, files, holds, report, same

SERVICE = "/inference.test.Inference/"
cancelled = threading.Event()


class Service(grpc.GenericRpcHandler):
    """Messages are bytes; the framing, headers, trailers and status around them are grpcio's."""

    def service(self, details):
        kind = details.method.removeprefix(SERVICE)
        return {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(stream),
            "Events": grpc.unary_stream_rpc_method_handler(events),
            "Upload": grpc.stream_unary_rpc_method_handler(upload),
            "Fails": grpc.unary_unary_rpc_method_handler(fails),
            "FailsLate": grpc.unary_stream_rpc_method_handler(fails_late),
            "Waits": grpc.unary_unary_rpc_method_handler(waits),
        }.get(kind)


def infer(request, context):
    context.send_initial_metadata((("x-first", "1"), ("x-bin-bin", b"\0\xff")))
    context.set_trailing_metadata((("x-last", "2"), ("x-saw", dict(context.invocation_metadata()).get("x-mine", "none"))))
    return request[::-1]


def stream(requests, _):
    for request in requests:
        yield request + b"!"
        yield b""


def events(request, _):
    for at in range(int(request)):
        yield b"event %d" % at


def upload(requests, _):
    return b"%d" % sum(len(request) for request in requests)


def fails(_, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot: ünder load, 100 %")


def fails_late(_, context):
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "half way")


def waits(_, context):
    context.add_callback(cancelled.set)
    cancelled.wait(20)
    return b""


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        trailing = [(key, value) for key, value in error.trailing_metadata() or () if key.startswith("x-")]
        return error.code().name, error.details(), trailing


def unary(channel, request):
    answer, call = channel.unary_unary(SERVICE + "ModelInfer").with_call(request, metadata=(("x-mine", "yes"),), timeout=20)
    ours = [pair for pair in (*call.initial_metadata(), *call.trailing_metadata()) if pair[0].startswith("x-")]
    return answer, ours, call.code().name


def in_turn(channel):
    """A bidirectional stream in which each request waits for the answers to the one before."""
    ready = threading.Semaphore(1)

    def requests():
        for at in range(100):
            ready.acquire(timeout=20)
            yield b"%d" % at

    seen = []
    for answer in channel.stream_stream(SERVICE + "ModelStreamInfer")(requests(), timeout=20):
        seen.append(answer)
        if answer == b"":
            ready.release()
    return seen


def streamed(channel, kind, request):
    seen = []
    try:
        for answer in channel.unary_stream(SERVICE + kind)(request, timeout=20):
            seen.append(answer)
    except grpc.RpcError as error:
        return seen, error.code().name, error.details()
    return seen


def cancels(channel):
    cancelled.clear()
    call = channel.unary_unary(SERVICE + "Waits").future(b"")
    threading.Timer(0.2, call.cancel).start()
    return cancelled.wait(10), outcome(call.exception) if not call.cancelled() else "CANCELLED"


def overdue(channel):
    cancelled.clear()
    return outcome(lambda: channel.unary_unary(SERVICE + "Waits")(b"", timeout=0.3))[0], cancelled.wait(10)


def together(channel):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return sorted(pool.map(lambda at: unary(channel, b"%d" % at)[0], range(400)))


def calls(target, credentials=None):
    with grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target) as channel:
        return {
            "unary": unary(channel, b"hello"),
            "empty": unary(channel, b""),
            "3 MiB": unary(channel, b"ab" * (3 << 19)),
            "server stream": streamed(channel, "Events", b"500"),
            "client stream": channel.stream_unary(SERVICE + "Upload")(iter([b"x" * 60_000] * 50), timeout=20),
            "both streams in turn": in_turn(channel),
            "a failure": outcome(lambda: channel.unary_unary(SERVICE + "Fails")(b"", timeout=20)),
            "a failure half way": streamed(channel, "FailsLate", b""),
            "no such method": outcome(lambda: channel.unary_unary(SERVICE + "None")(b"", timeout=20)),
            "a deadline": overdue(channel),
            "a cancelled call": cancels(channel),
            "400 calls, 16 at once": together(channel),
        }


def unary_over(target, credentials):
    with grpc.secure_channel(target, credentials) as channel:
        return unary(channel, b"hello")


def certificate(name, *more):
    """A key, and a certificate for this machine."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        + ["-keyout", str(root / f"{name}.key"), "-out", str(root / f"{name}.pem"), *more],
        check=True,
        capture_output=True,
    )


def file(name):
    return (root / name).read_bytes()


directory, root = files()
certificate("ca")
by_ca = ["-CA", str(root / "ca.pem"), "-CAkey", str(root / "ca.key"), "-addext", "basicConstraints=critical,CA:false"]
for name in ("server", "client"):
    certificate(name, *by_ca, "-addext", "subjectAltName=IP:127.0.0.1")
server = grpc.server(concurrent.futures.ThreadPoolExecutor(32))
server.add_generic_rpc_handlers((Service(),))
port = server.add_insecure_port("127.0.0.1:0")
pairs = [(file("server.key"), file("server.pem"))]
tls_port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pairs))
mutual_port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pairs, file("ca.pem"), require_client_auth=True))
server.start()
trusting = grpc.ssl_channel_credentials(file("ca.pem"))
known = grpc.ssl_channel_credentials(file("ca.pem"), file("client.key"), file("client.pem"))

direct = calls(f"127.0.0.1:{port}")
holds("a deadline and a cancelled call reach the server", direct["a deadline"][1] and direct["a cancelled call"][0])
same("over TLS", direct, calls(f"127.0.0.1:{mutual_port}", known))
DOWN = ["--tls-cert", str(root / "server.pem"), "--tls-key", str(root / "server.key")]
DOWN_MUTUAL = [*DOWN, "--tls-client-ca", str(root / "ca.pem")]
UP = ["--upstream-ca", str(root / "ca.pem")]
UP_MUTUAL = [*UP, "--upstream-cert", str(root / "client.pem"), "--upstream-key", str(root / "client.key")]
WAYS = {
    "in the clear": (f"http://127.0.0.1:{port}", [], None),
    "clients over TLS": (f"http://127.0.0.1:{port}", DOWN, trusting),
    "the server over TLS": (f"https://127.0.0.1:{tls_port}", UP, None),
    "both over mutual TLS": (f"https://127.0.0.1:{mutual_port}", DOWN_MUTUAL + UP_MUTUAL, known),
}
for way, (upstream, options, credentials) in WAYS.items():
    with Recorder(upstream, *options, scheme="https" if credentials else "http") as recorder:
        proxied = calls(recorder.address, credentials)
        for name, seen in direct.items():
            same(f"{name}, {way}", seen, proxied[name])
        if credentials is known:
            refused = outcome(lambda: unary_over(recorder.address, trusting))
            holds(f"a client without a certificate is refused: {refused}", refused[0] == "UNAVAILABLE")
server.stop(None)
report(f"grpcio {grpc.__version__}: {len(direct)} kinds of calls, {len(WAYS)} ways ({', '.join(WAYS)}), 0 differences")
