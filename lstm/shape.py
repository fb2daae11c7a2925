"""What a task's data ask of a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What goes in and comes out at a step: classes (int64, one of so many) or features (numbers)."""

    outputs: int
    classes: int = 0
    features: int = 0
    lasting: bool = False  # speech: a step lasts for several outputs, and how many is said, too
