"""Azure's store as its own emulator, azurite, stands for it: traces are carried there, written there, and read from there."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import pathlib
import random
import subprocess
import urllib.request

from recorder import BINARY, Recorder, files, free_port, holds, process, report

# The account that azurite documents for everyone.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURITE = pathlib.Path("target/peers/npm/node_modules/.bin/azurite-blob").absolute()

directory, root = files()
port = free_port()
store = os.environ | {
    "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
    "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
    "AZURE_ALLOW_HTTP": "true",
}


def make_container(name):
    """By the Shared Key scheme: learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
    to_sign = "PUT" + "\n" * 12 + canonical + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    mac = hmac.new(base64.b64decode(KEY), to_sign.encode(), hashlib.sha256).digest()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}", "Content-Length": "0"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
    holds("azurite makes a container", connection.getresponse().status == 201)


def reenact(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=120, env=store)
    return done.returncode, done.stdout, done.stderr


def does(*arguments):
    status, out, said = reenact(*arguments)
    holds(f"{' '.join(arguments)}: {said}", status == 0)
    return out


def rows(path, count, blocks, seed=1):
    """A trace of our own lines whose blocks nothing can predict, however they are numbered, so that it is large."""
    number = random.Random(seed)
    with open(path, "w") as out:
        for at in range(count):
            ids = ",".join(str(number.randrange(1 << 18)) for _ in range(blocks))
            out.write(f'{{"timestamp":{at},"input_length":{blocks * 512},"output_length":1,"hash_ids":[{ids}]}}\n')


with process(str(AZURITE), "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", port=port):
    make_container("box")
    rows(root / "small.jsonl", 50, 3)
    does("import", "mooncake", str(root / "small.jsonl"), "-o", "az://box/day/small.rt")
    told = does("inspect", "--exchanges", "az://box/day")
    holds("what was written is read, by its prefix", len(told.splitlines()) == 50)
    status, _, said = reenact("trace", "slice", "az://box/day", "--limit", "1", "-o", "az://box/day/small.rt")
    holds(f"nothing is written over another: {said}", status == 1 and "there is a file of that name already" in said)
    report("azurite: a trace is written, listed, read, and not written over")

    rows(root / "large.jsonl", 12_000, 420)
    does("import", "mooncake", str(root / "large.jsonl"), "-o", str(root / "large.rt"))
    holds("it needs parts", (root / "large.rt").stat().st_size > 9 << 20)
    does("trace", "merge", str(root / "large.rt"), "-o", "az://box/large/all.rt")
    told = does("trace", "verify", "az://box/large")
    holds(f"all parts are there: {told}", ": whole: " in told and " 12000 exchanges" in told)
    does("trace", "slice", "az://box/large/all.rt", "--from", "11s", "--limit", "5", "-o", str(root / "slice.rt"))
    first = does("inspect", "--exchanges", str(root / "slice.rt")).splitlines()[0]
    holds(f"a part of it is read: {first}", '"at_us":11000000' in first)
    report("azurite: a trace of several parts is written, checked and cut")

    site = free_port()
    (root / "page").write_text("hello")
    with process("python", "-m", "http.server", "--bind", "127.0.0.1", "-d", str(root), str(site), port=site):
        recorder = Recorder(f"http://127.0.0.1:{site}", "--trace-store", "az://box/live", environment=store)
        with recorder:
            holds("traffic passes", urllib.request.urlopen(f"{recorder.url}/page", timeout=20).read() == b"hello")
    told = does("inspect", "--exchanges", "az://box/live")
    holds(f"the recorder's file was carried there: {told}", len(told.splitlines()) == 1)
    report("azurite: a recorder carries its files")
directory.cleanup()
