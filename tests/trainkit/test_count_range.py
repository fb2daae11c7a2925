"""One way to say how many processes: read in two spellings, written in one, in every trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from apex_ray.config.load import load as load_apex
from lstm.config import PRESETS as LSTM
from trainkit.config import format_resolved, load_config, to_yaml
from trainkit.count_range import CountRange
from trainkit.errors import UserError
from trainkit.section import Section
from wavenet.config import PRESETS as WAVENET

TRAINERS = [
    pytest.param(load_apex, ["pong"], "actors.count", id="apex-ray"),
    pytest.param(LSTM.load, ["adding", "training.batch=64"], "workers.count", id="apex-lstm"),
    pytest.param(WAVENET.load, ["folder", "data.folder=x", "training.batch=64"], "workers.count", id="apex-wavenet"),
]


@pytest.mark.parametrize(("load", "words", "key"), TRAINERS)
@pytest.mark.parametrize(("given", "range_", "written"), [
    ("2-8", (2, 8), "2-8"), ("[2, 8]", (2, 8), "2-8"), ("[2, 2]", (2, 2), "2-2"), ("8", (8, 8), "8"),
])  # fmt: skip
def test_a_number_or_a_range(load, words, key, given: str, range_, written: str, tmp_path: Path) -> None:
    preset, *settings = words
    loaded = load(preset, [*settings, f"{key}={given}"])
    section = getattr(loaded.config, key.partition(".")[0])
    assert section.range == range_ and isinstance(section.range, CountRange)
    assert section.range.fewest <= section.range.most
    (line,) = [line for line in format_resolved(loaded).splitlines() if line.startswith(f"{key} ")]
    assert line.split()[2] == written
    (tmp_path / "run.yaml").write_text(to_yaml(loaded.config))
    assert f"count: {written}\n" in to_yaml(loaded.config)
    assert load_config(type(loaded.config), tmp_path, "run").config == loaded.config
    assert type(loaded.config).model_validate(loaded.config.model_dump(mode="json")) == loaded.config


@pytest.mark.parametrize(("load", "words", "key"), TRAINERS)
@pytest.mark.parametrize(("given", "expected"), [
    ("8-2", "asks for at least 8 and at most 2; expected .fewest, most. or fewest-most, at least 1, as in 2-8"),
    ("[0, 8]", "asks for at least 0 and at most 8; expected .fewest, most. or fewest-most, at least 1"),
    ("[1, 2, 3]", "or a range such as 2-8"),
    ("[1.5, 2]", "or a range such as 2-8"),
    ("[true, 2]", "or a range such as 2-8"),
    ("2-", "or a range such as 2-8"),
    ("0", "or a range such as 2-8"),
])  # fmt: skip
def test_no_range(load, words, key, given: str, expected: str) -> None:
    preset, *settings = words
    with pytest.raises(UserError, match=f".*{expected}"):
        load(preset, [*settings, f"{key}={given}"])


@pytest.mark.parametrize(("load", "words", "key"), TRAINERS)
def test_every_group_of_settings_is_a_section(load, words, key) -> None:
    def groups(model: type[BaseModel]):
        yield model
        for value in vars(load(words[0], words[1:]).config).values() if model is whole else ():
            if isinstance(value, BaseModel):
                yield from groups(type(value))

    whole = type(load(words[0], words[1:]).config)
    assert all(issubclass(group, Section) for group in groups(whole))
