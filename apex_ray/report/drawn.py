"""All pictures of a run anew, from the files that it has written so far."""

from __future__ import annotations

from pathlib import Path

from apex_ray.config.load import load_run_config
from apex_ray.config.plugins import plugin_of
from apex_ray.report.episodes import reporter_named
from apex_ray.report.plots import learning_curve, memory_plot


def draw_run(run: Path) -> list[Path]:
    """The pictures' paths; those for which there is no data are left out."""
    env = load_run_config(run).config.env
    plugin = plugin_of(env.id)
    scores_of = plugin.scores_of(env) if plugin else ""
    reporter = reporter_named(plugin.reporter if plugin else "", scores_of)
    pictures = [learning_curve(run, scores_of), memory_plot(run / "memory.csv", run / "memory.png"), reporter.plot(run)]
    return [picture for picture in pictures if picture is not None]
