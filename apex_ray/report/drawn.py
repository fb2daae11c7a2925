"""All pictures of a run anew, from the files that it has written so far."""

from __future__ import annotations

from pathlib import Path

import yaml

from apex_ray.config.plugins import plugin_of
from apex_ray.config.schema import EnvConfig
from apex_ray.report.episodes import reporter_named
from apex_ray.report.plots import learning_curve, memory_plot
from trainkit.errors import UserError
from trainkit.run_layout import CONFIG_FILE


def draw_run(run: Path) -> list[Path]:
    """The pictures' paths; those for which there is no data are left out."""
    env = _env(run)
    plugin = plugin_of(env.id)
    scores_of = plugin.scores_of(env) if plugin else ""
    reporter = reporter_named(plugin.reporter if plugin else "", scores_of)
    pictures = [learning_curve(run, scores_of), memory_plot(run / "memory.csv", run / "memory.png"), reporter.plot(run)]
    return [picture for picture in pictures if picture is not None]


def _env(run: Path) -> EnvConfig:
    """The run's environment; its settings need not load: another version's are drawn all the same."""
    try:
        settings = yaml.safe_load((run / CONFIG_FILE).read_bytes())
        env = dict(settings["env"])
        env_id, kwargs = str(env["id"]), dict(env.get("kwargs") or {})
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run / CONFIG_FILE} does not read: {error}") from None
    plugin = plugin_of(env_id)
    for old, new in plugin.renamed.items() if plugin else ():
        if (value := env.get(old.rpartition(".")[2])) is not None:
            kwargs.setdefault(new.rpartition(".")[2], value)
    return EnvConfig.model_construct(id=env_id, kwargs=kwargs)
