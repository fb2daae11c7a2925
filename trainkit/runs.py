"""Run folders and files that are either whole or not there: nobody ever reads a half-written one."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from trainkit.errors import UserError, did_you_mean, os_errors
from trainkit.storage import join, local_path, uri_of

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"  # who trained it, and with what (run_record.py)
RUNS_DIR = "runs"  # where run folders are made unless runs_dir says otherwise
LATEST = "latest"
NAMED = re.compile(r"-(\d{8}-\d{6})(?:-(\d+))?$")  # how create_run's names end
EXPECTED_RUN = "expected the folder of an earlier run, the beginning of its name, or latest"
STOP_FILE = "stop"  # in the folder of a data-parallel run that is asked to end
RUNS_BASE = "APEX_RUNS_DIR"  # environment variable: the folder or URI that relative run folders lie in


def create_run(runs_dir: str | Path, name: str, config_yaml: str) -> Path:
    """A new folder runs_dir/name-YYYYmmdd-HHMMSS[-k] with config.yaml in it; never one that exists already.

    `runs_dir` may be a URI (trainkit/storage.py): the folder is the run's working folder on this machine then. A
    relative `runs_dir` lies under APEX_RUNS_DIR where that is set: a submitted job's own working directory is a copy
    that Ray deletes. Characters of `name` that are awkward in a path become '-'. UserError when the folder can't be
    made.
    """
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'run'}-{datetime.now():%Y%m%d-%H%M%S}"
    if (uri := uri_of_runs(runs_dir)) is not None:
        from trainkit import stored_runs

        return stored_runs.create(uri, stem, config_yaml)
    runs_dir = based(local_path(runs_dir))
    expected = "; expected a folder that may be written, give another with runs_dir=FOLDER"
    with os_errors(f"runs folder {str(runs_dir)!r} cannot be written", expected):
        runs_dir.mkdir(parents=True, exist_ok=True)
        run = _make_new(runs_dir, stem)
        atomic_write(run / CONFIG_FILE, config_yaml.encode())
    return run


def go_on_with(run: Path, config_yaml: str, done: int, updates: int) -> None:
    """Keep the settings that a run goes on with. UserError when all of its `updates` are `done`."""
    if done >= updates:
        raise UserError(
            f"run {str(run)!r} has made {done:,} updates; to go on, give training.steps more than that, "
            f"such as training.steps={2 * done}"
        )
    atomic_write(run / CONFIG_FILE, config_yaml.encode())


def based(path: Path) -> Path:
    """`path`, under APEX_RUNS_DIR when it is relative and that is set to a path. UserError when it is not absolute."""
    given = os.environ.get(RUNS_BASE, "")
    base = Path() if uri_of(given) else local_path(given)
    if str(base) != "." and not base.is_absolute():
        raise UserError(f"{RUNS_BASE} = {str(base)!r}: expected an absolute path or a URI")
    return base / path


def uri_of_runs(path: str | Path) -> str | None:
    """The URI that `path` means: its own, or that of a relative path under an APEX_RUNS_DIR that is one; else None."""
    if (uri := uri_of(path)) is not None:
        return uri
    base, below = uri_of(os.environ.get(RUNS_BASE, "")), local_path(path)
    return None if base is None or below.is_absolute() else join(base, *below.parts)


def _make_new(runs_dir: Path, stem: str) -> Path:
    k = 1
    while True:
        run = runs_dir / (stem if k == 1 else f"{stem}-{k}")
        try:
            run.mkdir()  # the one step that two processes cannot both succeed at
            return run
        except FileExistsError:
            k += 1


def open_run(path: str | Path, trainer: str = "") -> Path:
    """The folder of an earlier run of `trainer`, such as apex-ray ("": of any).

    `path` is that folder, or `latest` or the beginning of its name in place of the name; a name alone is looked for
    here and in the default runs folder. UserError, with the nearest name, for any other, for one that is the beginning
    of several, and for a run of another trainer.

    Of a run at a URI, and of one that is not here where APEX_RUNS_DIR is a URI, it is the working folder, with what
    there is fetched.
    """
    if uri_of(path) is not None:
        return _open_at(path, trainer)
    run = local_path(path)
    for found in (run, based(run), *([based(RUNS_DIR / run)] if len(run.parts) == 1 else [])):
        if (found / CONFIG_FILE).is_file():
            _check_trainer(found, trainer)
            return found
    elsewhere = based(RUNS_DIR / run if len(run.parts) == 1 else run)
    if not _matches(run, trainer) and uri_of_runs(run) is not None:
        return _open_at(RUNS_DIR / run if len(run.parts) == 1 else run, trainer)
    # A name that something here only happens to have is that of a run elsewhere, if there is one.
    by_chance = len(run.parts) == 1 and not _matches(run, trainer) and not _runs_in(run, trainer)
    if not run.exists() or (by_chance and _matches(elsewhere, trainer)):
        run = elsewhere
    runs = _runs_in(run.parent, trainer)
    if run.name == LATEST and runs:
        return runs[-1]
    matches = _matches(run, trainer)
    if len(matches) == 1:
        return matches[0]
    if run.is_dir():
        inside = _runs_in(run, trainer)
        hint = f" It holds runs; the newest name is {str(inside[-1])!r}" if inside else _nearest(run, runs)
        raise UserError(f"{str(run)!r} is no run folder: it has no {CONFIG_FILE}.{hint}")
    if matches:
        several = ", ".join(str(found) for found in matches[-5:])
        raise UserError(f"{str(run)!r} is how {len(matches)} runs begin: {several}; expected one of them, or latest")
    wrong = "is a file" if run.exists() else "does not exist"
    raise UserError(f"run folder {str(run)!r} {wrong}; {EXPECTED_RUN}.{_nearest(run, runs)}")


def _open_at(path: str | Path, trainer: str) -> Path:
    from trainkit import stored_runs

    uri = uri_of_runs(path)
    assert uri is not None, "it was looked at"
    return stored_runs.open_at(uri, trainer)


def read_record(run: Path) -> dict[str, Any]:
    """What run.json says; empty where there is none, or none that can be read."""
    try:
        record = json.loads((run / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def start_ids(record: Mapping[str, Any]) -> list[str]:
    """What run.json calls the run's starts by, the last at the end; "" for those of versions without."""
    return [str(start.get("id", "")) for start in record.get("starts", [])]


def _check_trainer(run: Path, trainer: str) -> None:
    known = read_record(run).get("trainer", trainer)
    if trainer and known != trainer:
        raise UserError(f"{str(run)!r} is a run of {known}; expected one of {trainer}")


def _runs_in(folder: Path, trainer: str) -> list[Path]:
    """The runs of a trainer in a folder, the one that was started last at the end."""
    found = [file.parent for file in folder.glob(f"*/{CONFIG_FILE}")]
    mine = [run for run in found if not trainer or read_record(run).get("trainer", trainer) == trainer]
    return sorted(mine, key=started)


def _matches(run: Path, trainer: str) -> list[Path]:
    """The runs beside `run` whose names begin with its own; all, for `latest`."""
    return [found for found in _runs_in(run.parent, trainer) if run.name == LATEST or found.name.startswith(run.name)]


def started(run: Path) -> tuple[str, int, str]:
    """What sorts runs by their start: the name's time, else when the settings were written, or the folder changed."""
    if NAMED.search(run.name):
        return named_start(run.name)
    written = next(path for path in (run / CONFIG_FILE, run) if path.exists())
    return f"{datetime.fromtimestamp(written.stat().st_mtime):%Y%m%d-%H%M%S}", 1, run.name


def named_start(name: str) -> tuple[str, int, str]:
    """What sorts run folders by the time in their names; those without one come first."""
    named = NAMED.search(name)
    return (named[1], int(named[2] or 1), name) if named else ("", 1, name)


def _nearest(run: Path, runs: list[Path]) -> str:
    names = [str(found) for found in runs]
    if hint := did_you_mean(str(run), names):
        return hint
    return f" The runs there are: {', '.join(names[-5:])}" if runs else f" {str(run.parent)!r} holds no runs"


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old content or the new, also after a power cut."""
    path = Path(path)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def append(path: Path, data: bytes) -> None:
    """Add `data` to the end of a file, all of it or, where that fails, nothing. OSError as of writing."""
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise


def append_csv(path: Path, header: Iterable[object], lines: Iterable[Iterable[object]]) -> None:
    """Add `lines` to a CSV file, after `header` where there is none yet; all of it or nothing, as `append`."""
    new = not path.exists() or not path.stat().st_size
    text = io.StringIO()
    csv.writer(text).writerows([header, *lines] if new else lines)
    append(path, text.getvalue().encode())


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which becomes `path` when the block ends and is removed when it raises.

    An existing `path` is replaced: it stays whole until the new one is, and comes back when the exchange fails. A
    process killed between the two renames leaves it as `.<name>.replaced`, which the next call for `path` brings back.
    One writer per path at a time.
    """
    path = Path(path)
    partial, replaced = (path.parent / f".{path.name}.{kind}" for kind in ("partial", "replaced"))
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path, partial, replaced)
    partial.mkdir()
    try:
        yield partial
        _sync_tree(partial)
        if path.exists():
            path.rename(replaced)
        try:
            partial.rename(path)
        except BaseException:
            if replaced.exists():
                replaced.rename(path)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _clean_up(path: Path, partial: Path, replaced: Path) -> None:
    """Mend what a killed process left: at any moment one of `path` and `replaced` is whole."""
    if partial.exists():
        shutil.rmtree(partial)
    if replaced.exists():
        if path.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(path)


def _sync_tree(folder: Path) -> None:
    """Have the content on disk before the rename that makes it visible."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
