"""What the console scripts have in common: words to a command, mistakes to one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import select
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import tyro

from trainkit.errors import UserError, did_you_mean

# Ray prints these among our lines, one for each process, though our own say which was lost and what becomes of it:
# those of apex-ray's supervisor, and Ray Train's.
NOTICES = (
    "A worker died or was killed while executing a task|has been marked dead because the detector|"
    "retries remaining, so the task will be retried"
)
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # an error of the disk, not of the program
EXIT_NO_READER = 141  # as of a program that SIGPIPE ends


def run(
    prog: str,
    command: Any,
    names: Sequence[str],
    description: str,
    words: Sequence[str],
    flags: Collection[str] = (),
    nested: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """Parse `words` into one of the subcommands `command`, call it, and return its exit code.

    `names` are those of the subcommands, `nested` those below some of them.

    0; 2 for a mistake that the user can mend, a full disk among them, told in one line; 130 for Ctrl-C; 141 when who
    read the output, such as `head`, has gone. What follows `--` is handed as it is to a command with `takes_trailing`,
    and is a mistake for the others. Flags are written --flag or --no-flag; `flags` are those that may stand before
    other words.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is spelled, such as \u2713
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", NOTICES)  # read when Ray is imported
    own, trailing = list(words), None
    if "--" in own:
        at = own.index("--")
        own, trailing = own[:at], own[at + 1 :]
    try:
        if own == ["--version"]:
            print(f"{prog} {_version()}", flush=True)
            return 0
        known: Sequence[str] | None = names
        for word in own:
            if known is None or word.startswith("-"):
                break
            if word not in known:
                hint = did_you_mean(word, known)
                raise UserError(f"no command {word!r}; expected one of {', '.join(known)}.{hint}")
            known = (nested or {}).get(word)
        parsed: Callable[..., int] = cast(Any, tyro.cli)(
            command, prog=prog, description=description, args=_options_last(own, flags)
        )
        if trailing is not None and not getattr(parsed, "takes_trailing", False):
            raise UserError(f"command line: {own[0]} takes no words after --")
        code = int(parsed() if trailing is None else parsed(trailing))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        if not any(event & select.POLLERR for _, event in output.poll(0)):
            raise  # it was another pipe
        # What is still in the buffer goes nowhere when Python flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"error: {error.filename or 'a file'} can't be written: {error.strerror}", file=sys.stderr)
        return EXIT_MISTAKE


def output_file(option: str, given: str) -> Path:
    """The path of a file to write, its folder made. UserError, with the option, where it can't be written."""
    path = Path(given).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        path.open("ab").close()
        if not there:
            path.unlink()  # until there is something to write
    except OSError as error:
        raise UserError(f"command line: {option} {given!r} can't be written: {error.strerror or error}") from None
    return path


def program(name: str) -> str:
    """What to type for a program of this environment: its name where the shell finds it by that, else its path."""
    ours, found = Path(sys.executable).with_name(name), shutil.which(name)
    if not ours.exists() or (found is not None and Path(found).absolute() == ours.absolute()):
        return name
    here = os.path.relpath(ours)
    return shlex.quote(here if not here.startswith(os.pardir) else str(ours))


def next_steps(name: str, steps: Mapping[str, Sequence[str]]) -> str:
    """What can be done after a run: a line for each of `steps`, what it does and the words after our program `name`."""
    width = max(map(len, steps))
    return "\n".join(f"{what:{width}}  {program(name)} {shlex.join(words)}" for what, words in steps.items())


def _version() -> str:
    try:
        return version("apex-ray")
    except PackageNotFoundError:  # run from a source folder
        return "unknown (not installed)"


def _options_last(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """`--option value` pairs after the positional words: tyro wants the words of one argument side by side."""
    plain: list[str] = []
    options: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            plain.append(word)
            continue
        options.append(word)
        flag = "=" in word or word in ("-h", "--help", *flags) or word.startswith("--no-")
        if not flag and rest and not rest[0].startswith("--"):  # a flag may stand before another option
            options.append(rest.pop(0))
    return plain + options
