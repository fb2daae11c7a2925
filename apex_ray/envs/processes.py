"""Gymnasium environments in processes of their own, for those that are slow, or crash, or hang."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from apex_ray.config.schema import EnvConfig
from apex_ray.envs import own_code
from apex_ray.envs.base import ProcessLostError
from apex_ray.envs.checks import checked_answer
from apex_ray.envs.gym import make_env
from apex_ray.envs.spaces import Choices, Observed

LOOK_S = 0.2


class OwnProcesses(AsyncVectorEnv):
    """E environments in E processes. ProcessLostError, naming the environment, for one whose process has ended, and for
    one that has been in a call for `env.step_limit_s`: its process is killed.
    """

    def __init__(self, config: EnvConfig, num_envs: int, render: bool) -> None:
        self._config, self._lost = config, False
        code = own_code.packed(config.id)

        def make(index: int) -> gymnasium.Env[Any, Any]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
            own_code.unpack(config.id, code)
            return _Checked(make_env(config, render), config, index)

        with _script_left_alone():
            makers = [partial(make, index) for index in range(num_envs)]
            super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP, context="forkserver")

    def reset_async(self, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None) -> None:
        with self._naming():
            super().reset_async(seed, options)

    def reset_wait(self, timeout: float | None = None) -> Any:
        self._wait("reset()")
        with self._naming():
            return super().reset_wait(timeout)

    def step_async(self, actions: Any) -> None:
        with self._naming():
            super().step_async(actions)

    def step_wait(self, timeout: float | None = None) -> Any:
        self._wait("step()")
        with self._naming():
            return super().step_wait(timeout)

    def _wait(self, what: str) -> None:
        """Until every environment has answered, or its process has ended."""
        since, limit = time.monotonic(), self._config.step_limit_s
        for e, pipe in enumerate(self.parent_pipes):
            while not pipe.poll(LOOK_S):
                if time.monotonic() - since > limit:
                    self.processes[e].kill()
                    raise self._gone(e, f"has been in {what} for {limit:g} s (env.step_limit_s) and was killed")

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """A pipe ends with its process. One whose environment raised has sent its error before, and exits with 0."""
        try:
            yield
        except (EOFError, OSError):
            for process in self.processes:
                process.join(LOOK_S)
            codes = {e: process.exitcode for e, process in enumerate(self.processes) if process.exitcode is not None}
            # One that was killed, or failed, rather than one that ended since another did.
            index = max(codes, key=lambda e: codes[e] != 0, default=0)
            code = codes.get(index, 0)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise self._gone(index, how) from None

    def _raise_if_errors(self, successes: Any) -> None:
        """What an environment raised, with its own traceback, which Gymnasium would print as a warning."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                super()._raise_if_errors(successes)
            except Exception as error:
                error.add_note("\n".join(str(warning.message) for warning in told))
                raise

    def _gone(self, index: int, how: str) -> ProcessLostError:
        self._lost = True
        return ProcessLostError(f"the process of environment {index} of {self._config.id} {how}")

    def close_extras(self, timeout: float | None = None, terminate: bool = False, **kwargs: Any) -> None:
        """They are asked to end; after a loss, when some may not answer any more, all are killed."""
        if not self._lost:
            super().close_extras(timeout, terminate)
            return
        for process in self.processes:
            process.kill()
            process.join()


class _Checked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations are looked at where they are made: on their way here they are written into arrays of the space's
    dtype, whatever they were.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], config: EnvConfig, index: int) -> None:
        super().__init__(env)
        self._observed = Observed(config, env.observation_space, Choices(config, env.action_space))
        self._steps, self._env_id, self._index = 0, config.id, index

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = checked_answer(self._env_id, self._index, "reset()", self.env.reset(**kwargs))
        self._steps = 0
        self._observed.frames(observation, self._index, 0)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        answer = checked_answer(self._env_id, self._index, "step()", self.env.step(action))
        observation, reward, terminated, truncated, info = answer
        self._steps += 1
        self._observed.frames(observation, self._index, self._steps)
        return observation, reward, terminated, truncated, info


@contextlib.contextmanager
def _script_left_alone() -> Iterator[None]:
    """Keep multiprocessing from running the user's script again in each process: what is needed of it is sent along."""
    main = vars(sys.modules["__main__"])
    before: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(before)
