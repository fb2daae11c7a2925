"""Writes docs/reference/commands.md from the dataclasses that tyro reads: python -m docs_site.commands"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import apex_ray.cli
import cluster.cli
import lstm.cli
import wavenet.cli
import wavenet.data_cli
from docs_site.pages import WRITTEN, cell, escaped, write

INTRO = """\
This page lists every command and option of the four programs in the package. `PROGRAM COMMAND --help` prints the same,
and `PROGRAM --version` the version.

The exit code is 0 on success, 2 after a mistake that you can correct, which one line explains
([errors](errors.md)), and 130 after Ctrl-C. `apex-cluster plan` ends with 1 if the run does not fit.
`apex-cluster submit` and `logs --follow` end with the exit code of the job.

Options may come before or after other words. A flag is `--flag` or `--no-flag`. RUN is the folder or URI of a run, the
beginning of its name, or `latest`. PRESET is the name of a preset or a `.yaml` file; KEY=VALUE is a
[setting](settings.md).

After `source <(apex-ray --tyro-print-completion bash)` the shell completes commands and options. The other programs can
do this too, and so can `zsh` and `tcsh`.
"""
ABOUT = {
    "apex-ray": "Training with Ape-X DQN, and everything about runs. Settings: [settings](settings.md).",
    "apex-cluster": "Jobs on a Ray cluster, of all trainers ([on a cluster](../cluster.md)).",
    "apex-lstm": "The LSTM's trainer ([LSTM](../lstm.md)). Settings: [settings of apex-lstm](settings_lstm.md).",
    "apex-wavenet": "WaveNet's trainer ([WaveNet](../wavenet.md)). Settings: [settings](settings_wavenet.md).",
}


@dataclass(frozen=True)
class Option:
    """An option or argument of a command, as its user writes it."""

    written: str
    default: str
    meaning: str
    positional: bool


def programs() -> dict[str, dict[str, type[Any]]]:
    """Commands by program and name; those of `apex-wavenet data` by both words."""
    data = {"speech": wavenet.data_cli.Speech, "piano": wavenet.data_cli.Piano, "align": wavenet.data_cli.Align}
    of_wavenet = {name: kind for name, kind in wavenet.cli.COMMANDS.items() if name != "data"}
    return {
        "apex-ray": apex_ray.cli.commands(["--help"]),  # those of plug-ins too
        "apex-cluster": dict(cluster.cli.COMMANDS),
        "apex-lstm": dict(lstm.cli.COMMANDS),
        "apex-wavenet": of_wavenet | {f"data {name}": kind for name, kind in data.items()},
    }


def options(command: type[Any]) -> Iterator[Option]:
    """Positional words first, then options, each in the order of the class."""
    hints, texts = get_type_hints(command, include_extras=True), docstrings(command)
    found = [_option(field, hints[field.name], texts.get(field.name, "")) for field in fields(command)]
    yield from sorted(found, key=lambda option: not option.positional)


def docstrings(command: type[Any]) -> dict[str, str]:
    """The text below each field, of the class and of those that it stands on."""
    texts: dict[str, str] = {}
    for kind in reversed(command.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(kind))
        except (OSError, TypeError):  # made by make_dataclass, or built in
            continue
        body = ast.parse(source).body[0]
        if not isinstance(body, ast.ClassDef):
            continue
        for name, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(name, ast.AnnAssign) and isinstance(name.target, ast.Name):
                said = text.value.value if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) else ""
                texts[name.target.id] = str(said)
    return texts


def usage(program: str, name: str, command: type[Any]) -> str:
    """The line of a command: its words in order, then [options]."""
    found = list(options(command))
    words = [option.written for option in found if option.positional]
    more = ["[OPTIONS]"] if any(not option.positional for option in found) else []
    trailing = ["-- COMMAND ..."] if getattr(command, "takes_trailing", False) else []
    return " ".join([program, name, *words, *more, *trailing])


def page() -> str:
    parts = ["# Commands", WRITTEN.format(command="docs_site.commands", source="the commands"), INTRO.strip()]
    for program, commands in programs().items():
        parts += [f"## {program}", ABOUT[program]]
        for name, command in commands.items():
            parts += _command(program, name, command)
    return "\n\n".join(parts) + "\n"


def _command(program: str, name: str, command: type[Any]) -> list[str]:
    about = [escaped(" ".join(part.split())) for part in inspect.cleandoc(command.__doc__ or "").split("\n\n")]
    rows = [
        f"| `{o.written.replace('|', chr(92) + '|')}` | {cell(o.default)} | {cell(o.meaning)} |"
        for o in options(command)
    ]
    table = ["| word or option | default | meaning |\n|---|---|---|\n" + "\n".join(rows)] if rows else []
    return [f"### {program} {name}", *about, f"```text\n{usage(program, name, command)}\n```", *table]


def _option(field: Field[Any], hint: Any, text: str) -> Option:
    marks, plain = _marks(hint)
    positional = any("positional" in repr(mark).lower() for mark in marks)
    given: Mapping[str, Any] = {}
    for mark in reversed(marks):  # the outermost wins
        if dataclasses.is_dataclass(mark):
            given = {**given, **{k: v for k, v in vars(mark).items() if v not in (None, "")}}
    metavar = str(given.get("metavar") or _values(plain))
    meaning = text or str(given.get("help") or "")
    default = _default(field)
    if positional:
        return Option(metavar or field.name.upper(), default, meaning, True)
    flag = plain is bool
    name = f"--{given.get('name', field.name)}".replace("_", "-")
    return Option(name if flag else f"{name} {metavar}", default, meaning, False)


def _marks(hint: Any) -> tuple[list[Any], Any]:
    """What Annotated says of a type, the outermost first, and the type itself."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        deeper, plain = _marks(inner)
        return [*reversed(more), *deeper], plain
    return [], hint


def _values(kind: Any) -> str:
    """What an option without a name of its own for its value takes."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return {int: "N", float: "NUMBER", str: "TEXT"}.get(kind, "")


def _default(field: Field[Any]) -> str:
    value = field.default
    if value is MISSING:
        return "must be given"
    if value in (None, "", ()):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`"


if __name__ == "__main__":
    write({"commands.md": page})
