"""`apex-ray env`: what a bug report needs, also where something is missing or broken."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import psutil
import pytest

from apex_ray.cli import main
from apex_ray.report import machine
from trainkit.words import size


def test_it_says_what_is_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["env"]) == 0
    found = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    found = {name: value.strip() for name, value in found.items()}
    for package in ("ray", "torch", "numpy", "ale-py"):
        assert found[package] == version(package)
    assert f"{len(os.sched_getaffinity(0))} core" in found["CPU"]
    assert found["memory"].startswith(size(psutil.virtual_memory().total))
    assert found["Atari games"] == "104 that ale-py brings"
    assert "retro" in found["plug-ins"] and found["Python"] == sys.version.split()[0]


def test_an_address_is_its_users_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "secret.example:6379")
    lines = machine.lines()
    assert not [line for line in lines if "secret" in line]
    assert [line.split() for line in lines if "RAY_ADDRESS" in line] == [["RAY_ADDRESS", "set"]]


def test_what_is_broken_is_told_and_the_rest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "ale_py", None)
    found = dict(machine.facts())
    assert "torch can't be imported: ModuleNotFoundError" in found["torch's devices"]
    assert "ale-py can't be imported" in found["Atari games"]
    assert found["plug-ins"]
