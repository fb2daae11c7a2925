"""Each thing that can be wrong with a cluster gives one clear message, in seconds."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cluster.connect import Embedded, connected
from tests.cluster.heads import Head, free_port, run_all
from trainkit.errors import UserError

TRAIN = ("apex-ray", "train", "cartpole")
SECONDS = 15.0  # Ray's own clients take 20 to 30


def one_message(result: tuple[int, str, float], *parts: str) -> None:
    code, out, seconds = result
    assert code == 2, out
    assert "Traceback" not in out and out.count("error: ") == 1, out
    assert [part for part in parts if part not in out] == [], out
    assert (
        seconds < SECONDS + 25
    )  # no measure of speed: a test's commands run at once, and another file of tests beside them


def test_a_wrong_token(head: Head) -> None:
    wrong = {"RAY_AUTH_TOKEN": "0" * 64}
    results = run_all(
        head,
        [
            ((*TRAIN, f"cluster.address={head.address}"), wrong),
            ((*TRAIN, f"cluster.address=ray://127.0.0.1:{head.client}"), wrong),
            (("apex-cluster", "submit", "--", *TRAIN), wrong),
            (("apex-cluster", "plan", "cartpole"), wrong),
        ],
    )
    for result in results:
        one_message(result, "refused the token from RAY_AUTH_TOKEN", "ray get-auth-token")


def test_no_token(head: Head) -> None:
    none = {"RAY_AUTH_TOKEN_PATH": str(head.folder / "missing")}
    results = run_all(
        head,
        [
            ((*TRAIN, f"cluster.address={head.address}"), none),
            ((*TRAIN, f"cluster.address={head.address}"), {**none, "RAY_AUTH_MODE": "token"}),
            ((*TRAIN, f"cluster.address=ray://127.0.0.1:{head.client}"), none),
            (("apex-cluster", "list"), none),
            (("apex-cluster", "status"), {"RAY_AUTH_MODE": "disabled"}),
        ],
    )
    for result in results[:-1]:
        one_message(result, "asks for a token and there is none", str(head.folder / "missing"))
    one_message(results[-1], "RAY_AUTH_MODE=disabled keeps it from being sent")


def test_an_unreachable_or_wrong_address(head: Head) -> None:
    nobody = free_port()
    results = run_all(
        head,
        [
            ((*TRAIN, f"cluster.address=127.0.0.1:{nobody}"), {}),
            ((*TRAIN, f"cluster.address=ray://no-such-host.invalid:{nobody}"), {}),
            ((*TRAIN, f"cluster.address={head.url}"), {}),
            (TRAIN, {"RAY_ADDRESS": head.url}),
            ((*TRAIN, f"cluster.address=127.0.0.1:{head.client}"), {}),
            ((*TRAIN, f"cluster.address=ray://{head.address}"), {}),
            ((*TRAIN, f"cluster.address=127.0.0.1:{head.dashboard}"), {}),
            (("apex-cluster", "submit", "--address", f"http://127.0.0.1:{nobody}", "--", "true"), {}),
            (("apex-cluster", "list", "--address", "127.0.0.1:8265"), {}),
        ],
    )
    one_message(results[0], f"cluster.address = '127.0.0.1:{nobody}' can't be reached (Connection refused)")
    one_message(results[1], "can't be reached (", "expected auto, host:port, ray://host:port")
    one_message(results[2], "cluster.address = ", "is where jobs are submitted")
    one_message(results[3], "RAY_ADDRESS = ", "is where jobs are submitted")
    one_message(results[4], "can't be reached (that is Ray Client's port)")
    one_message(results[5], "can't be reached (that is no Ray Client port)")
    one_message(results[6], "something listens there, but not Ray")
    one_message(results[7], f"http://127.0.0.1:{nobody}", "Connection refused", "apex-cluster up")
    one_message(results[8], "--address '127.0.0.1:8265'", "expected the dashboard's http://host:port")


def test_a_job_larger_than_the_cluster(head: Head) -> None:
    large = (*TRAIN, "actors.count=9", "replay.capacity_transitions=2000000", f"cluster.address={head.address}")
    results = run_all(
        head,
        [
            (large, {}),
            (("apex-cluster", "submit", "--", *large[:-1]), {}),
            (("apex-cluster", "plan", "cartpole", *large[3:5]), {}),
        ],
    )
    one_message(results[0], "does not fit the cluster", "9 x actor (1 CPU", "room for 2", "actors.count=2")
    one_message(results[1], "does not fit the cluster", "actors.count=2")
    code, out, _ = results[2]
    assert code == 1 and "; the largest that fits is actors.count=2\n" in out and "(head)" in out, out


def test_a_working_dir_over_the_limit(head: Head, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big.bin").write_bytes(os.urandom(101 * 2**20))
    submit = ("apex-cluster", "submit", "--working-dir", str(tmp_path))
    results = run_all(
        head,
        [
            ((*submit, "--", "true"), {}),
            ((*submit, "--exclude", "*.bin", "--", "true"), {}),
            (("apex-cluster", "submit", "--working-dir", str(tmp_path / "nowhere"), "--", "true"), {}),
        ],
    )
    one_message(results[0], "MiB packed", "takes 100 MiB", "--exclude", "data/big.bin 101.0 MiB")
    assert results[1][0] == 0, results[1]
    one_message(results[2], "nowhere", "is no folder")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("sbmit", ["Did you mean 'submit'?"]),
        ("submit", ["nothing to run"]),
        ("list -- true", ["takes no words after --"]),
        ("plan", ["no preset"]),
        ("plan apex-rey pong", ["Did you mean 'apex-ray'?"]),
        ("plan pong actors.cout=3", ["Did you mean 'actors.count'?"]),
        ("up --cpus 0", ["expected at least 1"]),
        ("submit --runs-dir some/where -- true", ["--runs-dir", "absolute"]),
        ("logs nothing", ["no job 'nothing'"]),
        ("stop nothing", ["no job 'nothing'"]),
    ],
)
def test_a_mistake_on_the_command_line(head: Head, line: str, parts: list[str]) -> None:
    one_message((*head.run("apex-cluster", *line.split()), 0.0), *parts)


@pytest.fixture
def old_dashboard() -> Iterator[str]:
    """Answers as a dashboard of another Ray; no second version can be had here."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"ray_version": "2.50.0"}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_jobs_for_another_version_of_ray(head: Head, old_dashboard: str) -> None:
    code, out = head.run("apex-cluster", "submit", "--address", old_dashboard, "--", "true")
    one_message((code, out, 0.0), "runs Ray 2.50.0 and this is Ray 2.", "expected the same on both sides")


def test_auto_without_a_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda folder=None: None)
    with pytest.raises(UserError, match="apex-cluster up starts one"), connected("auto", Embedded(0, 0)):
        pass
