"""Command lines and settings: refused before anything starts, in one line, with nothing left behind."""

from __future__ import annotations

from tests.apex_ray.bad_inputs import Row
from tests.apex_ray.bad_inputs.files import a_run

# words of the command line -> parts of the message
LINES: dict[str, str | tuple[str, ...]] = {
    "trian pong": ("no command 'trian'", "Did you mean 'train'?"),
    "train": ("no preset", "cartpole", "--resume RUN"),
    "train pogn": ("unknown preset 'pogn'", "Did you mean 'pong'?"),
    "train actors.count=8": "no preset",
    "train missing.yaml": "no such file: 'missing.yaml'",
    "train pong lerner.batch_size=8": ("command line", "Did you mean 'learner.batch_size'?"),
    "train pong batch_size=8": "Did you mean 'learner.batch_size'?",
    "train pong actors": "'actors' has no '='",
    "train pong actors.count=many": ("actors.count = 'many'", "a whole number or 'auto' or a range such as 2-8"),
    "train pong actors.count=8-2": "count [8, 2] asks for at least 8 and at most 2",
    "train pong learner.optimizer=adan": "Did you mean 'adam'?",
    "train pong learner.learning_rate=nan": "learner.learning_rate = 'nan': expected more than 0",
    "train pong learner.learning_rate=-1": ("learner.learning_rate = -1", "more than 0"),
    "train pong td.discount=1.5": ("td.discount = 1.5", "1"),
    "train pong name=3": "expected text",
    "train pong env.kwargs=[1]": ("env.kwargs", "expected"),
    "train pong replay.min_transitions=250000": "replay.min_transitions from command line",
    "train pong 'learner.learning_rate_schedule=[[5, 1], [2, 1]]'": "learner.learning_rate_schedule",
    "train small.yaml learner.batch_size=100000": ("learner.batch_size", "100000", "replay.capacity_transitions"),
    "train small.yaml learner.batch_size=500": ("learner.batch_size", "500", "replay.min_transitions"),
    "train small.yaml replay.insert_tolerance_transitions=3": "insert_tolerance_transitions = 3 would deadlock",
    "train small.yaml actors.chunk_transitions=2": ("td.n_step = 3", "actors.chunk_transitions = 2"),
    "train small.yaml actors.envs_per_actor=5000": "holds less than two chunks",
    "train small.yaml actors.groups=3": ("envs_per_actor must be a multiple of groups", "command line"),
    "train pong replay.capacity_transitions=2000000000": ("needs", "GiB", "at most", "fit"),
    "train pong replay.max_bytes=1000000": ("at most", "fit"),
    "train small.yaml learner.device=cuda:7": "learner.device = 'cuda:7'",
    "train small.yaml learner.device=tpu": ("learner.device = 'tpu'", "expected auto, cpu or cuda"),
    "train small.yaml network.torso=conv": ("network.torso is conv", "CartPole-v1"),
    "train small.yaml network.torso=none.such:Torso": ("network.torso = 'none.such:Torso'", "no module 'none.such'"),
    "train small.yaml agent=builtins:nothing": "module 'builtins' has no 'nothing'",
    "train pong env.image_size=20": "frames of (20, 20) are too small",
    "train small.yaml report.loggers=[nobody]": "nobody",
    "config": "no preset",
    "config pong network=3": "network is a section",
    "plot": "no run",
    "record latest --out film.gif": ("'film.gif'", ".mp4"),
    "evaluate latest --episodes 0": ("--episodes 0", "at least 1"),
    "evaluate latest evaluation.episode=3": "Did you mean 'evaluation.episodes'?",
    "train pong --resume latest": "'pong' and --resume exclude each other",
    "train --resume latest env.di=x": "Did you mean 'env.id'?",
    "train --resume latest network.hidden=7": "network.hidden 8 -> 7",
    "train --resume latest stop.after_updates=10": "has reached stop.after_updates = 10",
}
ROWS = [Row(line, line, says, before=a_run if "latest" in line else lambda: None) for line, says in LINES.items()]
