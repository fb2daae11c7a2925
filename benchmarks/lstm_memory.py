"""What `apex-lstm memory --show-gates` left in FOLDER, as results to commit: python -m benchmarks.lstm_memory FOLDER"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks.machine import ROOT, write

OUT = ROOT / "results" / "lstm" / "memory"


def main() -> None:
    folder = Path(sys.argv[1])
    figures = json.loads((folder / "memory.json").read_text())
    command = f"apex-lstm memory --steps {figures['steps']} --hidden {figures['hidden']}"
    training = figures["training"]["LSTM"]
    command += f" --updates {training['steps']} --batch {training['batch']} --show-gates"
    write(OUT / "result.json", {"made by": command, **figures})
    for name in ("gradients", "learning", "gates"):
        shutil.copy(folder / f"{name}.png", OUT / f"{name}.png")
    print(json.dumps(figures["squared error"]))


if __name__ == "__main__":
    main()
