"""Our Grafana board asks a real Prometheus, which scrapes a real run on a real head."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from apex_ray.report.board import apex_board
from cluster.board import queries
from tests.cluster.heads import Head, free_port

BOARD = files("cluster").joinpath("dashboards/apex.json")
# Atari, so that scores on the human scale come too; no playing well enough in half a minute is asked for.
RUN = (
    "pong", "actors.count=1", "actors.envs_per_actor=4", "replay.capacity_transitions=20000",
    "replay.min_transitions=200", "actors.chunk_transitions=20", "learner.batch_size=16", "learner.compile=false",
    "evaluation.every_s=4", "evaluation.episodes=1", "stop.after_s=100", "report.every_s=1",
)  # fmt: skip


def test_the_board_is_what_the_list_of_metrics_says() -> None:
    assert BOARD.read_text() == apex_board(), "run: python -m apex_ray.report.board > cluster/dashboards/apex.json"


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
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
    code, out = head.up("--cpus", "2", RAY_metrics_report_interval_ms="1000")
    assert code == 0, out
    try:
        job = ("apex-cluster", "submit", "--no-follow", "--name", "watched", "--", "apex-ray", "train", *RUN)
        code, said = head.run(*job, cwd=tmp_path)
        assert code == 0, said
        grafana = next(Path(line.split()[1]) for line in out.splitlines() if line.startswith("Grafana"))
        config = tmp_path / "prometheus.yml"  # Ray's own, scraping more often
        config.write_text((grafana.parent / "prometheus" / "prometheus.yml").read_text().replace("10s", "1s"))
        with prometheus(config, tmp_path / "data") as address:
            missing, until = queries(json.loads(BOARD.read_text())), time.monotonic() + 110
            while missing and time.monotonic() < until:
                time.sleep(1)
                missing = {title: query for title, query in missing.items() if not ask(address, query)}
            assert not missing, head.run("apex-cluster", "logs", "watched")[1]
            (frames,) = ask(address, "ray_apex_env_frames_total")
            assert float(frames["value"][1]) > 0 and frames["metric"]["run"].startswith("pong-")  # type: ignore[index]
    finally:
        head.run("apex-cluster", "down")
