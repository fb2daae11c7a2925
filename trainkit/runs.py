"""Run folders: made, and found again by name."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from trainkit import stored_runs
from trainkit.errors import UserError, nearest_path, os_errors
from trainkit.files import atomic_write
from trainkit.run_layout import CONFIG_FILE, EXPECTED_RUN, LATEST, read_record, started
from trainkit.storage import join, local_path, uri_of

RUNS_DIR = "runs"  # where run folders are made unless runs_dir says otherwise
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
    uri = uri_of_runs(path)
    assert uri is not None, "it was looked at"
    return stored_runs.open_at(uri, trainer)


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


def _nearest(run: Path, runs: list[Path]) -> str:
    names = [str(found) for found in runs]
    if hint := nearest_path(str(run), names):
        return hint
    return f" The runs there are: {', '.join(names[-5:])}" if runs else f" {str(run.parent)!r} holds no runs"
