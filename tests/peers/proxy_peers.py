"""nginx and haproxy, each as upstream and as the proxy in front of the recorder, and h2load and nghttp as clients of many streams."""

import concurrent.futures
import http.client
import re
import subprocess

from recorder import Recorder, files, free_port, holds, process, report, same
from upstreams import Upstream

directory, root = files()
(root / "site").mkdir()
(root / "site" / "small").write_bytes(b"hello\n")
(root / "site" / "large").write_bytes(bytes(range(256)) * (1 << 14))


def nginx(server, port, upstreams=""):
    path = root / f"nginx-{port}.conf"
    path.write_text(
        f"""daemon off; pid {root}/nginx-{port}.pid; error_log {root}/nginx-{port}.log; user root;
        events {{}}
        http {{ access_log off; keepalive_requests 100000; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
        fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; client_max_body_size 0;
        {upstreams} server {{ listen 127.0.0.1:{port}; {server} }} }}"""
    )
    return process("nginx", "-c", str(path), "-e", str(root / "nginx.log"), port=port)


def haproxy(port, server):
    path = root / f"haproxy-{port}.cfg"
    path.write_text(
        f"""defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  {server}
"""
    )
    return process("haproxy", "-db", "-f", str(path), port=port)


def get(connection, method, path, body=None, fields=()):
    connection.request(method, path, body, dict(fields))
    answer = connection.getresponse()
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in ("date", "connection", "keep-alive")]
    return answer.status, answer.reason, kept, answer.read()


SITE = [
    ("GET", "/small", None, ()),
    ("HEAD", "/large", None, ()),
    ("GET", "/large", None, ()),
    ("GET", "/large", None, (("Range", "bytes=5-99"),)),
    ("GET", "/large", None, (("Range", "bytes=0-1,7-9"),)),
    ("GET", "/small", None, (("If-None-Match", "*"),)),
    ("GET", "/none", None, ()),
    ("POST", "/small", b"x" * 100_000, ()),
    ("DELETE", "/small", None, ()),
    ("GET", "/small?a=b%20c", None, ()),
]


def visits(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    seen = [get(connection, *visit) for visit in SITE]
    # A boundary of byte ranges is drawn by lot.
    return [re.sub(rb"(?m)\d{20}", b"", repr(one).encode()) for one in seen]


def post(connection, at):
    body = b"%d" % at * (at % 500 + 1)
    status, _, _, answer = get(connection, "POST", f"/{at}", body)
    return status, answer


def posts(port, connections, each):
    """Many requests over kept connections: how many did not end as they must."""

    def one(index):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        return sum(post(connection, index * each + at) != (200, b"seen") for at in range(each))

    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(one, range(connections)))


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr).group()


site = f"root {root}/site;"
port = free_port()
with nginx(site, port):
    direct = visits(port)
    with Recorder(f"http://127.0.0.1:{port}") as recorder:
        same("nginx as upstream", direct, visits(recorder.place[1]))
    behind = free_port()
    with haproxy(behind, f"server s 127.0.0.1:{port}"):
        direct = visits(behind)
        with Recorder(f"http://127.0.0.1:{behind}") as recorder:
            same("haproxy as upstream", direct, visits(recorder.place[1]))

clients = {
    "nginx": lambda to, at: nginx(
        "location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off; }",
        at,
        f"upstream up {{ server 127.0.0.1:{to}; keepalive 16; }}",
    ),
    "nginx, HTTP/1.0": lambda to, at: nginx(f"location / {{ proxy_pass http://127.0.0.1:{to}; }}", at),
    "haproxy": lambda to, at: haproxy(at, f"server s 127.0.0.1:{to}"),
    "haproxy, h2": lambda to, at: haproxy(at, f"server s 127.0.0.1:{to} proto h2"),
}
for name, start in clients.items():
    upstream = Upstream(2 if name.endswith("h2") else 1)
    with Recorder(upstream.url) as recorder:
        at = free_port()
        with start(recorder.place[1], at):
            wrong = posts(at, 8, 60)
    holds(f"{name} in front: {wrong} of 480 are wrong", wrong == 0)
    seen = {dict(head)[b":path"]: body for head, body in upstream.whole}
    expected = {b"/%d" % at: b"%d" % at * (at % 500 + 1) for at in range(480)}
    holds(f"{name} in front: each body arrived as it was, once", seen == expected and len(upstream.whole) == 480)
report(f"nginx {version('nginx', '-v')}, haproxy {version('haproxy', '-v')}: {2 * len(SITE)} requests as upstream, {480 * len(clients)} as client, 0 differences")

upstream = Upstream(1)
with Recorder(upstream.url, "--upstream-protocol", "http1") as recorder:
    done = subprocess.run(["h2load", "-n", "3000", "-c", "10", "-m", "20", recorder.url + "/small"], capture_output=True, text=True, timeout=100)
    holds(f"h2load:\n{done.stdout}", "3000 succeeded, 0 failed, 0 errored" in done.stdout)
    done = subprocess.run(["h2load", "--h1", "-n", "3000", "-c", "10", recorder.url + "/small"], capture_output=True, text=True, timeout=100)
    holds(f"h2load --h1:\n{done.stdout}", "3000 succeeded, 0 failed, 0 errored" in done.stdout)
    done = subprocess.run(["nghttp", "--stat", "--multiply=50", recorder.url + "/a"], capture_output=True, text=True, timeout=30)
    holds(f"nghttp:\n{done.stdout}", done.returncode == 0 and len(re.findall(r" 200 +\d+ /a", done.stdout)) == 50)
report(f"h2load, nghttp {version('h2load', '--version')}: 6050 requests, all succeeded")
