"""The numbers that a run has written, as far as they are whole; of files that are empty, partial or missing, none."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, float]


def resumed(rows: Iterable[Row], time_name: str) -> list[Row]:
    """Rows in order of time. A run resumed from a checkpoint repeats a stretch: its later account counts."""
    kept: list[Row] = []
    for row in rows:
        if time_name not in row:
            continue
        while kept and kept[-1][time_name] >= row[time_name]:
            kept.pop()
        kept.append(row)
    return kept


def read_jsonl(path: Path, last_bytes: int | None = None) -> list[Row]:
    """The numbers of each line, by name; of those in the last `last_bytes` only, for who wants the newest."""
    rows: list[Row] = []
    for line in whole_lines(path, last_bytes):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            rows.append({k: v for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)})
    return rows


def read_csv(path: Path) -> list[Row]:
    return [row for row, _ in read_named_csv(path)]


def read_named_csv(path: Path) -> list[tuple[Row, str]]:
    """The numbers of each line by column, and its `process`; a line without all of its fields is left out."""
    rows: list[tuple[Row, str]] = []
    for fields in csv.DictReader(whole_lines(path)):
        if None in fields or None in fields.values():
            continue
        row: Row = {}
        for name, text in fields.items():
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                row[name] = value
        rows.append((row, fields.get("process", "")))
    return rows


def whole_lines(path: Path, last_bytes: int | None = None) -> list[str]:
    """Whole lines only: one without a newline may be half a number. With `last_bytes`, the first may be cut."""
    try:
        with path.open("rb") as file:
            if last_bytes is not None:
                file.seek(max(file.seek(0, os.SEEK_END) - last_bytes, 0))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
