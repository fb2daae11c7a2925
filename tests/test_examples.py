"""The examples do what they say, run as a user runs them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from apex_ray.policy import load_policy
from tests.apex_ray.runs import cartpole, saved

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.timeout(300)
def test_a_task_and_a_network_of_ones_own_are_learned(tmp_path):
    """Classes of a script's own __main__ reach the processes of the run."""
    words = [f"runs_dir={tmp_path}", "evaluation.every_s=5", "evaluation.video=false"]
    command = [sys.executable, str(EXAMPLES / "own_task.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) == 1.0


def asked(port, body):
    """(status, what the server answered)."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}", data=body.encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.timeout(240)
def test_a_policy_answers_over_http(tmp_path):
    run, _ = saved(tmp_path, cartpole())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "serve_policy.py"), str(run), "--port", str(port)]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, process_group=0)
    try:
        assert any(line.startswith("answering on") for line in server.stdout), "it ended before it answered"
        policy, rng = load_policy(run), np.random.default_rng(0)
        batch = rng.normal(size=(5, 4)).round(3)
        expected = policy(batch[:, None].astype(np.float32)).tolist()
        assert asked(port, json.dumps({"observations": batch[:, None].tolist()})) == (200, {"actions": expected})
        assert asked(port, json.dumps({"observations": batch[0].tolist()})) == (200, {"actions": expected[0]})
        status, answer = asked(port, json.dumps({"observations": [1, 2, 3]}))
        assert status == 400 and "expected float32 [E, 1, 4]" in answer["error"]
        with ThreadPoolExecutor(8) as pool:  # a bad one spoils none of those that it is batched with
            bodies = [[[1, 2, 3, 4], [1]], *batch.tolist()] * 4
            answers = list(pool.map(lambda body: asked(port, json.dumps({"observations": body})), bodies))
        good = [(200, {"actions": action}) for action in expected]
        assert [answers[at] for at in range(24) if at % 6] == good * 4
        assert all(status == 400 and "no array of numbers" in answer["error"] for status, answer in answers[::6])
        status, answer = asked(port, "no json")
        assert status == 400 and "no JSON" in answer["error"]
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.mark.timeout(400)
def test_the_notebook_trains_draws_and_plays(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS", str(tmp_path))
    notebook = nbformat.read(EXAMPLES / "cartpole.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without what it printed"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell.id: cell for cell in notebook.cells}
    kinds = {name: [output.output_type for output in cell.get("outputs", [])] for name, cell in cells.items()}
    assert "display_data" in kinds["curve"] and "display_data" in kinds["plot"] and "display_data" in kinds["play"]
    printed = {name: "".join(o.get("text", "") for o in cell.get("outputs", [])) for name, cell in cells.items()}
    assert float(re.search(r"best evaluation (\d+)", printed["curve"])[1]) >= 100
    assert float(re.search(r"return (\d+)", printed["play"])[1]) >= 50
    assert len(re.findall(r"\d+\.\d", printed["evaluate"])) == 5
