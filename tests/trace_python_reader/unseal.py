"""Writes a sealed trace with its blocks in clear, as read_trace.py reads them. Written from docs/trace-format.md alone.

    pip install crc32c msgpack pynacl zstandard && python tests/trace_python_reader/unseal.py SEALED.rt.age IDENTITY CLEAR.rt
"""
import subprocess, sys
import crc32c, msgpack
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
from read_trace import blocks


def crc(data): return crc32c.crc32c(data).to_bytes(4, "little")


def unsealed(path, identity):
    data = open(path, "rb").read()
    start = 20 + int.from_bytes(data[12:16], "little")
    envelope = msgpack.unpackb(data[16:start - 4])["envelope"]
    opening = ["age", "--decrypt", "--identity", identity]
    key = subprocess.run(opening, input=envelope["age"], stdout=subprocess.PIPE, check=True).stdout
    yield data[:start]
    for frame, payload in blocks(data, start):
        if frame[5] == 2:
            assert payload[:8] == envelope["id"].to_bytes(8, "little")
            payload = decrypt(payload[24:], frame[4:52], payload[:24], key)
            frame = frame[:5] + b"\1" + frame[6:8] + len(payload).to_bytes(4, "little") + frame[12:52] + crc(payload)
            frame += crc(frame)
        yield frame + payload


if __name__ == "__main__": open(sys.argv[3], "wb").writelines(unsealed(sys.argv[1], sys.argv[2]))
