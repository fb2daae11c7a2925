"""The reference is that of the code: every setting, command, option, metric, name and message is in it."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import apex_ray
import apex_ray.cli
import cluster.cli
import lstm.cli
import wavenet.cli
from apex_ray.config.plugins import plugins
from apex_ray.config.schema import ApexConfig
from apex_ray.report.metrics import METRICS
from docs_site.__main__ import PAGES
from docs_site.commands import options, programs
from docs_site.errors import Cure, cures
from docs_site.messages import messages
from docs_site.pages import FOLDER, escaped
from lstm.config import LstmConfig
from trainkit.config_schema import Schema
from wavenet.config import WaveNetConfig

ROOT = Path(__file__).parents[2]
ROWS = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)
# Messages that are put together of parts in different functions, which reading the sources does not show whole.
PUT_TOGETHER = {
    "… = …: the folder does not exist.",
    "… = …: is a file; expected the folder that it lies in",
    "…: no checkpoint can be used to go on from: …",
    "… can't be reached (…); expected auto, host:port, ray://host:port, or local for a Ray of this run's own",
}


def page(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert page(name) == PAGES[name](), "run: python -m docs_site"


@pytest.mark.parametrize(
    ("name", "model"),
    [("settings.md", ApexConfig), ("settings_lstm.md", LstmConfig), ("settings_wavenet.md", WaveNetConfig)],
)
def test_every_setting_is_there_with_what_it_means(name: str, model: type[Any]) -> None:
    rows = dict(ROWS.findall(page(name)))
    leaves = set(Schema(model).leaves)
    own = {f"env.kwargs.{key}" for plugin in plugins().values() for key in plugin.settings.model_fields}
    assert set(rows) == leaves | (own if model is ApexConfig else set())
    for key, row in rows.items():
        meaning, default, kind, *_ = (part.strip() for part in re.split(r"(?<!\\)\|", row))
        assert kind and default and meaning, f"{key}: a type, a default and a description are needed in the schema"


def test_every_metric_is_there() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == set(METRICS)


MAINS: dict[str, Callable[[list[str]], int]] = {
    "apex-ray": apex_ray.cli.main,
    "apex-cluster": cluster.cli.main,
    "apex-lstm": lstm.cli.main,
    "apex-wavenet": wavenet.cli.main,
}
COMMANDS = [(program, name) for program, of in programs().items() for name in of]


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_command_is_there_with_the_options_that_its_help_shows(program: str, name: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        MAINS[program]([*name.split(), "--help"])
    shown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", out.getvalue())) - {"--help"}
    shown = {flag for flag in shown if not flag.startswith("--no-")}
    command = programs()[program][name]
    ours = {option.written.split()[0] for option in options(command) if not option.positional}
    about = inspect.getdoc(command) or ""
    assert ours <= shown and shown - ours <= set(re.findall(r"--[a-z-]+", about)), "of tyro's help and of the page"
    part = page("commands.md").split(f"### {program} {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert all(f"| `{option.written.replace('|', chr(92) + '|')}` |" in part for option in options(command))
    assert all(option.meaning for option in options(command)), "a docstring below the field says what it is"


def test_every_program_has_all_its_commands() -> None:
    found = programs()
    assert set(found["apex-ray"]) == set(apex_ray.cli.commands(["--help"]))
    assert set(found["apex-cluster"]) == set(cluster.cli.COMMANDS)
    assert set(found["apex-lstm"]) == set(lstm.cli.COMMANDS)
    data = {name for name in found["apex-wavenet"] if name.startswith("data ")}
    assert data == {f"data {kind}" for kind in wavenet.data_cli.KINDS}
    assert {*found["apex-wavenet"]} - data == set(wavenet.cli.COMMANDS) - {"data"}


def test_every_public_name_is_there() -> None:
    text = page("api.md")
    for name in apex_ray.__all__:
        assert f"### apex_ray.{name}\n" in text
    exported = re.search(r"__all__ = \[(.*?)\]", (ROOT / "apex_ray/rllib/__init__.py").read_text(), re.DOTALL)
    assert exported
    for name in re.findall(r'"(\w+)"', exported[1]):
        assert f"### apex_ray.rllib.{name}\n" in text or name == "NAMES"


def test_every_message_has_a_cure() -> None:
    """A new message of a UserError needs a line in docs_site/cures.txt."""
    found = cures()
    without = {text: where for text, where in messages().items() if not any(c.pattern.match(text) for c in found)}
    assert without == {}


def test_every_cure_is_of_a_message_that_there_is() -> None:
    said = messages()
    stale = [c.message for c in cures() if not any(c.pattern.match(text) for text in said)]
    assert set(stale) == PUT_TOGETHER
    assert len({c.message for c in cures()}) == len(cures()), "each message once"


def distinctive(cure: Cure) -> bool:
    """Whether enough of a message is its own for its user to find it by."""
    return len(cure.message.replace("…", "")) >= 10


def test_what_users_saw_of_bad_inputs_is_found() -> None:
    """Every error of results/bad_inputs: the page has its words."""
    found = [c for c in cures() if distinctive(c)]
    with (ROOT / "results/bad_inputs/table.csv").open(encoding="utf-8") as file:
        said = [row["what is said"].removeprefix("error: ") for row in csv.DictReader(file) if row["exit code"] == "2"]
    assert len(said) > 100
    assert [text for text in said if not any(c.said.search(text) for c in found)] == []


def test_what_is_written_means_itself() -> None:
    assert escaped("a [B, *F] of `x[*]` and <y>, not_me _me_") == r"a \[B, \*F\] of `x[*]` and &lt;y&gt;, not_me \_me\_"
