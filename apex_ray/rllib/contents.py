"""A name for a function or class by what it does, the same in every process and wherever its source stands."""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import types
from typing import Any

import cloudpickle

# cloudpickle gives each class of a script a random name of 32 digits.
TRACKER = re.compile("[0-9a-f]{32}")


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Code without the file and the lines that it stands in."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.CodeType):
            return tuple, ((obj.co_code, obj.co_consts, obj.co_names, obj.co_varnames, obj.co_exceptiontable),)
        return super().reducer_override(obj)


def contents(thing: Any) -> str:
    """Eight digits that two objects share where they are pickled alike. Raises what pickling raises."""
    written = io.BytesIO()
    _Pickler(written).dump(thing)
    found = hashlib.sha256()
    memo: list[Any] = []
    last: Any = None
    named = ""  # the text before, such as the key of a mapping
    for opcode, given, _ in pickletools.genops(written.getvalue()):
        if opcode.name in ("FRAME", "PROTO"):
            continue
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        # Which of two equal texts are one object differs between processes, so each is written out.
        again = "GET" in opcode.name
        last = memo[int(given or 0)] if again else given if isinstance(given, str) else None
        value = last if again or last is not None else given
        if isinstance(value, str):
            if named == "__file__":
                value = ""
            named = value
            value = TRACKER.sub("", value.rpartition("<locals>.")[2])
        found.update(f"{'text' if isinstance(value, str) else opcode.name} {value!r}\n".encode())
    return found.hexdigest()[:8]
