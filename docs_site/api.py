"""Writes docs/reference/api.md from signatures, docstrings and the comments beside fields: python -m docs_site.api

The sources are read, not imported: neither torch nor Ray is loaded.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from docs_site.docstrings import as_markdown
from docs_site.pages import ROOT, WRITTEN, cell, write

INTRO = """\
This page lists the names that programs may rely on. `import apex_ray` loads neither torch nor Ray; a name is imported
when it is first used. Letters in shapes mean: E environments stepped together, B samples of a batch, S stacked frames,
F the shape of a frame, A actions, T steps of a chunk, n steps of a return.

A mistake that a user can correct raises `trainkit.errors.UserError`, with the message that the command line prints
([errors](errors.md)).
"""


@dataclass(frozen=True)
class Shown:
    """A class or function of a module, as the page has it."""

    name: str  # package.module:name
    called: str = ""  # as users import it; "": by its own name
    methods: tuple[str, ...] | None = None  # of a class; None: all public ones
    attributes: bool = True  # of a class

    @property
    def module(self) -> str:
        return self.name.partition(":")[0]

    @property
    def title(self) -> str:
        return self.called or self.name.replace(":", ".")


# Heading, what the part is about, what it shows.
PARTS: list[tuple[str, str, list[Shown]]] = [
    (
        "apex_ray",
        "Training, playing and measuring from Python.",
        [
            Shown("apex_ray.config.load:load", "apex_ray.load_config"),
            Shown("apex_ray.run.training:train", "apex_ray.train"),
            Shown("apex_ray.policy:load_policy", "apex_ray.load_policy"),
            Shown("apex_ray.evaluation:evaluate_run", "apex_ray.evaluate"),
            Shown("apex_ray.tuning.trainable:trainable", "apex_ray.trainable"),
            Shown("apex_ray.config.schema:ApexConfig", "apex_ray.ApexConfig", (), attributes=False),
        ],
    ),
    (
        "What these give",
        "Every setting of `ApexConfig` is in [settings](settings.md).",
        [
            Shown("trainkit.config:Loaded"),
            Shown("apex_ray.run.loop:Outcome"),
            Shown("apex_ray.policy:Policy"),
            Shown("apex_ray.types:EvaluationResult"),
            Shown("apex_ray.envs.rollout:Episodes"),
        ],
    ),
    (
        "Environments of your own",
        "A `gymnasium.Env` needs nothing of this ([environments](../environments.md)). A package that brings a whole "
        "family of environments has a `Plugin`.",
        [
            Shown("apex_ray.config.plugins:Plugin"),
            Shown("apex_ray.config.plugins:TrainOptions"),
            Shown("apex_ray.envs.base:VectorEnv"),
            Shown("apex_ray.types:EnvSpec"),
            Shown("apex_ray.types:Leaf"),
            Shown("apex_ray.types:Step"),
        ],
    ),
    (
        "Agents, objectives and networks of your own",
        "How they are named and given to a run is in [agents](../agents.md).",
        [
            Shown("apex_ray.agent.contract:Agent"),
            Shown("apex_ray.agent.contract:Loss"),
            Shown("apex_ray.fields:Field"),
            Shown("apex_ray.agent.q_learning:QLearning", methods=()),
            Shown("apex_ray.agent.q_learning:Transitions"),
            Shown("apex_ray.agent.recurrent:Recurrent", methods=()),
        ],
    ),
    ("Loggers of your own", "Named in `report.loggers`.", [Shown("apex_ray.report.loggers:Logger")]),
    (
        "apex_ray.rllib",
        "For programs written for RLlib ([coming from another library](../migration.md)). Importing it registers the "
        'names `"APEX"` and `"APEX_DQN"` with Ray Tune.',
        [
            Shown(
                "apex_ray.rllib.config:ApexDQNConfig",
                "apex_ray.rllib.ApexDQNConfig",
                ("apex", "api_stack", "overrides", "of_run", "to_settings"),
            ),
            Shown("apex_ray.rllib.algorithm:ApexDQN", "apex_ray.rllib.ApexDQN"),
            Shown("apex_ray.rllib.module:ApexModule"),
            Shown("apex_ray.rllib.experiments:from_yaml", "apex_ray.rllib.from_yaml"),
            Shown("apex_ray.rllib.__init__:register", "apex_ray.rllib.register"),
        ],
    ),
    (
        "Ray Tune",
        "How to sweep is in [many runs](../tune.md).",
        [Shown("apex_ray.tuning.trainable:ApexTrainable", methods=("settings",))],
    ),
    ("Errors", "", [Shown("trainkit.errors:UserError"), Shown("trainkit.errors:NotWrittenError")]),
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    parts = ["# Python API", WRITTEN.format(command="docs_site.api", source="the docstrings"), INTRO.strip()]
    for heading, about, shown in PARTS:
        parts += [f"## {heading}", *([about] if about else [])]
        for one in shown:
            parts += _section(one)
    return "\n\n".join(parts) + "\n"


def _section(one: Shown) -> Iterator[str]:
    node = _found(one)
    yield f"### {one.title}"
    if isinstance(node, ast.ClassDef):
        yield from _class(one, node)
    else:
        yield _code(signature(node, one.title.rpartition(".")[2]))
        yield from as_markdown(_doc(node))


def _class(one: Shown, node: ast.ClassDef) -> Iterator[str]:
    module = one.module
    importing = (
        f"from {one.called.rpartition('.')[0]} import {node.name}"
        if one.called
        else f"from {module} import {node.name}"
    )
    yield _code(importing)
    yield from as_markdown(_doc(node))
    rows = list(_fields(module, node)) if one.attributes else []
    if rows:
        yield "| attribute | type | meaning |\n|---|---|---|\n" + "\n".join(rows)
    for method in node.body:
        if not isinstance(method, Function) or not _public(method, one.methods):
            continue
        text = _doc(method)
        if isproperty(method):
            yield f"**`{method.name}`**: " + " ".join(as_markdown(text) or ["a property."])
        else:
            yield _code(signature(method, method.name))
            yield from as_markdown(text)


def signature(node: Function, name: str) -> str:
    """As it is written, a line for each argument where it is long; self and cls are left out."""
    args = ast.parse(ast.unparse(node.args).join(("def _(", "): ..."))).body[0]
    assert isinstance(args, ast.FunctionDef)
    first = (args.args.posonlyargs + args.args.args)[:1]
    if first and first[0].arg in ("self", "cls"):
        (args.args.posonlyargs or args.args.args).pop(0)
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parts = [re.sub(r"^(\**\w+: [^=]*)=", r"\1 = ", part) for part in _split(ast.unparse(args.args))]
    line = f"{name}({', '.join(parts)}){gives}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){gives}"


def _split(arguments: str) -> list[str]:
    """At commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(arguments):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(arguments[start:at].strip())
            start = at + 1
    return [*parts, arguments[start:].strip()]


def _fields(module: str, node: ast.ClassDef) -> Iterator[str]:
    """A row for each annotated attribute; its meaning is the comment beside it."""
    lines = _source(module).splitlines()
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            comment = re.search(r"  # (.*)$", lines[(item.end_lineno or item.lineno) - 1])
            if "description" in ast.unparse(item):
                continue  # a setting, which has a page of its own
            said = comment[1] if comment and "type: ignore" not in comment[1] else ""
            kind = ast.unparse(item.annotation).replace("|", r"\|")
            yield f"| `{item.target.id}` | `{kind}` | {cell(said)} |"


def _public(method: Function, wanted: tuple[str, ...] | None) -> bool:
    if wanted is not None:
        return method.name in wanted
    return method.name == "__call__" or (not method.name.startswith("_") and bool(_doc(method) or _bare(method)))


def _bare(method: Function) -> bool:
    """Of a protocol: a method whose body is an ellipsis."""
    last = method.body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...


def isproperty(method: Function) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property" for d in method.decorator_list)


def _doc(node: ast.ClassDef | Function) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _found(one: Shown) -> ast.ClassDef | Function:
    name = one.name.partition(":")[2]
    for node in ast.parse(_source(one.module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"{one.name} is no class or function of that module")


@cache
def _source(module: str) -> str:
    path = ROOT / (module.replace(".", "/") + ".py")
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    write({"api.md": page})
