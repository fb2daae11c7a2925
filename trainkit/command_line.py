"""What the console scripts have in common: words to a command, mistakes to one line and an exit code."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import select
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO, Union, cast

import tyro
from tyro.conf import Positional, arg, subcommand

from trainkit.errors import EXTRAS, UserError, did_you_mean, not_installed, os_errors
from trainkit.option_mistakes import in_one_line
from trainkit.run_record import installed
from trainkit.training_log import ByTime

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
# Arguments of the data-parallel trainers' commands.
_WORDS_HELP = "a preset's name or a .yaml file, then settings on top; the command config lists them"
Words = Annotated[
    Positional[tuple[str, ...]], arg(metavar="[PRESET] [KEY=VALUE ...]", help=_WORDS_HELP, help_behavior_hint="")
]
RunFolder = Annotated[Positional[str], arg(metavar="RUN", help="folder of a run", help_behavior_hint="")]


def run(
    prog: str,
    commands: Mapping[str, type[Any]],
    description: str,
    words: Sequence[str] | None = None,
    nested: Mapping[str, Collection[str]] | None = None,
) -> int:
    """Parse `words` (None: the process's own) into one of `commands`, call it, and return its exit code.

    `commands` are dataclasses by name, `nested` the names below some of them.

    0; 2 for a mistake that the user can correct, a full disk among them, told in one line, and after the help that no
    words get; 130 for Ctrl-C; 141 when who
    read the output, such as `head`, has gone. What follows `--` is handed as it is to a command with `takes_trailing`,
    and is a mistake for the others.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is spelled, such as \u2713
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", NOTICES)  # read when Ray is imported
    if words is None:
        atexit.register(gc.freeze)  # or its end looks at every object of torch again and again, for a second
    line, trailing = list(sys.argv[1:] if words is None else words), None
    if "--" in line:
        at = line.index("--")
        line, trailing = line[:at], line[at + 1 :]
    try:
        if line == ["--version"]:
            print(prog, installed("apex-ray") or "unknown (not installed)", flush=True)
            return 0
        known: Collection[str] | None = commands
        for word in line:
            if known is None or word.startswith("-"):
                break
            if word not in known:
                hint = did_you_mean(word, known)
                raise UserError(f"no command {word!r}; expected one of {', '.join(known)}.{hint}")
            known = (nested or {}).get(word)
        # Flags are written --flag or --no-flag, and may stand before other words.
        flags = [f"--{f.name}" for command in commands.values() for f in fields(command) if isinstance(f.default, bool)]
        parsed = _parsed(prog, commands, description, _options_last(line, flags), nested or {})
        if trailing is not None and not getattr(parsed, "takes_trailing", False):
            raise UserError(f"command line: {line[0]} takes no words after --")
        code = int(parsed() if trailing is None else parsed(trailing))
        sys.stdout.flush()
        return code
    except UserError as error:
        return _told(error)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _told(not_installed(error.name))
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
        return _told(f"{error.filename or 'a file'} can't be written: {error.strerror}")


def _parsed(
    prog: str,
    commands: Mapping[str, type[Any]],
    description: str,
    words: Sequence[str],
    nested: Collection[str],
) -> Callable[..., int]:
    """The command that `words` ask for. UserError for tyro's mistakes; SystemExit, with help printed, where it is asked
    for or there are no words.
    """
    choices = tuple(Annotated[command, subcommand(name)] for name, command in commands.items())
    one_of = cast(Any, Union[choices])  # noqa: UP007 - of a tuple
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            parsed: Callable[..., int] = cast(Any, tyro.cli)(
                one_of, prog=prog, description=description, args=words or ["--help"]
            )
    except SystemExit as ended:
        if not words:
            raise SystemExit(EXIT_MISTAKE) from None
        if not ended.code:
            raise
        command = None if words[0] in nested else commands.get(words[0])
        raise UserError(f"command line: {in_one_line(box.getvalue(), command, words)}") from None
    return parsed


def _told(mistake: object) -> int:
    """The exit code of a mistake, which the user is told."""
    print(f"error: {mistake}", file=sys.stderr)
    return EXIT_MISTAKE


def say(text: str, stream: TextIO | None = None) -> None:
    """A line for the user, with the time of day; `stream` None: standard output."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=stream, flush=True)


def say_aside() -> ByTime:
    """Lines now and then, beside a result on standard output."""
    return ByTime(partial(say, stream=sys.stderr), stream=sys.stderr)


def at_least(option: str, value: float, least: float) -> None:
    """UserError for a lower value of an option."""
    if not value >= least:
        raise UserError(f"command line: {option} {value:g}: expected at least {least:g}")


def output_file(option: str, given: str) -> Path:
    """The path of a file to write, its folder made. UserError, with the option, where it can't be written."""
    path = Path(given).expanduser()
    with os_errors(f"command line: {option} {given!r} can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        path.open("ab").close()
        if not there:
            path.unlink()  # until there is something to write
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
