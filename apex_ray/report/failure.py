"""Turns an exception that ends a run into one message for its user, and a file with the rest."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainkit.errors import UserError, place, with_kind


def describe(who: str, cause: BaseException, run: Path, whole: BaseException | None = None) -> UserError:
    """Who failed, of what, where; the traceback (of `whole`, if it tells more) goes to error.txt in the run folder.

    A UserError is passed on as it is, of its own kind.
    """
    if isinstance(cause, UserError):
        return type(cause)(str(cause))
    report = run / "error.txt"
    where = place(cause) or _place_in_text(str(whole or cause))
    try:
        report.write_text("".join(traceback.format_exception(whole or cause)))
        rest = f"the whole traceback is in {report}"
    except OSError as error:
        with suppress(OSError):  # half of it
            report.unlink(missing_ok=True)
        rest = f"{report} can't be written: {error.strerror or error}"
    return UserError(f"{who} failed: {with_kind(cause)}{where}; {rest}")


@contextmanager
def described(who: str, run: Path) -> Iterator[None]:
    """What the block raises, as `describe` tells it."""
    folder = run.absolute()  # environments may change the current folder
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise describe(who, error, folder) from error


def _place_in_text(text: str) -> str:
    """The innermost 'File "x", line n' of a traceback that only survived as text, as it does between processes."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("File ")]
    if not lines:
        return ""
    file, line, *_ = lines[-1].split(", ")
    return f" ({file.removeprefix('File ').strip(chr(34))}:{line.removeprefix('line ')})"
