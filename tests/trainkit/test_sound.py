"""The libraries of sound."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PITCH = """
import numpy as np
{imports}
_, voiced, _ = librosa.pyin(np.sin(np.arange(8_000) / 10), fmin=100, fmax=500, sr=16_000, frame_length=1_024)
print(voiced.any())
"""


def test_processes_that_compile_for_the_first_time_at_once_leave_nothing_that_does_not_fit(tmp_path):
    """Files that do not belong together end every later process with a segmentation fault."""
    code = PITCH.format(imports="from trainkit.compiled_sound import librosa")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start():
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)

    for together in (3, 1):
        processes = [start() for _ in range(together)]
        assert [process.communicate()[0].strip() for process in processes] == ["True"] * together
        assert [process.returncode for process in processes] == [0] * together
    assert list(tmp_path.rglob("*_pi_wrapper*.nbc")), "it was compiled here"
