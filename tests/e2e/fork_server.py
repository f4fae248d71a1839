"""Runs the console script in forks of one process that has imported what it imports.

Each command is a process of its own, with its own environment, folder, streams, exit code and end of the interpreter; it
is spared the start of an interpreter and its imports, which take longer than most commands do. What an interpreter
reads from its environment when it starts cannot be given to a fork: such a command is started as a user starts it, and so
is every command where ``XNATFERRY_TEST_PROCESSES=started`` (`make test-wheel`, `make torture`) or the system is not Linux.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path

#: Beginnings of the variables that an interpreter, or a module while it is imported, reads.
READ_AT_START = ("PYTHON", "LC_", "LANG")
#: Imports what users may not have installed, or what is no part of the command line.
NOT_IMPORTED = ("xnatferry.__main__", "xnatferry.testing", "xnatferry.cluster")
USED = sys.platform == "linux" and os.environ.get("XNATFERRY_TEST_PROCESSES") != "started"


def read_at_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


class ForkServer:
    """The process that forks; one for every process that runs tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = read_at_start(environment)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                # a process with threads should not fork, and OpenBLAS starts one for each core
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )

    def can_run(self, environment: dict[str, str]) -> bool:
        return read_at_start(environment) == self._environment

    def run(
        self, command: list[str], *, stdin: str, env: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess:
        """As ``subprocess.run(command, input=stdin, capture_output=True, text=True)`` runs a script of Python."""
        pipes = [os.pipe() for _ in range(4)]
        theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
        umask = os.umask(0)
        os.umask(umask)
        request = {"command": command, "environment": env, "folder": str(Path.cwd()), "umask": umask}
        socket.send_fds(self._channel, [json.dumps(request).encode()], theirs)
        for one in theirs:
            os.close(one)
        with ThreadPoolExecutor(3) as pool, os.fdopen(pipes[3][0]) as ended:
            pool.submit(_write, pipes[0][1], stdin)
            streams = [pool.submit(_read, read) for read, _ in pipes[1:3]]
            pid = int(ended.readline())
            try:
                out, err = (stream.result(timeout) for stream in streams)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess(command, int(ended.readline()), out, err)

    def close(self) -> None:
        self._channel.close()
        self._process.communicate()


def _read(stream: int) -> str:
    with os.fdopen(stream) as opened:
        return opened.read()


def _write(stream: int, text: str) -> None:
    with suppress(BrokenPipeError), os.fdopen(stream, "w") as opened:
        opened.write(text)


def _import_all() -> None:
    import xnatferry

    for module in pkgutil.walk_packages(xnatferry.__path__, "xnatferry."):
        if not module.name.startswith(NOT_IMPORTED):
            import_module(module.name)


def _fork_for(request: dict, streams: list[int]) -> bool:
    """True in the process that shall run the command; another one waits for it and tells how it ended."""
    if os.fork():
        return False
    *standard, ended = streams
    if not (pid := os.fork()):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(standard):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        os.chdir(request["folder"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        return True
    for stream in (0, 1, 2, *standard):
        os.close(stream)
    os.write(ended, b"%d\n" % pid)
    os.write(ended, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _serve(channel: socket.socket) -> dict | None:
    """Fork for every request, until the tests have ended; returns, in the fork, the request."""
    while True:
        message, streams, _, _ = socket.recv_fds(channel, 1 << 20, 4)
        if not message:
            return None
        request = json.loads(message)
        if _fork_for(request, streams):
            channel.close()
            return request
        for stream in streams:
            os.close(stream)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who stops the tests stops the commands, and closes the channel
    del sys.path[0]  # this folder
    _import_all()
    gc.collect()
    gc.freeze()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    if asked:
        script, *_ = sys.argv = asked["command"]
        sys.path.insert(0, str(Path(script).parent))
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__file__ = script
        exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)
