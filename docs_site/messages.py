"""Every message that a user can meet, read from the sources: what is said, with … for what differs.

A mistake that a user can correct is a UserError wherever it is found, so its messages are the arguments of the calls
that make one. Those of settings are ValueErrors in the schemas' validators.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from docs_site.pages import ROOT

PACKAGES = ("apex_ray", "cluster", "lstm", "trainkit", "wavenet")
GAP = "…"
# Who makes an error of its arguments, and which of them are its message.
MAKERS = {
    "UserError": (0,),
    "NotInstalledError": (0,),
    "NotWrittenError": (0,),
    "ProcessLostError": (0,),
    "os_errors": (0,),
    "unreachable": (0,),
}
# Whose ValueErrors reach the user as they are.
VALIDATORS = {
    "apex_ray/config/schema.py",
    "cluster/workers_config.py",
    "lstm/config.py",
    "trainkit/count_range.py",
    "trainkit/schedule.py",
    "wavenet/config.py",
}
# Functions that give a message.
GIVERS = {"no_pictures", "why_refused", "in_words", "_missing", "_mismatch"}


def messages() -> dict[str, list[str]]:
    """The files in which each message is made, by the message."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for message in _of_file(path, name):
                found.setdefault(message, []).append(name)
    return found


@cache
def _constants(path: Path) -> dict[str, str]:
    """Texts that a file gives names to, or takes from another of ours."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                found[node.targets[0].id] = node.value.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            other = ROOT / f"{str(node.module).replace('.', '/')}.py"
            if other.exists() and other != path:
                theirs = _constants(other)
                found |= {alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
    return found


def _of_file(path: Path, name: str) -> Iterator[str]:
    known = _constants(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Call):
            maker = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            at = MAKERS.get(maker, (0,) if maker == "ValueError" and name in VALIDATORS else ())
            texts = [node.args[i] for i in at if i < len(node.args)]
        elif isinstance(node, ast.FunctionDef) and node.name in GIVERS:
            returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return)]
            texts = [text for text in returned if text is not None and not _is_none(text)]
        for text in texts:
            for one in _alternatives(text):
                shown = _tidy(_said(one, known))
                if re.search(r"[a-z]{2,}", shown):  # else it is made elsewhere, and found there
                    yield shown


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _alternatives(node: ast.expr) -> list[ast.expr]:
    return [*_alternatives(node.body), *_alternatives(node.orelse)] if isinstance(node, ast.IfExp) else [node]


def _said(node: ast.expr, known: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return known.get(node.id, GAP)
    if isinstance(node, ast.FormattedValue):
        return _said(node.value, known) if isinstance(node.value, ast.Name | ast.Constant) else GAP
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part, known) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _said(node.left, known) + _said(node.right, known)
    return GAP


def _tidy(text: str) -> str:
    """One line; gaps side by side are one, and one at the end that tells of a nearest name is left out."""
    text = re.sub(rf"{GAP}(?:\.?{GAP})+", GAP, " ".join(text.split()))
    return re.sub(rf"\.{GAP}$", ".", text)
