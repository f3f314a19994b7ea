"""Whole suites: REDbot and http-cache-tests direct and through the recorder with zero difference, slowhttptest in each of its
modes, and sslyze."""

import http.client
import json
import os
import pathlib
import re
import subprocess

from recorder import Recorder, files, free_port, holds, process, report, same

directory, root = files()
(root / "site").mkdir()
(root / "site" / "page").write_bytes(b"<!doctype html><title>x</title><p>hello, world</p>\n" * 200)
# So long ago that how long does not change between two looks.
os.utime(root / "site" / "page", (1_600_000_000, 1_600_000_000))
port = free_port()
(root / "nginx.conf").write_text(
    f"""daemon off; pid {root}/pid; user root; events {{}} http {{ access_log off; gzip on; gzip_types *; keepalive_timeout 60;
    client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;
    scgi_temp_path {root}/s; server {{ listen 127.0.0.1:{port}; root {root}/site; default_type text/html; }} }}"""
)


def run(*command, limit_s=60, environment=None):
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment)


def redbot(at):
    done = run("redbot", "-o", "text_verbose", f"http://127.0.0.1:{at}/page")
    holds(f"REDbot ran: {done.stderr[-300:]}", done.returncode == 0 and "200 OK" in done.stdout)
    # Its own address and the clock are not of the answer; how long a connection is kept is a hop's.
    text = re.sub(r"127\.0\.0\.1:\d+|\d\d:\d\d:\d\d|\d+ ?(seconds?|ms)", "", done.stdout)
    lines = [line for line in text.splitlines() if not re.search(r"(?i)\b(connection|keep-alive)\b", line)]
    # REDbot makes its conditional requests at once, and notes them in the order in which their answers come, whatever is asked.
    notes = re.split(r"\n(?= {0,2}\* )", "\n".join(lines))
    return sorted(note.strip() for note in notes)


def cache_tests(at):
    tool = pathlib.Path("target/peers/npm/node_modules/http-cache-tests").resolve()
    environment = {**os.environ, "npm_config_base": f"http://127.0.0.1:{at}", "npm_config_id": "", "npm_package_config_id": ""}
    done = subprocess.run(["node", "--no-warnings", "cli.mjs"], cwd=tool, capture_output=True, text=True, timeout=100, env=environment)
    return json.loads(done.stdout[done.stdout.index("{") :])


def slow(mode, recorder):
    """A hundred slow connections for some seconds, while another client is served."""
    options = ["-c", "100", "-r", "100", "-i", "2", "-l", "8", "-p", "3", "-u", recorder.url + "/page"]
    child = subprocess.Popen(["slowhttptest", mode, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    served = 0
    while child.poll() is None:
        connection = http.client.HTTPConnection(*recorder.place, timeout=5)
        connection.request("GET", "/page")
        holds(f"served during slowhttptest {mode}", connection.getresponse().status == 200)
        connection.close()
        served += 1
    return served


with process("nginx", "-c", str(root / "nginx.conf"), "-e", str(root / "log"), port=port):
    with Recorder(f"http://127.0.0.1:{port}", "--header-timeout", "3s", "--body-timeout", "3s") as recorder:
        direct = redbot(port)
        same("REDbot's report", direct, redbot(recorder.place[1]))
        report(f"REDbot: {len(direct)} headings and notes, 0 differences")
        served = {mode: slow(mode, recorder) for mode in ("-H", "-B", "-R", "-X")}
        report(f"slowhttptest: modes {' '.join(served)}, 100 connections each, {sum(served.values())} requests served meanwhile")

at = free_port()
server = pathlib.Path("target/peers/npm/node_modules/http-cache-tests")
environment = {**os.environ, "npm_config_port": str(at), "npm_config_protocol": "http", "npm_config_pidfile": str(root / "cache.pid")}
os.environ.update(environment)
with process("node", "--no-warnings", str(server / "server" / "server.mjs"), port=at):
    with Recorder(f"http://127.0.0.1:{at}") as recorder:
        direct, proxied = cache_tests(at), cache_tests(recorder.place[1])
        holds("the cache tests ran", len(direct) > 100)
        # Where the origin hangs up or frames its answer in two ways, on purpose: the recorder sends again or says 502 (docs/http.md).
        broken = {name for name, result in direct.items() if result is not True and result[0] == "FetchError"}
        broken.add("headers-store-Transfer-Encoding")
        compared = direct.keys() - broken
        differences = {name: (direct[name], proxied.get(name)) for name in compared if direct[name] != proxied.get(name)}
        same("http-cache-tests", {}, differences)
        holds(f"few are left out: {sorted(broken)}", len(broken) <= 12)
        report(f"http-cache-tests 0.4.5: {len(compared)} tests, 0 differences; {len(broken)} left out, whose origin breaks off")

subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(root / "key.pem")]
    + ["-out", str(root / "cert.pem")],
    check=True,
    capture_output=True,
)
with Recorder(f"http://127.0.0.1:{at}", "--tls-cert", str(root / "cert.pem"), "--tls-key", str(root / "key.pem"), scheme="https") as recorder:
    output = root / "sslyze.json"
    run("sslyze", f"--json_out={output}", recorder.address, limit_s=100)
    [scan] = json.loads(output.read_text())["server_scan_results"]
    result = scan["scan_result"]
    accepted = {name: len(result[name]["result"]["accepted_cipher_suites"]) for name in result if name.endswith("cipher_suites")}
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        holds(f"no {old}", accepted[f"{old}_cipher_suites"] == 0)
    holds("TLS 1.2 and 1.3", accepted["tls_1_2_cipher_suites"] and accepted["tls_1_3_cipher_suites"])
    holds("not Heartbleed", not result["heartbleed"]["result"]["is_vulnerable_to_heartbleed"])
    holds("no CCS injection", not result["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"])
    holds("no compression", not result["tls_compression"]["result"]["supports_compression"])
    holds("no renegotiation by the client", not result["session_renegotiation"]["result"]["is_vulnerable_to_client_renegotiation_dos"])
    holds("nothing was left unscanned by an error", not any(one.get("status") == "ERROR" for one in result.values() if isinstance(one, dict) and one.get("error_reason") != "CLIENT_CERTIFICATE_NEEDED"))
report(f"sslyze: {sum(accepted.values())} cipher suites, none of them old, and no known weakness")
