"""Sonic on Ray, whole but short: the demo cartridge is trained on, an emulator is lost on the way, scores say whose
they are, and the run is recorded.
"""

import threading
import time

import psutil
import pytest

from apex_ray.cli import main

SETTINGS = [
    "env.kwargs.stages=[GreenHillZone.Act1,EmeraldHillZone.Act1,IcecapZone.Act1]",
    "env.max_episode_frames=400",
    "actors.count=1",
    "actors.envs_per_actor=2",
    "actors.groups=1",
    "actors.chunk_transitions=20",
    "replay.capacity_transitions=4000",
    "replay.min_transitions=100",
    "learner.batch_size=16",
    "learner.compile=false",
    "learner.threads=1",
    "evaluation.env_kwargs.stages=[GreenHillZone.Act2,EmeraldHillZone.Act2]",
    "evaluation.episodes=2",
    "evaluation.envs=2",
    "report.every_s=0.5",
]


def emulators():
    """Emulator processes of this test's run."""
    found = psutil.Process().children(recursive=True)
    return [p for p in found if any("apex_ray.retro.emulator_process" in word for word in p.cmdline()[2:3])]


@pytest.mark.timeout(300)
def test_train_evaluate_and_record_on_the_demo_cartridge(tmp_path, capsys):
    killed, over = [], threading.Event()

    def kill_one():
        while not killed and not over.is_set():
            time.sleep(0.1)
            run = next(tmp_path.glob("sonic-demo-*"), None)
            if run and (run / "metrics.jsonl").exists() and '"updates": 0,' not in last_row(run):
                mine = [p for p in emulators() if "ActorNode" in " ".join(p.parent().cmdline())]
                if mine:
                    killed.append(mine[0].pid)
                    mine[0].kill()

    def last_row(run):
        return ((run / "metrics.jsonl").read_text().splitlines() or ['"updates": 0,'])[-1]

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        stop = "stop.after_updates=150"
        assert main(["train", "sonic", "--demo", f"runs_dir={tmp_path}", stop, *SETTINGS]) == 0
    finally:
        over.set()
        thread.join()
    (run,) = tmp_path.glob("sonic-demo-*")
    out = capsys.readouterr().out
    assert killed and "actor 0 lost its process, restart 1 of 3" in out
    assert "played on the demo cartridge: its scores say nothing of the real game" in out
    assert "evaluation on the demo cartridge: last" in out and "scores of the demo cartridge, not of the game" in out

    trained = (run / "stages.csv").read_text().splitlines()
    assert trained[0].startswith("time_s,frames,updates,stage,episodes,best_x,")
    assert {line.split(",")[3] for line in trained[1:]} <= {
        "GreenHillZone.Act1",
        "EmeraldHillZone.Act1",
        "IcecapZone.Act1",
    }
    assert all(line.endswith(",the demo cartridge") for line in trained[1:]) and len(trained) > 1
    evaluated = (run / "stage_evaluations.csv").read_text().splitlines()[1:]
    assert {line.split(",")[3] for line in evaluated} == {"GreenHillZone.Act2", "EmeraldHillZone.Act2"}
    assert (run / "stages.png").stat().st_size > 5_000
    assert (run / "videos" / "best.mp4").stat().st_size > 1_000 and (run / "videos" / "best.bk2").exists()

    film = tmp_path / "film.mp4"
    assert main(["record", str(run), "--checkpoint", "latest", "--out", str(film), "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    assert "played on the demo cartridge: these scores say nothing of the real game" in out
    assert "GreenHillZone.Act2" in out and "mean of stages" in out
    assert film.stat().st_size > 1_000 and film.with_suffix(".bk2").stat().st_size > 500
    assert emulators() == [], "none is left behind"
