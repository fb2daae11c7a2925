"""What a process that hangs is doing can be had from outside, whatever it hangs in."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apex_ray import stacks

PROGRAM = """
import ctypes, sys, threading, time
from apex_ray import stacks

there = threading.Semaphore(0)

def waits_here(say=there.release):
    say()
    time.sleep(600)

def hangs_here(say):
    say()
    while True:  # a signal ends the sleep
        ctypes.PyDLL(None).sleep(600)  # and keeps Python's lock

if sys.argv[1] != "deaf":
    stacks.write_on_request()
threading.Thread(target=waits_here, daemon=True).start()
there.acquire()
(hangs_here if sys.argv[1] == "native" else waits_here)(lambda: print("begun", flush=True))
"""


@contextlib.contextmanager
def started(how):
    command = [sys.executable, "-c", PROGRAM, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["python", "native"])
def test_all_threads_of_a_process_that_hangs(how):
    with started(how) as process:
        for _ in range(2):  # each time those of now
            told = stacks.stacks_of(process.pid)
            assert told.count("in waits_here") == (1 if how == "native" else 2)
            assert ("in hangs_here" in told) == (how == "native")
            assert told.count("Current thread") + told.count("Thread 0x") == 2


def test_why_there_are_none(monkeypatch):
    monkeypatch.setattr(stacks, "WRITTEN_S", 0.5)
    with started("python") as process:
        process.send_signal(signal.SIGSTOP)
        assert stacks.stacks_of(process.pid) == "it wrote no stacks within 0.5 s: it is stopped\n"
    with started("deaf") as process:
        assert stacks.stacks_of(process.pid) == "it writes no stacks\n"
        assert process.poll() is None, "the signal would have ended it"
    assert "its stacks can't be had: " in stacks.stacks_of(process.pid)


def test_they_are_in_the_run_folder(tmp_path):
    told = stacks.write(tmp_path, {"actor 3": "a\n", "replay-0": "b\n"}), stacks.write_own(tmp_path, "environment")
    files = [Path(words.removeprefix("stacks in ")) for words in told]
    assert [file.parent for file in files] == [tmp_path / "stalls"] * 2
    assert files[0].read_text() == "actor 3\na\n\nreplay-0\nb\n\n"
    assert "in test_they_are_in_the_run_folder" in files[1].read_text()
    (tmp_path / "file").touch()
    assert stacks.write(tmp_path / "file", {"a": "b"}).startswith("stacks can't be written into ")
