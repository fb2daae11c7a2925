"""Our Grafana boards ask a real Prometheus, which scrapes real runs on a real head."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from apex_ray.report.board import apex_board
from lstm.metrics import lstm_board
from tests.cluster.heads import Head, free_port
from wavenet.metrics import wavenet_board

DASHBOARDS = files("cluster").joinpath("dashboards")
BOARDS = {file: DASHBOARDS.joinpath(file) for file in ("apex.json", "lstm.json", "wavenet.json")}
FED = ("apex.json", "wavenet.json")  # boards of the runs that the test below starts
# Atari, so that scores on the human scale come too; no playing well enough in half a minute is asked for.
RUN = (
    "pong", "actors.count=1", "actors.envs_per_actor=4", "replay.capacity_transitions=20000",
    "replay.min_transitions=200", "actors.chunk_transitions=20", "learner.batch_size=16", "learner.compile=false",
    "evaluation.every_s=4", "evaluation.episodes=1", "stop.after_s=100", "report.every_s=1",
)  # fmt: skip


WAVENET = (
    "small", "data.folder=sound", "model.cycles=1", "model.layers_per_cycle=4", "model.residual=16", "model.skip=16",
    "model.head=16", "training.batch=2", "training.segment_samples=400", "training.steps=100000",
    "training.report_every_steps=5", "training.validate_every_steps=20", "training.excerpt_s=0",
)  # fmt: skip


def queries(board: dict[str, Any]) -> dict[str, str]:
    """Panel's title -> its query for all runs."""
    return {
        panel["title"]: target["expr"].replace("$run", ".*")
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }


@pytest.mark.parametrize(
    ("file", "made", "module"),
    [
        ("apex.json", apex_board, "apex_ray.report.board"),
        ("wavenet.json", wavenet_board, "wavenet.metrics"),
        ("lstm.json", lstm_board, "lstm.metrics"),
    ],
)
def test_a_board_is_what_the_list_of_metrics_says(file: str, made: Callable[[], str], module: str) -> None:
    assert BOARDS[file].read_text() == made(), f"run: python -m {module} > cluster/dashboards/{file}"


def test_every_board_is_tested() -> None:
    boards = [json.loads(board.read_text()) for board in DASHBOARDS.iterdir() if board.name.endswith(".json")]
    assert len(boards) == len(BOARDS) == len({board["uid"] for board in boards})


@pytest.mark.parametrize("file", BOARDS)
def test_panels_do_not_overlap_and_have_ids_of_their_own(file: str) -> None:
    panels = json.loads(BOARDS[file].read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) == 23


@contextmanager
def prometheus(config: Path, folder: Path) -> Iterator[str]:
    """A Prometheus of the test's own; its address."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}", f"--web.listen-address={address}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def ask(address: str, query: str) -> list[dict[str, object]]:
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []  # it is starting


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
@pytest.mark.timeout(180)
def test_every_panel_has_data_during_a_run(tmp_path: Path) -> None:
    head = Head(tmp_path)
    code, out = head.up("--cpus", "3", RAY_metrics_report_interval_ms="1000", APEX_CACHE=str(tmp_path / "cache"))
    assert code == 0, out
    try:
        (tmp_path / "sound").mkdir()
        for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
            soundfile.write(tmp_path / "sound" / name, 0.3 * np.sin(np.arange(8_000) / 7), 16_000)
        for name, command in (
            ("watched", ("apex-ray", "train", *RUN)),
            ("heard", ("apex-wavenet", "train", *WAVENET)),
        ):
            code, said = head.run("apex-cluster", "submit", "--no-follow", "--name", name, "--", *command, cwd=tmp_path)
            assert code == 0, said
        grafana = next(Path(line.split()[1]) for line in out.splitlines() if line.startswith("Grafana"))
        assert all((grafana / "dashboards" / file).exists() for file in BOARDS)
        config = tmp_path / "prometheus.yml"  # Ray's own, scraping more often
        config.write_text((grafana.parent / "prometheus" / "prometheus.yml").read_text().replace("10s", "1s"))
        with prometheus(config, tmp_path / "data") as address:
            missing = {
                (file, title): query
                for file in FED
                for title, query in queries(json.loads(BOARDS[file].read_text())).items()
            }
            until = time.monotonic() + 110
            while missing and time.monotonic() < until:
                time.sleep(1)
                missing = {panel: query for panel, query in missing.items() if not ask(address, query)}
            logs = "".join(head.run("apex-cluster", "logs", name)[1] for name in ("watched", "heard"))
            assert not missing, f"{missing}\n{logs}"
            (frames,) = ask(address, "ray_apex_env_frames_total")
            assert float(frames["value"][1]) > 0 and frames["metric"]["run"].startswith("pong-")  # type: ignore[index]
            bits = ask(address, "ray_wavenet_bits_per_sample")
            assert {one["metric"]["of"] for one in bits} == {"batch", "validation"}  # type: ignore[index]
    finally:
        head.run("apex-cluster", "down", "--force")
