"""Serves a GGUF file by llama.cpp's own server, in this process; prints its URL, and ends with its standard input.

usage: serve.py MODEL.gguf
"""

import sys

import xllamacpp


def main(model):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = 4 * 8192  # shared by the slots
    params.n_parallel = 4
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
