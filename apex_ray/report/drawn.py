"""All pictures of a run anew, from the files that it has written so far."""

from __future__ import annotations

from pathlib import Path

from apex_ray.config.load import load_run_config
from apex_ray.report.plots import learning_curve, memory_plot
from apex_ray.retro.cartridge.rom import NAME
from apex_ray.retro.stages import TRAINING_FILE, progress_plot


def draw_run(run: Path) -> list[Path]:
    """The pictures' paths; those for which there is no data are left out."""
    scores_of = NAME if load_run_config(run).config.env.demo else ""
    pictures = [learning_curve(run, scores_of), memory_plot(run / "memory.csv", run / "memory.png")]
    if (run / TRAINING_FILE).exists():
        pictures.append(progress_plot(run, scores_of))
    return [picture for picture in pictures if picture is not None]
