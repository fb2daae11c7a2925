"""RLlib's Ape-X (Ray 2.8, the last to have it) on Pong for SECONDS: python rllib_apex.py SECONDS BATCH

Its own environment, as `install.sh` makes it. Prints environment steps and updates a second of the second half. The
network is Ape-X's with 3.29 M parameters; replay holds 50,000 transitions, as RLlib keeps whole stacks of frames.
"""

import json
import sys
import time

import ale_py
import cv2
import gymnasium
import numpy as np
import ray
from ale_py import roms
from ray.rllib.algorithms.apex_dqn import ApexDQNConfig
from ray.rllib.models import ModelCatalog
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from ray.tune.registry import register_env
from torch import nn

SECONDS, BATCH = float(sys.argv[1]), int(sys.argv[2])
FEATURES = 3136  # of the convolutions, which the dueling heads of 512 build on


class Pong(gymnasium.Env):
    """Frame skip 4, the larger of the last two screens, 84x84 gray, stacks of 4: without a gymnasium of its time."""

    def __init__(self):
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", 1)
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.loadROM(roms.get_rom_path("pong"))
        self.actions = self.ale.getMinimalActionSet()
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))
        self.observation_space = gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8)
        self.stack = np.zeros((84, 84, 4), np.uint8)

    def screen(self):
        return cv2.resize(self.ale.getScreenGrayscale(), (84, 84), interpolation=cv2.INTER_AREA)

    def reset(self, *, seed=None, options=None):
        self.ale.reset_game()
        self.stack[:] = self.screen()[..., None]
        return self.stack.copy(), {}

    def step(self, action):
        reward = 0.0
        for k in range(4):
            reward += self.ale.act(self.actions[action])
            if k == 2:
                third = self.ale.getScreenGrayscale()
        both = np.maximum(third, self.ale.getScreenGrayscale())
        self.stack[..., :3] = self.stack[..., 1:]
        self.stack[..., 3] = cv2.resize(both, (84, 84), interpolation=cv2.INTER_AREA)
        return self.stack.copy(), float(np.sign(reward)), self.ale.game_over(), False, {}


class Convolutions(TorchModelV2, nn.Module):
    """Mnih et al. 2015, up to the fully connected layers, which RLlib's dueling heads bring."""

    def __init__(self, obs_space, action_space, num_outputs, model_config, name, **_):
        nn.Module.__init__(self)
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.layers = nn.Sequential(
            *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten()),
        )

    def forward(self, input_dict, state, seq_lens):
        frames = input_dict["obs"].permute(0, 3, 1, 2).float() / 255.0
        return self.layers(frames), state


register_env("pong", lambda _: Pong())
ModelCatalog.register_custom_model("convolutions", Convolutions)
config = (
    ApexDQNConfig()
    .environment("pong")
    .framework("torch")
    .rollouts(num_rollout_workers=2, num_envs_per_worker=8, rollout_fragment_length=50, preprocessor_pref=None)
    .resources(num_gpus=0)
    .training(
        train_batch_size=BATCH,
        n_step=3,
        double_q=True,
        dueling=True,
        hiddens=[512],
        num_steps_sampled_before_learning_starts=1_000,
        target_network_update_freq=10_000,
        optimizer={"num_replay_buffer_shards": 1, "debug": False},
        replay_buffer_config={
            "type": "MultiAgentPrioritizedReplayBuffer",
            "capacity": 50_000,
            "prioritized_replay_alpha": 0.6,
            "prioritized_replay_beta": 0.4,
            "no_local_replay_buffer": True,
            "replay_buffer_shards_colocated_with_driver": True,
            "worker_side_prioritization": True,
        },
        model={"custom_model": "convolutions", "fcnet_hiddens": [FEATURES]},
    )
    .reporting(min_time_s_per_iteration=5, min_sample_timesteps_per_iteration=0)
    .experimental(_disable_preprocessor_api=True)
)
ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
algorithm = config.build()
model = algorithm.get_policy().model
rows, started = [], time.monotonic()
while time.monotonic() - started < SECONDS:
    result = algorithm.train()
    counters = result["counters"]
    sampled, trained = counters["num_env_steps_sampled"], counters["num_env_steps_trained"]
    rows.append((time.monotonic() - started, sampled, trained / BATCH))
last = rows[-1]
half = next((r for r in rows if r[0] >= SECONDS / 2), rows[0])
half = rows[0] if half is last else half
elapsed = last[0] - half[0]
print(
    json.dumps(
        {
            "env steps/s": (last[1] - half[1]) / elapsed,
            "updates/s": (last[2] - half[2]) / elapsed,
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds measured": elapsed,
        }
    )
)
