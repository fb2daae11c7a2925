"""Agent steps a second of other ways to step Pong, on one thread: 84x84 gray, skip 4, stack 4."""

import numpy as np
from measure import measure

ENVS = 32


def envpool_alone():
    import envpool

    envs = envpool.make_gymnasium("Pong-v5", num_envs=ENVS, num_threads=1, stack_num=4, frame_skip=4)
    envs.reset()
    rng = np.random.default_rng(0)

    def step():
        envs.step(rng.integers(6, size=ENVS))
        return ENVS

    return step


def gymnasium_wrappers():
    import ale_py
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    gymnasium.register_envs(ale_py)

    def make():
        game = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
        return FrameStackObservation(AtariPreprocessing(game, frame_skip=4), 4)

    envs = gymnasium.vector.SyncVectorEnv([make] * 8)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)

    def step():
        envs.step(rng.integers(6, size=8))
        return 8

    return step


def rllib_env_runner():
    """RLlib's runner with the Nature network of its DQN, 8 environments, exploring: what its actors do."""
    from rllib_config import dqn_config

    config = dqn_config(runners=0, batch=512)
    algorithm = config.build_algo()
    runner = algorithm.env_runner

    def sample():
        return sum(len(episode) for episode in runner.sample(num_timesteps=400, random_actions=False))

    return sample


measure(
    {
        "envpool alone": envpool_alone,
        "gymnasium wrappers alone": gymnasium_wrappers,
        "RLlib env runner": rllib_env_runner,
    }
)
