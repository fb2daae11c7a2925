"""Going on with a run: from which checkpoint, with which settings, and whether there is anything left to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from apex_ray.config.load import load
from apex_ray.config.plugins import plugin_of
from apex_ray.config.resume import Changes, as_line, changes, refuse
from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import Checkpoint, load_checkpoint, note_resume, set_aside
from apex_ray.replay.snapshots import REPLAY
from apex_ray.run.limits import met_before
from apex_ray.serial import state as serial_state
from trainkit.config import to_yaml
from trainkit.errors import NotWrittenError, UserError
from trainkit.files import atomic_write
from trainkit.run_layout import CONFIG_FILE
from trainkit.storage import shown

SAVED_REPLAY = REPLAY, serial_state.FILE  # in a run folder


@dataclass(frozen=True)
class Resume:
    """A run that can go on: `begin` before its parts start, `keep_settings` after."""

    run: Path  # whole: environments may change the current folder
    config: ApexConfig
    saved: Checkpoint  # its online network only
    changed: Changes  # against the settings that the checkpoint was saved with

    def begin(self) -> list[str]:
        """Set unusable checkpoints aside and note the resume; lines to tell. NotWrittenError where there is no room."""
        try:
            aside = set_aside(self.saved)
            note_resume(self.run, self.saved.path.name, self.changed)
        except OSError as error:
            raise NotWrittenError(f"run folder {self.run} can't be written: {error.strerror or error}") from None
        wrong = {path.name: why for path, why in self.saved.unusable.items()}
        lines = [f"checkpoint {old} can't be used, kept as {new}: {wrong[old]}" for old, new in aside.items()]
        lines.append(f"going on from {self.saved.path.name}")
        if earlier := sorted(path.name for path in self.run.glob("replay-*.safetensors")):
            lines.append(f"replay starts empty: {earlier[0]} is of an earlier version, which this one does not read")
        return [*lines, f"changed on resume: {as_line(self.changed)}"] if self.changed else lines

    def keep_settings(self) -> None:
        """Keep the settings now in force as the run's own."""
        try:
            atomic_write(self.run / CONFIG_FILE, to_yaml(self.config).encode())
        except OSError as error:
            raise NotWrittenError(f"{self.run / CONFIG_FILE} can't be written: {error.strerror or error}") from None


def prepare_resume(run: Path, config: ApexConfig, asked: str = "command line: --resume") -> Resume:
    """What `run` goes on from, with `config`; `asked`: what its caller used, for messages.

    UserError, before anything starts or is written, for settings that may not change, for a limit of `stop` that the
    run has reached, and where no checkpoint can be used.
    """
    saved = replace(load_checkpoint(run), target={}, optimizer={})  # the learner reads them itself
    file = saved.path / CONFIG_FILE
    before = load(file if file.exists() else run / CONFIG_FILE).config
    changed = changes(before, config)
    replay = [str(path) for name in SAVED_REPLAY if (path := run / name).exists()]
    plugin = plugin_of(config.env.id)
    refuse(changed, " ".join(replay) or None, plugin.free if plugin else (), asked)
    if met := met_before(config.stop, saved.counters):
        parts = []
        for limit, setting in met:
            key, _, value = setting.partition("=")
            none = "" if value == "null" else f" or {key}=null"
            parts.append(f"{limit}; to go on, give more, such as {setting}{none} for no limit")
        raise UserError(f"run {shown(run)!r} has reached {', and '.join(parts)}")
    return Resume(run.absolute(), config, saved, changed)
