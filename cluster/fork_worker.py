"""What Ray runs for each new worker, in place of its own script: a fork of the fork server, which has the imports.

A worker that needs more set up than variables, or one that the server does not make, starts as Ray starts it.
Every worker begins with this file, so it needs as little of Python as it can.
"""

import os
import sys

OWN_SCRIPT, SERVER = "APEX_RAY_WORKER_SCRIPT", "APEX_RAY_FORK_SERVER"  # Ray's own script, the server's socket
LANGUAGE, SET_UP = "--language=", "--serialized-runtime-env-context="  # are for Ray's script, the rest for its worker
ANSWER_S = 30.0  # Ray gives a worker a minute
# Said by turns, a byte each: the server can; who asked still wants it, and starts nothing else; it is made.
CAN, DO, DONE = b"?", b"!", b"."


def main() -> None:
    given = sys.argv[1:]
    if not forked(given):
        os.execv(sys.executable, [sys.executable, os.environ[OWN_SCRIPT], *given])


def forked(given: list[str]) -> bool:
    """Whether the server has made a worker of what Ray gives its script."""
    import json
    import signal
    import socket

    variables = dict[str, str]()
    for word in given:
        if word.startswith(SET_UP):
            context = json.loads(word.removeprefix(SET_UP))
            variables = context.pop("env_vars", None) or {}
            if context.pop("py_executable", None) not in (None, sys.executable) or any(context.values()):
                return False
    if f"{LANGUAGE}PYTHON" not in given or any("$" in value for value in variables.values()):  # Ray expands these
        return False
    request = {
        "words": [word for word in given if not word.startswith((LANGUAGE, SET_UP))],
        "variables": {**os.environ, **variables},
        "folder": os.getcwd(),
        "group": os.getpgrp(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    }
    words = json.dumps(request).encode()
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(ANSWER_S)
            server.connect(os.environ[SERVER])
            socket.send_fds(server, [len(words).to_bytes(4, "big")], [0, 1, 2])
            server.sendall(words)
            if server.recv(1) != CAN:
                return False
            server.settimeout(None)  # from here on it makes one, or ends the connection
            server.sendall(DO)
            return server.recv(1) == DONE
    except OSError:
        return False


if __name__ == "__main__":
    main()
