"""The tests that docs/faults.md names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/faults.md").read_text())))


@pytest.mark.parametrize(("path", "name"), [n for n in NAMED if "test_" in n[0]])
def test_a_named_test_is_there(path, name):
    source = (ROOT / "tests" / path).read_text()
    assert not name or f"\ndef {name}(" in source
