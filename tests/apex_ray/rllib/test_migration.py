"""docs/migration.md says what the code does."""

import re

from apex_ray.rllib import ApexDQNConfig
from apex_ray.rllib.keys import KEYS
from apex_ray.rllib.settings import SCHEMA, shown
from apex_ray.rllib.table import BEGIN, DOCUMENT, END, as_markdown, with_table

TEXT = DOCUMENT.read_text()
OTHERS = TEXT.partition(END)[2]
SECTIONS = "env|td|network|actors|replay|learner|evaluation|stop|checkpoint|report|cluster"


def test_its_table_is_that_of_the_keys():
    assert BEGIN in TEXT and END in TEXT
    assert with_table(TEXT) == TEXT, "python -m apex_ray.rllib.table writes it anew"


def test_the_table_names_every_key():
    table = as_markdown()
    assert all(f"`{shown(key.name)}`" in table for key in KEYS)


def test_every_setting_that_it_names_is_there():
    named = [found for cell in here_cells(OTHERS) for found in re.findall(rf"\b(?:{SECTIONS})\.[a-z_0-9]+", cell)]
    assert len(named) > 80
    assert [name for name in named if name not in SCHEMA.leaves] == []


def here_cells(text):
    """The middle cell of each row of its tables."""
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row[1] for row in rows if len(row) == 3]


def test_its_program_makes_a_configuration():
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    found = {}
    exec(code, found)
    config = found["config"]
    assert isinstance(config, ApexDQNConfig)
    settings = config.to_settings()
    assert (settings.actors.count, settings.replay.capacity_transitions, settings.learner.device) == (3, 20_000, "cpu")
