"""The audit of replay finds what is there twice and what is missing, and nothing in a run that lost nothing."""

import shutil

from apex_ray.envs.make import probe
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from benchmarks.audit import SEEN_BY_THE_LEARNER, Collector, audit
from tests.apex_ray.runs import cartpole


def test_lost_and_doubled_steps_are_found(tmp_path, monkeypatch):
    seen, kept = tmp_path / "seen.bin", tmp_path / "kept"
    monkeypatch.setenv(SEEN_BY_THE_LEARNER, str(seen))
    config = cartpole(agent="benchmarks.audit:MarkedAgent", mode="serial", actors={"count": 1})
    spec = probe(config.env)
    program, collector = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path / "run"), None
    (tmp_path / "run").mkdir()
    program.start(resume=False)
    collector = Collector(tmp_path / "run", kept)
    for _ in range(3):
        for _ in range(150):
            program.work()
        program.save(Counters())
        program.save_replay()
        collector.look()
    program.end_actors()
    found = audit(kept, seen)
    assert (found.streams, found.twice, found.missing, found.unknown) == (3, 0, 0, 0)
    assert found.steps > 200 and seen.stat().st_size > 0

    first, second, *_ = sorted(kept.iterdir())
    shutil.copy(first, kept / "again-segments-x.safetensors")
    assert audit(kept, seen).twice > 0
    (kept / "again-segments-x.safetensors").unlink()
    second.unlink()
    gone = audit(kept, seen)
    assert gone.missing > 0 and gone.unknown > 0 and gone.twice == 0
    assert all(before < after for _, before, after in gone.gaps)
