"""Human speech to learn from, with no account and no registry of models: python -m benchmarks.prompts FOLDER

Debian's asterisk-core-sounds-en-g722: 568 telephone prompts by one speaker, 25 minutes at 16 kHz (CC-BY-SA-3.0). Needs
apt-get, dpkg-deb and `pip install --no-deps g722`. Nothing of it is committed here.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

PACKAGE, RATE, BIT_RATE = "asterisk-core-sounds-en-g722", 16_000, 64_000


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
        subprocess.run(["apt-get", "download", PACKAGE], cwd=place, check=True)
        (package,) = Path(place).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, place], check=True)
        count, samples = 0, 0
        for path in sorted(Path(place).rglob("*.g722")):
            if "silence" in path.parts:
                continue
            sound = np.array(G722(RATE, BIT_RATE).decode(path.read_bytes()), np.int16)
            name = "-".join(path.relative_to(place).parts[5:]).removesuffix(".g722")
            soundfile.write(folder / f"{name}.wav", sound, RATE)
            count, samples = count + 1, samples + len(sound)
    print(f"{count} files, {samples / RATE / 60:.1f} min, in {folder}")


if __name__ == "__main__":
    main()
