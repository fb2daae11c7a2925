"""Every bad input of tests/apex_ray/bad_inputs: what its user sees, the exit code, and how long it takes.

    python -m benchmarks.bad_inputs results/bad_inputs

Writes table.csv there.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.machine import ROOT
from tests.apex_ray.bad_inputs import Row, Seen, environments, files, on_ray, play, settings

GROUPS = {"settings": settings, "files": files, "environments": environments, "ray": on_ray}
HEAD = ("kind", "input", "command", "exit code", "seconds", "what is said")


def said(row: Row, seen: Seen, folder: Path) -> str:
    """The line of error, or the first line that tells of a recovery, without paths of this machine."""
    lines = seen.errors or [line for part in row.parts for line in seen.out.splitlines() if part in line] or [""]
    return re.sub(r"/\S*/site-packages/", "", lines[0].replace(str(folder), ".").replace(f"{ROOT}/", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    out: Path = parser.parse_args().folder / "table.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEAD)
        for kind, rows in GROUPS.items():
            for row in rows.ROWS:
                if row.prefix and subprocess.run([*row.prefix, "true"], capture_output=True).returncode:
                    continue  # this user may not do it
                with tempfile.TemporaryDirectory() as name:
                    folder = Path(name).resolve()
                    seen = play(row, folder)
                    told = said(row, seen, folder)
                table.writerow(
                    (kind, row.name, f"apex-ray {row.words}".strip(), seen.code, f"{seen.seconds:.2f}", told)
                )
                file.flush()


if __name__ == "__main__":
    main()
