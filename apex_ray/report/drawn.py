"""All pictures of a run anew, from the files that it has written so far."""

from __future__ import annotations

from pathlib import Path

import yaml

from apex_ray.cartridge.rom import NAME
from apex_ray.report.plots import learning_curve, memory_plot
from apex_ray.report.stages import TRAINING_FILE, progress_plot
from cluster.errors import UserError
from cluster.runs import CONFIG_FILE


def draw_run(run: Path) -> list[Path]:
    """The pictures' paths; those for which there is no data are left out."""
    scores_of = NAME if _demo(run) else ""
    pictures = [learning_curve(run, scores_of), memory_plot(run / "memory.csv", run / "memory.png")]
    if (run / TRAINING_FILE).exists():
        pictures.append(progress_plot(run, scores_of))
    return [picture for picture in pictures if picture is not None]


def _demo(run: Path) -> bool:
    """`env.demo` as it stands in the run's settings, which need not load: another version's are drawn all the same."""
    try:
        settings = yaml.safe_load((run / CONFIG_FILE).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{run / CONFIG_FILE} does not read: {error}") from None
    env = settings.get("env") if isinstance(settings, dict) else None
    return isinstance(env, dict) and bool(env.get("demo"))
