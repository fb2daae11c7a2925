"""Imports what the workers of a Ray need, once, and becomes each of them by a fork.

    python fork_server.py LISTENER PIPE MODULE ...

Otherwise each worker imports torch and Ray for itself, which takes it seconds of a core and most of its memory; forks
share both. What it can't make a worker of it refuses, and the worker starts as Ray starts it: fork_worker.py.

LISTENER and PIPE are numbers of open files. Who asks before all is imported waits for it. The server ends when its
owner has: nobody has the other end of PIPE any more.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from cluster import fork_worker

VARIABLES = dict(os.environ)
# Variables that a library reads as it is imported. By the first two numpy and Arrow start no threads, which a fork
# would not have; by the third torch asks for GPUs without beginning to use one, which a fork could not go on with; and
# to a process that asks for no CPU Ray gives one thread.
AT_IMPORT = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "OMP_NUM_THREADS": VARIABLES.get("OMP_NUM_THREADS", "1"),
}
# For other values of these a worker needs imports of its own. Ray reads its own variables anew when told to.
READ_AT_IMPORT = (
    "LD_",
    "PYTHONPATH",
    "PYTHONHOME",
    "OMP_",
    "MKL_",
    "KMP_",
    "OPENBLAS_",
    "NUMBA_",
    "TORCH",
    "PYTORCH",
    "CUDA",
)
READ_S = 10.0
Request = dict[str, Any]


def main() -> None:
    own, pipe, *modules = sys.argv[1:]
    del sys.path[0]  # this file's folder, whose modules have general names
    listener = socket.socket(fileno=int(own))
    os.environ.update(AT_IMPORT)
    for module in modules:
        with suppress(Exception):  # it may be a program's that has yet to say where it is
            importlib.import_module(module)
    if len(os.listdir("/proc/self/task")) > 1 or _uses_gpu():
        sys.exit("one of the modules starts threads, or uses a GPU, as it is imported: no forks")
    gc.collect()
    gc.freeze()  # or the first collection of each worker would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if (request := _serve(listener, int(pipe))) is None:
        shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
    else:
        _become(request)


def _uses_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _serve(listener: socket.socket, pipe: int) -> Request | None:
    """What was asked for, in each worker; None in the server, when its owner has gone."""
    while True:
        ready, _, _ = select.select([listener.fileno(), pipe], [], [])
        if pipe in ready:
            return None
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(READ_S)
            files = list[int]()
            with suppress(OSError, ValueError):  # who asked has gone, or there is no room for a process
                request = _read(connection, files)
                if fits(request["variables"]) and _is_wanted(connection):
                    if not os.fork():
                        listener.close()
                        os.close(pipe)
                        return request
                    connection.send(fork_worker.DONE)
            for file in files:
                os.close(file)


def _read(connection: socket.socket, files: list[int]) -> Request:
    """`files` gets the asker's standard files, whatever becomes of the rest."""
    head, found, _, _ = socket.recv_fds(connection, 4, 3)
    files += found
    words, size = bytearray(), int.from_bytes(head, "big")
    while len(words) < size and (part := connection.recv(size - len(words))):
        words += part
    return {**cast(Request, json.loads(words)), "files": files}


def _is_wanted(connection: socket.socket) -> bool:
    """Who waited too long has started a worker in Ray's way: it must not be there twice."""
    connection.send(fork_worker.CAN)
    return connection.recv(1) == fork_worker.DO


def fits(variables: dict[str, str]) -> bool:
    """Whether a worker with these may have the imports of this process, which have read its own."""
    names = {name for name in {*variables, *VARIABLES} if name.startswith(READ_AT_IMPORT)}
    return all(variables.get(name) == VARIABLES.get(name) for name in names)


def _become(request: Request) -> None:
    """What a new process that runs Ray's worker would be, but for what is imported."""
    for standard, file in enumerate(request["files"]):
        os.dup2(file, standard)
        os.close(file)
    try:
        os.setpgid(0, request["group"])  # by which Ray ends what a worker leaves behind
    except PermissionError:  # of another session
        os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    if "ray" in sys.modules:
        from cluster import ray_private

        ray_private.read_environment_again()
    _draw_anew()
    script, *words = request["words"]
    sys.argv = [script, *words]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


def _draw_anew() -> None:
    """From the generators that a process seeds by chance as it imports them."""
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()


if __name__ == "__main__":
    main()
