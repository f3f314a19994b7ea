"""curl: its versions of HTTP, ways to send a body, TLS, and leaving early; direct and through the recorder."""

import re
import subprocess
import threading

from recorder import Recorder, files, holds, listen, report, same
from upstreams import Upstream

left = threading.Event()


def answers(connection):
    """By the path: plain, chunked with trailers, an early hint, 204, to the end of the connection, or never."""
    reader = connection.makefile("rb")
    while line := reader.readline():
        head, length, chunked, expects = [line], 0, False, False
        while (field := reader.readline()) not in (b"\r\n", b""):
            head.append(field)
            name, value = field.split(b":", 1)
            length = int(value) if name.lower() == b"content-length" else length
            chunked |= name.lower() == b"transfer-encoding"
            expects |= name.lower() == b"expect"
        if expects:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"" if chunked else reader.read(length)
        while chunked and (size := int(reader.readline().split(b";")[0], 16)):
            body += reader.read(size)
            reader.readline()
        while chunked and reader.readline() != b"\r\n":
            pass
        path = line.split()[1]
        # The version and what is for one hop are the recorder's own.
        kept = [one for one in head[1:] if not one.lower().startswith((b"host", b"connection", b"upgrade", b"http2-settings", b"te:"))]
        text = line.split()[0] + b" " + path + b"\n" + b"".join(kept) + b"%d bytes\n" % len(body)
        if path == b"/chunks":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
            for piece in (text, b"y" * 100_000):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\nX-Sum: 7\r\n\r\n")
        elif path == b"/hint":
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        elif path == b"/none":
            connection.sendall(b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n")
        elif path == b"/rest":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + text)
            return
        elif path == b"/never":
            holds("the cancelled client's connection ends", connection.recv(1) == b"")
            left.set()
            return
        else:
            fields = b"Content-Encoding: br\r\n" if path == b"/encoded" else b""
            text = b"" if line.startswith(b"HEAD") else text
            connection.sendall(b"HTTP/1.1 200 OK\r\n%sX-B: 1\r\nx-b: 2\r\nContent-Length: %d\r\n\r\n%s" % (fields, len(text), text))


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "20", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=30)
    # The way a hop says that it goes on, or that it ends, is its own.
    kept = re.sub(rb"(?im)^connection: [^\r\n]*\r\n", b"", done.stdout)
    return done.returncode, kept


directory, root = files()
big = root / "big"
big.write_bytes(b"z" * (5 << 20))
HTTP1 = {
    "GET": ["/a?b=%20c"],
    "HEAD": ["/head", "--head"],
    "POST": ["/post", "--data", "x=y"],
    "5 MiB with Expect": ["/big", "--data-binary", f"@{big}", "-H", "Expect: 100-continue"],
    "a chunked upload": ["/big", "--upload-file", str(big), "-H", "Transfer-Encoding: chunked"],
    "another method": ["/form", "--request", "PATCH", "--data", "a=b"],
    "chunks with trailers": ["/chunks"],
    "chunks as they are": ["/chunks", "--raw"],
    "TE": ["/chunks", "--tr-encoding", "--raw"],
    "an early hint": ["/hint"],
    "204": ["/none"],
    "to the connection's end": ["/rest"],
    "an encoding": ["/encoded"],
    "an offer of h2c": ["/a", "--http2"],
    "a path as it is": ["/a/../b/./c//d", "--path-as-is"],
    "ranges": ["/a", "--range", "1-2"],
}


def url(base, arguments):
    return [base + arguments[0], *arguments[1:]]


count = 0
port = listen(answers)
base = f"http://127.0.0.1:{port}"
with Recorder(base) as recorder:
    for name, arguments in HTTP1.items():
        same(name, curl(*url(base, arguments)), curl(*url(recorder.url, arguments)))
        count += 1
    # HTTP/1.0: no chunks come back, and the connection's end is the answer's.
    for path in ("/a", "/chunks", "/rest", "/hint"):
        code, answer = curl("--http1.0", recorder.url + path)
        holds(f"--http1.0 {path}", code == 0 and answer.startswith(b"HTTP/1.0 200 OK") and b"chunked" not in answer)
        holds(f"--http1.0 {path} is whole", len(answer) > (100_000 if path == "/chunks" else 20))
        count += 1
    subprocess.run(["curl", "--silent", "--max-time", "0.3", recorder.url + "/never"], timeout=10)
    holds("a client that leaves before the first byte is seen upstream", left.wait(5))
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{num_connects}\\n", recorder.url + "/a[1-50]"]
    connects = subprocess.run(command, capture_output=True, timeout=30).stdout.split()
    connects = [int(one) for one in connects if one.isdigit()]
    holds("50 requests on one connection", len(connects) == 50 and sum(connects) == 1)
    count += 51
with Recorder(base, "--upstream-protocol", "http1") as recorder:
    for name in ("GET", "POST", "5 MiB with Expect", "chunks with trailers", "204"):
        code, answer = curl("--http2-prior-knowledge", *url(recorder.url, HTTP1[name]))
        holds(f"h2 to HTTP/1, {name}", code == 0 and answer.startswith((b"HTTP/2 200", b"HTTP/2 204")))
        count += 1
two = Upstream(2)
with Recorder(two.url) as recorder:
    for arguments in (["/a"], ["/b", "--data-binary", f"@{big}"]):
        direct = curl("--http2-prior-knowledge", *url(two.url, arguments))
        same("h2 with prior knowledge", direct, curl("--http2-prior-knowledge", *url(recorder.url, arguments)))
        count += 1
    holds("5 MiB arrive over h2", len(two.whole[-1][1]) == 5 << 20)
subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    + ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(root / "key.pem"), "-out", str(root / "cert.pem")],
    check=True,
    capture_output=True,
)
certificate = ["--tls-cert", str(root / "cert.pem"), "--tls-key", str(root / "key.pem")]
with Recorder(base, "--upstream-protocol", "http1", *certificate, scheme="https") as recorder:
    at = f"https://localhost:{recorder.place[1]}"
    for option, version in (("--http1.1", b"HTTP/1.1 200"), ("--http2", b"HTTP/2 200"), ("--no-alpn", b"HTTP/1.1 200")):
        code, answer = curl("--cacert", str(root / "cert.pem"), "--resolve", f"localhost:{recorder.place[1]}:127.0.0.1", option, at + "/a")
        holds(f"HTTPS {option}: {code}, {answer[:60]}", code == 0 and answer.startswith(version))
        count += 1
version = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout.split()[1]
report(f"curl {version}: {count} requests, 0 differences")
