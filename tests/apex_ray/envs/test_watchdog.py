"""An environment that hangs is named while it hangs, by its own process; nothing is paid for it while it does not."""

import threading
import time
import weakref

import gymnasium
import numpy as np
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs import watchdog
from apex_ray.envs.make import make_envs, probe
from tests.fakes import CountingEnv

HELD, GO_ON = threading.Event(), threading.Event()


class Hangs(CountingEnv):
    """The first to be made hangs at reset or at its second step until GO_ON is set."""

    def __init__(self, where, only=0):
        super().__init__()
        self._where, self._only = where, only

    def _hang(self):
        HELD.set()
        assert GO_ON.wait(60)

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        if self._where == "reset()" and seed == self._only:
            self._hang()
        self._mine = seed == self._only
        return result

    def step(self, action):
        if self._where == "step()" and self._mine and self.mark.step == 1:
            self._hang()
        return super().step(action)


@pytest.fixture
def said(monkeypatch):
    lines, arrived = [], threading.Condition()

    def say(text):
        with arrived:
            lines.append(text)
            arrived.notify_all()

    def wait_for(count):
        with arrived:
            assert arrived.wait_for(lambda: len(lines) >= count, timeout=60), lines
        return lines

    HELD.clear()
    GO_ON.clear()
    if "apex-tests/Hangs-v0" not in gymnasium.registry:
        gymnasium.register("apex-tests/Hangs-v0", entry_point=Hangs)
    monkeypatch.setattr(watchdog._watching, "say", say)
    yield wait_for
    GO_ON.set()


def config(**kwargs):
    return EnvConfig(id="apex-tests/Hangs-v0", frame_stack=1, step_limit_s=0.2, kwargs=kwargs)


@pytest.mark.parametrize("where", ["reset()", "step()"])
def test_the_environment_that_hangs_is_named_until_it_goes_on(where, said):
    envs = make_envs(config(where=where, only=12), 3)  # environment 2, with seed 10

    def play():
        envs.reset(10)
        for _ in range(3):
            envs.send(np.zeros(3, np.int64))
            envs.recv()

    thread = threading.Thread(target=play)
    thread.start()
    assert HELD.wait(60)
    lines = said(2)  # again after twice the time
    for line in lines:
        assert f"environment 2 of apex-tests/Hangs-v0 has been in {where} for" in line
        assert "env.step_limit_s = 0.2" in line
    GO_ON.set()
    thread.join()
    envs.reset(99)
    assert any(f"environment 2 of apex-tests/Hangs-v0 returned from {where}" in line for line in said(3))


def test_after_an_exception_nothing_is_waited_for():
    envs = make_envs(EnvConfig(id="apex-tests/Raises-v0", frame_stack=1, kwargs={"at": 1}), 1)
    envs.reset(0)
    envs.send(np.zeros(1, np.int64))
    with pytest.raises(RuntimeError, match="boom"):
        envs.recv()
    assert envs._watched.doing is None
    envs = make_envs(EnvConfig(id="apex-tests/RaisesOnReset-v0", frame_stack=1), 1)
    with pytest.raises(RuntimeError, match="boom"):
        envs.reset(0)
    assert envs._watched.doing is None


def test_environments_that_are_gone_are_watched_no_more(monkeypatch):
    monkeypatch.setattr(watchdog, "_watching", watchdog._Watching())
    watched = [watchdog.Watched("gone", 0.04) for _ in range(3)]
    refs = [weakref.ref(w) for w in watched]
    time.sleep(0.1)  # it looks at them meanwhile
    del watched
    until = time.monotonic() + 30
    while any(ref() is not None for ref in refs) and time.monotonic() < until:
        time.sleep(0.01)
    assert [ref() for ref in refs] == [None] * 3


def test_one_that_is_added_is_looked_at_without_waiting_for_the_others_limits(monkeypatch):
    watching, looks = watchdog._Watching(), list[int]()
    monkeypatch.setattr(watchdog, "_watching", watching)
    monkeypatch.setattr(watchdog, "LOOK_S", 600)
    look = watching._look_at_all
    monkeypatch.setattr(watching, "_look_at_all", lambda: looks.append(len(watching.all)) or look())

    def has_looked_at(count: int) -> bool:
        until = time.monotonic() + 30
        while count not in looks and time.monotonic() < until:
            time.sleep(0.01)
        return count in looks

    patient = watchdog.Watched("patient", 2400)
    assert has_looked_at(1)
    hasty = watchdog.Watched("hasty", 0.04)
    assert has_looked_at(2)
    assert (patient.limit_s, hasty.limit_s) == (2400, 0.04)  # both alive until here


def test_a_hang_in_the_probe_is_named(said):
    thread = threading.Thread(target=probe, args=(config(where="reset()"),))
    thread.start()
    assert "environment 0 of apex-tests/Hangs-v0 has been in reset()" in said(1)[0]
    GO_ON.set()
    thread.join()


def test_where_nobody_else_listens_it_is_said_on_stderr(capsys):
    watchdog._to_stderr("environment 0 of X has been in step()")
    assert capsys.readouterr().err == "environment 0 of X has been in step()\n"
