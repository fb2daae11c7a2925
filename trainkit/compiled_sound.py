"""librosa, for all who need it: its compiled functions are made by one process at a time.

Numba compiles some of them as they are imported and keeps each in two files that belong together. Processes that do so
for the first time at once leave files that do not, and a call to such a function ends each later process with a
segmentation fault. So whoever imports waits for whoever was first.
"""

from __future__ import annotations

import fcntl

from trainkit.own_folders import own_temporary_folder

with (own_temporary_folder() / "librosa.lock").open("w") as _lock:
    fcntl.flock(_lock, fcntl.LOCK_EX)
    import librosa as librosa
    import librosa.core.audio
    import librosa.core.pitch
    import librosa.util.utils

__all__ = ["librosa"]
