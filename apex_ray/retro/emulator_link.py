"""Messages between retro/envs.py and an emulator's process, over a stream socket.

A step comes hundreds of times a second for every emulator, and system calls are what it costs: it is one byte, and what
it came to is six unless an episode ended. Everything else is pickled behind its length.
"""

from __future__ import annotations

import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

from apex_ray.retro.stage_end import StageEnd

MAX_ACTIONS = 255  # one value of the byte says that a pickled command follows
_COMMAND = bytes((MAX_ACTIONS,))
_LENGTH = struct.Struct("<I")
_PLAIN = struct.Struct("<BfB")  # 0; reward; flags
_PICKLED = struct.Struct("<BIx")  # 1; length; as long as _PLAIN, so that both are read at once


@dataclass(frozen=True)
class Answer:
    """What a step came to."""

    reward: float
    terminated: bool
    truncated: bool
    life_lost: bool
    end: StageEnd | None = None  # of an episode that ended


class Link:
    """One end. EOFError or OSError when the other is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def step(self, action: int) -> None:
        """Ask an emulator for an agent step; `answer` has what it came to."""
        self._socket.send(bytes((action,)))

    def ask(self, *command: Any) -> None:
        """Ask an emulator for anything else."""
        body = pickle.dumps(command)
        self._socket.sendall(_COMMAND + _LENGTH.pack(len(body)) + body)

    def answer(self) -> Any:
        """What an emulator answers to what was asked first."""
        head = self._read(_PLAIN.size)
        if head[0]:
            return pickle.loads(self._read(_PICKLED.unpack(head)[1]))
        _, reward, flags = _PLAIN.unpack(head)
        return Answer(reward, bool(flags & 1), bool(flags & 2), bool(flags & 4))

    def command(self) -> tuple[Any, ...]:
        """What an emulator is asked for: (command, *arguments)."""
        head = self._read(1)
        if head != _COMMAND:
            return ("step", head[0])
        command: tuple[Any, ...] = pickle.loads(self._read(_LENGTH.unpack(self._read(_LENGTH.size))[0]))
        return command

    def reply(self, answer: Any) -> None:
        """Answer what was asked."""
        if isinstance(answer, Answer) and answer.end is None:
            flags = answer.terminated | answer.truncated << 1 | answer.life_lost << 2
            self._socket.send(_PLAIN.pack(0, answer.reward, flags))
        else:
            body = pickle.dumps(answer)
            self._socket.sendall(_PICKLED.pack(1, len(body)) + body)

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytes:
        data = self._socket.recv(size, socket.MSG_WAITALL)
        while len(data) < size:  # a signal came between
            more = self._socket.recv(size - len(data), socket.MSG_WAITALL)
            if not more:
                raise EOFError
            data += more
        return data
