"""How many processes of a kind a run has, as a setting: a number, or a range such as 2-8."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import PlainSerializer, PlainValidator


class CountRange(NamedTuple):
    """As many as there is room for, within these; more when nodes join."""

    fewest: int
    most: int

    def __str__(self) -> str:
        return f"{self.fewest}-{self.most}"

    @classmethod
    def of(cls, count: int | CountRange) -> CountRange:
        """That of a setting; a number is both ends of it."""
        return cls(count, count) if isinstance(count, int) else count

    def check(self) -> None:
        """ValueError, for a section's validator, where it is none."""
        if not 1 <= self.fewest <= self.most:
            raise ValueError(
                f"count [{self.fewest}, {self.most}] asks for at least {self.fewest} and at most {self.most}; "
                "expected [fewest, most] or fewest-most, at least 1, as in 2-8"
            )


def _read(value: object) -> CountRange:
    """2-8, as it is written too, or [2, 8]."""
    if isinstance(value, str) and re.fullmatch(r"\d+-\d+", value):
        value = [int(part) for part in value.split("-")]
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(part) is int for part in value):
        return CountRange(*value)
    raise ValueError("a range such as 2-8")


Range = Annotated[CountRange, PlainValidator(_read), PlainSerializer(str, return_type=str)]
