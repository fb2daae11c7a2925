"""Runs at URIs: made there, found by name, and brought to this machine to be read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from trainkit.errors import UserError, nearest_path
from trainkit.fetching import Share, fetch, newest_here
from trainkit.files import atomic_write
from trainkit.run_layout import CONFIG_FILE, EXPECTED_RUN, LATEST, RECORD_FILE, named_start, start_ids
from trainkit.storage import ANSWER_S, Store, join, make_working_folder, reason, split, within, working_folder

# What commands need that take a run: not what only training goes on with.
READING = Share(
    "reading",
    sealed=("checkpoints/update-*", "checkpoints/best"),
    files=("*",),
    but=("checkpoints/*", "replay/*/s*", "tensorboard/*", "videos/*"),
)
LISTING = Share(
    "listing", files=(CONFIG_FILE, RECORD_FILE, "metrics.jsonl", "evaluations.csv", "checkpoints/best/counters.json")
)


def create(folder: str, stem: str, config_yaml: str) -> Path:
    """The working folder of a new run at the URI `folder`, called stem[-k], with config.yaml here and there.

    UserError when nothing can be written there.
    """
    with _told(f"runs folder {folder!r} can't be written"):
        for k in count(1):
            uri = join(folder, stem if k == 1 else f"{stem}-{k}")
            if working_folder(uri).exists() or not _claimed(store := Store(uri)):
                continue
            run = make_working_folder(uri)
            atomic_write(run / CONFIG_FILE, config_yaml.encode())
            store.put(run / CONFIG_FILE, CONFIG_FILE)
            return run
    raise AssertionError("there is always another name")


def _claimed(store: Store) -> bool:
    """Whether the folder is ours: nobody else can have it then.

    Object stores have no step that only one of two can succeed at. Who writes first and looks then sees any other who
    did the same, unless that one looks later, and sees us.
    """
    claim = f".claim-{uuid.uuid4().hex}"
    store.write(claim, b"")
    alone = list(store.files()) == [claim]
    store.delete(claim)
    return alone


def open_at(uri: str, trainer: str = "") -> Path:
    """The working folder of a run at a URI, with what is read of a run, as `trainkit.runs.open_run`.

    UserError as there, and where the store can't be read.
    """
    folder, name = split(uri)
    with _told(f"{uri!r} can't be read"):
        there = within(ANSWER_S, Store(uri).files)
        if CONFIG_FILE in there:
            return _brought(uri, trainer)
        names = sorted(Store(folder).folders(), key=named_start)
        found = [other for other in names if name == LATEST or other.startswith(name)]
        mine = [join(folder, other) for other in found if _is_run(Store(join(folder, other)), trainer)]
        if mine and (name == LATEST or len(mine) == 1):
            return _brought(mine[-1], trainer)
    if mine:
        raise UserError(
            f"{uri!r} is how {len(mine)} runs begin: {', '.join(mine[-5:])}; expected one of them, or latest"
        )
    inside = [path for path in there if path.count("/") == 1 and path.endswith(f"/{CONFIG_FILE}")]
    if inside:
        newest = max((path.partition("/")[0] for path in inside), key=named_start)
        raise UserError(f"{uri!r} is no run folder: it has no {CONFIG_FILE}. It holds runs; the newest is {newest!r}")
    runs = [join(folder, other) for other in names]
    hint = nearest_path(uri, runs) or (
        f" The runs there are: {', '.join(runs[-5:])}" if runs else f" {folder!r} holds no runs"
    )
    raise UserError(f"run folder {uri!r} does not exist; {EXPECTED_RUN}.{hint}")


def open_all(folder: str) -> list[Path]:
    """The working folders of all runs at a URI, with what a list of them needs."""
    with _told(f"{folder!r} can't be read"):
        store = Store(folder)
        uris = [join(folder, name) for name in within(ANSWER_S, store.folders)]
        return [_bring(uri, LISTING) for uri in uris]


def _brought(uri: str, trainer: str) -> Path:
    run = _bring(uri, READING)
    known = _trainer((run / RECORD_FILE).read_bytes() if (run / RECORD_FILE).exists() else b"", trainer)
    if trainer and known != trainer:
        raise UserError(f"{uri!r} is a run of {known}; expected one of {trainer}")
    return run


def _bring(uri: str, share: Share) -> Path:
    run, store = make_working_folder(uri), Store(uri)
    try:
        starts = start_ids(json.loads(store.read(RECORD_FILE)))
    except (FileNotFoundError, ValueError):
        starts = []
    fetch(store, run, share, newest_here(run, starts[-1:]))
    return run


def _is_run(store: Store, trainer: str) -> bool:
    """Whether it is one of that trainer's."""
    try:
        store.read(CONFIG_FILE)
    except FileNotFoundError:
        return False
    try:
        record = store.read(RECORD_FILE)
    except FileNotFoundError:
        record = b""
    return not trainer or _trainer(record, trainer) == trainer


def _trainer(record: bytes, default: str) -> str:
    try:
        known: Any = json.loads(record)
        return str(known.get("trainer", default))
    except (ValueError, AttributeError):
        return default


@contextmanager
def _told(message: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{message}: {reason(error)}") from None
