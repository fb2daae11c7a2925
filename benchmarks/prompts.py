"""Human speech to learn from, with no account and no registry of models: python -m benchmarks.prompts FOLDER

Debian's asterisk-core-sounds-en-g722: 568 telephone prompts by one speaker, 25 minutes at 16 kHz, and
asterisk-core-sounds-en: what they say (both CC-BY-SA-3.0), written as metadata.csv. Needs apt-get, dpkg-deb and
`pip install --no-deps g722`. Recordings are then aligned to their phones, and those that can't be are deleted. Nothing
of it is committed here.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from trainkit.speech.alignment import align_folder

PACKAGE, TEXTS, RATE, BIT_RATE = "asterisk-core-sounds-en-g722", "asterisk-core-sounds-en", 16_000, 64_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        from G722 import G722
    except ImportError:
        raise SystemExit("error: the decoder is missing: pip install --no-deps g722") from None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["apt-get", "download", PACKAGE, TEXTS], cwd=place, check=True)
        for package in Path(place).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, place], check=True)
        count, samples = 0, 0
        for path in sorted(Path(place).rglob("*.g722")):
            if "silence" in path.parts:
                continue
            sound = np.array(G722(RATE, BIT_RATE).decode(path.read_bytes()), np.int16)
            name = "-".join(path.relative_to(place).parts[5:]).removesuffix(".g722")
            soundfile.write(folder / f"{name}.wav", sound, RATE)
            count, samples = count + 1, samples + len(sound)
        (table,) = Path(place).rglob("core-sounds-en.txt.gz")
        lines = [line.partition(": ") for line in gzip.decompress(table.read_bytes()).decode().splitlines()]
        spoken = [(name.replace("/", "-"), text) for name, _, text in lines if text and not text.startswith("[")]
        (folder / "metadata.csv").write_text("".join(f"{name}|{text.replace('|', ' ')}\n" for name, text in spoken))
    print(f"{count} files, {samples / RATE / 60:.1f} min, in {folder}")
    align_folder(folder, None, print)
    for path in folder.glob("*.wav"):
        if not path.with_suffix(".json").exists():
            path.unlink()


if __name__ == "__main__":
    main()
