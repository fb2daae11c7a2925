"""Settings that a search has drawn, as the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainkit.config_yaml import dump


def words(drawn: Mapping[str, Any], prefix: str = "") -> list[str]:
    """KEY=VALUE for each, with dotted keys, also of mappings in mappings; a text is read as on the command line."""
    found = []
    for key, value in drawn.items():
        if isinstance(value, Mapping) and value:
            found += words(value, f"{prefix}{key}.")
        else:
            plain = value.item() if hasattr(value, "item") else value  # numpy's numbers
            found.append(f"{prefix}{key}={plain if isinstance(plain, str) else dump(plain, flow=True)}")
    return found
