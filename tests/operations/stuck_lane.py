"""Runs a command and stops one thread of it when told to: python stuck_lane.py THREAD COMMAND…

Standard input: "stop" and "go" (each answered with a line), and its end, which ends the command. Only the parent of a
process may stop its threads everywhere, so this is the parent."""

import ctypes
import os
import signal
import subprocess
import sys

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
tasks = f"/proc/{command.pid}/task"


def thread():
    for task in os.listdir(tasks):
        if open(f"{tasks}/{task}/comm").read().strip() == sys.argv[1]:
            return int(task)
    raise LookupError(f"no thread is called {sys.argv[1]}")


try:
    for line in sys.stdin:
        if line == "stop\n":
            stopped = thread()
            ptrace(SEIZE, stopped)
            ptrace(INTERRUPT, stopped)
            os.waitpid(stopped, WALL)
        elif line == "go\n":
            ptrace(DETACH, stopped)
        print("done", flush=True)
finally:
    command.send_signal(signal.SIGKILL)
    command.wait()
