"""The loader: values, where they came from, and one clear message for every mistake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from trainkit.config import format_resolved, load_config, to_yaml
from trainkit.config_yaml import compose, construct, dump, read_mapping
from trainkit.errors import UserError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Memory(Section):
    width: int = 8


class Learner(Section):
    batch_size: PositiveInt = 32
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    optimizer: Literal["rmsprop", "adam"] = "adam"
    layers: tuple[PositiveInt, ...] = (4, 4)
    compile: bool = False
    limit: float | None = 1.0
    memory: Memory | None = None


class Actors(Section):
    count: PositiveInt | Literal["auto"] = "auto"
    threads: int = 1


class Env(Section):
    id: str = Field(description="a Gymnasium id")
    threads: int = 1
    kwargs: dict[str, Any] = Field(default_factory=dict)


class Config(Section):
    name: str = "run"
    env: Env
    learner: Learner = Learner()
    actors: Actors = Actors()

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.learner.batch_size > 1000 * self.actors.threads:
            raise ValueError("learner.batch_size needs more actors.threads")
        return self


BASE = "env:\n  id: base\nlearner:\n  batch_size: 64\n  layers: [1, 2, 3]\n"


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "pong.yaml").write_text("extends: base\nname: pong\n\nlearner:\n  layers: [16]\n")
    return tmp_path


def load(presets: Path, *overrides: str) -> Config:
    return load_config(Config, presets, "pong", overrides).config


def message(presets: Path, preset: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(Config, presets, preset, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_extends_merges_sections_and_replaces_lists(presets: Path) -> None:
    config = load(presets)
    assert (config.name, config.env.id) == ("pong", "base")
    assert (config.learner.batch_size, config.learner.layers) == (64, (16,))


def test_sources_name_the_line_that_won(presets: Path) -> None:
    sources = load_config(Config, presets, "pong", ["actors.count=3"]).sources
    assert sources["name"] == "pong.yaml:2"
    assert sources["learner.layers"] == "pong.yaml:5"
    assert sources["learner.batch_size"] == "base.yaml:4"
    assert sources["actors.count"] == "command line"
    assert sources["learner.limit"] == "default"
    assert "learner" not in sources


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("learner.learning_rate=1e-4", "learning_rate", 1e-4),
        ("learner.learning_rate=.5", "learning_rate", 0.5),
        ("learner.batch_size=1_000", "batch_size", 1000),
        ("learner.limit=null", "limit", None),
        ("learner.layers=[16,32]", "layers", (16, 32)),
        ("learner.compile=yes", "compile", True),
        ("learner.memory={width: 3}", "memory", Memory(width=3)),
        ("learner.memory.width=5", "memory", Memory(width=5)),
        ("learner={batch_size: 7}", "batch_size", 7),
    ],
)
def test_overrides_are_yaml(presets: Path, override: str, key: str, expected: object) -> None:
    value = getattr(load(presets, override).learner, key)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize("byte", [b"\xe9", b"\x07"])
def test_a_setting_that_yaml_can_t_hold_is_told(presets: Path, byte: bytes) -> None:
    with pytest.raises(UserError, match=r"not valid YAML: character 4 of .* is a control character or no UTF-8"):
        load(presets, "name=caf" + os.fsdecode(byte))


def test_a_control_character_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\nname: caf\x07e\n" + "# more\n" * 50)
    with pytest.raises(UserError) as error:
        read_mapping(tmp_path / "mine.yaml", "mine.yaml")
    assert "mine.yaml:2: not valid YAML: character 10 of 'name: caf\\x07e' is a control character" in str(error.value)


def test_last_override_wins_and_null_clears_an_optional_section(presets: Path) -> None:
    assert load(presets, "actors.count=1", "actors.count=2").actors.count == 2
    assert load(presets, "learner.memory.width=5", "learner.memory=null").learner.memory is None


def test_free_mapping_takes_deeper_keys_as_numbers(presets: Path) -> None:
    config = load(presets, "env.kwargs.gravity=1e-4", "env.kwargs.mode=on", "name=a=b:c")
    assert config.env.kwargs == {"gravity": 1e-4, "mode": "on"}
    assert config.name == "a=b:c"


def test_path_and_extends_by_path(presets: Path, tmp_path: Path) -> None:
    mine = tmp_path / "sub" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("extends: ../pong.yaml\nactors:\n  count: 5\n")
    loaded = load_config(Config, presets, mine)
    assert loaded.config.actors.count == 5 and loaded.config.name == "pong"
    assert loaded.sources["actors.count"] == f"{mine}:3"


@pytest.mark.parametrize(
    "text", ["1e-4", "on", "null", "010", "12:30", "", "a: b", "é", "[x", "1_0", "~", "2026-01-01"]
)
def test_text_round_trips(presets: Path, tmp_path: Path, text: str) -> None:
    node = compose(dump({"x": [text]}), "here")
    assert node is not None and construct(node, "here", "x") == {"x": [text]}


def test_to_yaml_round_trips(presets: Path, tmp_path: Path) -> None:
    config = load(presets, "learner.learning_rate=1e-7", "name='1e-4'", "env.kwargs={a: [1, x], b: 'no'}")
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(Config, presets, tmp_path / "config.yaml").config == config


def test_format_resolved_is_one_aligned_line_a_key(presets: Path) -> None:
    lines = format_resolved(load_config(Config, presets, "pong", ["actors.count=3"])).splitlines()
    assert any(line.split() == ["actors.count", "=", "3", "#", "command", "line"] for line in lines)
    assert len({line.index("=") for line in lines}) == len({line.index(" # ") for line in lines}) == 1
    assert any(line.split()[:3] == ["learner.memory", "=", "null"] for line in lines)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("lerner.batch_size=3", ["command line", "'lerner.batch_size'", "Did you mean 'learner.batch_size'?"]),
        ("learner.batchsize=3", ["Did you mean 'learner.batch_size'?"]),
        ("batch_size=3", ["Did you mean 'learner.batch_size'?"]),
        ("batchsize=3", ["Did you mean 'learner.batch_size'?"]),
        ("actors.batch_size=3", ["Did you mean 'learner.batch_size'?"]),
        ("threads=3", ["'env.threads' or 'actors.threads'"]),
        ("thread=3", ["'env.threads' or 'actors.threads'"]),
        ("actor.threads=3", ["Did you mean 'actors.threads'?"]),
        ("learnr={}", ["Did you mean 'learner'?"]),
        ("xyzzy=3", ["unknown key 'xyzzy'", "name, env, learner, actors"]),
        ("learner.batch_size=abc", ["command line: learner.batch_size = 'abc'", "a whole number"]),
        ("learner.batch_size=1.5", ["= 1.5", "a whole number"]),
        ("learner.batch_size=0", ["= 0", "more than 0"]),
        ("learner.learning_rate=1", ["less than 1"]),
        ("learner.learning_rate=fast", ["'fast'", "expected a number"]),
        ("learner.limit=x", ["a number or null"]),
        ("learner.limit=true", ["= true", "not true or false"]),
        ("learner.limit=nan", ["finite"]),
        ("learner.compile=maybe", ["true or false"]),
        ("learner.optimizer=adm", ["'rmsprop' or 'adam'", "Did you mean 'adam'?"]),
        ("learner.layers=[1, 0]", ["[1, 0]", "item 2 more than 0"]),
        ("learner.layers=3", ["a list"]),
        ("actors.count=many", ["a whole number or 'auto'"]),
        ("name=3", ["expected text", "quotes"]),
        ("learner=3", ["learner is a section", "learner.batch_size"]),
        ("learner=null", ["learner is a section"]),
        ("learner.batch_size.x=3", ["learner.batch_size is a value"]),
        ("learner.batch_size", ["'learner.batch_size' has no '='", "key=value"]),
        ("=3", ["key=value"]),
        ("name=", ["the value is missing"]),
        ("name=[a", ["not valid YAML"]),
        ("env.kwargs={a: 1, a: 2}", ["'a' is set twice"]),
        ("name=!!python/object:os.system x", ["no plain value"]),
        (
            "learner.batch_size=2000",
            ["needs more", "learner.batch_size from command line", "actors.threads from default"],
        ),
    ],
)
def test_mistakes_in_overrides(presets: Path, override: str, parts: list[str]) -> None:
    text = message(presets, "pong", override)
    assert [part for part in parts if part not in text] == [], text


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"extends: base\nlearner:\n  batch_size: abc\n", ["bad.yaml:3: learner.batch_size = 'abc'", "a whole number"]),
        (b"name: x\nlerner:\n  batch_size: 1\n", ["bad.yaml:2: unknown key 'lerner'", "'learner'"]),
        (b"learner:\n  batchsize: 1\n", ["bad.yaml:2", "'learner.batch_size'"]),
        (b"learner: 3\n", ["bad.yaml:1", "learner is a section"]),
        (b"learner.batch_size: 3\n", ["bad.yaml:1", "indented below their section"]),
        (b"name: a\nenv: {id: x}\nname: b\n", ["bad.yaml:3: 'name' is set twice, first on line 1"]),
        (b"learner:\n  compile: true\n  compile: true\n", ["bad.yaml:3: 'compile' is set twice"]),
        (b"name: a\n\tx: 1\n", ["bad.yaml:2: not valid YAML"]),
        (b"name: a\nenv: [1\n", ["bad.yaml:3: not valid YAML"]),
        (b"name: a\nenv: \xff\n", ["bad.yaml:2: not UTF-8", "0xff"]),
        (b"", ["bad.yaml: the file is empty"]),
        (b"# only a comment\n", ["bad.yaml: the file is empty"]),
        (b"- a\n", ["bad.yaml:1: expected a mapping"]),
        (b"a: 1\n---\nb: 1\n", ["bad.yaml:2: not valid YAML"]),
        (b"name: x\n", ["bad.yaml: env.id is not set", "a Gymnasium id"]),
        (b"extends: pog\n", ["bad.yaml:1: extends: unknown preset 'pog'", "'pong'"]),
        (b"extends: [a]\n", ["bad.yaml:1: extends: expected one"]),
        (b"extends: bad\n", ["bad.yaml:1: extends goes in a circle: bad.yaml extends bad.yaml"]),
        (b"[a, b]: 1\n", ["bad.yaml:1", "is no key"]),
    ],
)
def test_mistakes_in_files(presets: Path, content: bytes, parts: list[str]) -> None:
    (presets / "bad.yaml").write_bytes(content)
    text = message(presets, "bad")
    assert [part for part in parts if part not in text] == [], text


def test_longer_circle_is_refused(presets: Path) -> None:
    (presets / "a.yaml").write_text("extends: b\n")
    (presets / "b.yaml").write_text("extends: a\n")
    assert "a.yaml extends b.yaml extends a.yaml" in message(presets, "a")


def test_unknown_preset_and_missing_files(presets: Path) -> None:
    assert "unknown preset 'pogn'. Did you mean 'pong'? The presets are: base, pong" in message(presets, "pogn")
    assert "no such file: 'pong.yaml'. Did you mean 'pong'?" in message(presets, "pong.yaml")
    assert "Did you mean" in message(presets, str(presets / "poong.yaml"))
    assert "is a folder" in message(presets, str(presets))
