"""An evaluation in words, for who asked for it alone."""

from __future__ import annotations

import numpy as np

from apex_ray.report.episodes import reporter_named
from apex_ray.report.words import words_for
from apex_ray.types import EvaluationResult
from trainkit.words import plural


def result_lines(result: EvaluationResult, env_id: str) -> list[str]:
    """Whose weights, their returns, what could not be played, the environment's own table, and files written."""
    returns = np.asarray(result.returns)
    table = reporter_named(result.reporter, result.scores_of).table(result.episode_values)
    human = result.human_normalised
    lines = [
        f"weights of update {result.updates:,}, {result.frames:,} {words_for(env_id).frames}",
        f"played on {result.scores_of}: these scores say nothing of the real game" if result.scores_of else "",
        f"return: mean {returns.mean():z.2f}, std {returns.std():.2f}, min {returns.min():z.2f}, "
        f"max {returns.max():z.2f} of {plural(len(returns), 'episode')}",
        result.note,
        "" if human is None else f"human-normalised: {human:z.1%}",
        table or "",
        f"video: {result.video}" if result.video else "",
        f"movie: {result.movie}" if result.movie else "",
    ]
    return [line for line in lines if line]
