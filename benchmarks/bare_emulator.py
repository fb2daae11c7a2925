"""A bare emulator for retro_speed.py: plays STEPS agent steps for each line it reads. Arguments: core|env GAME STEPS"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import stable_retro
from PIL import Image

ACTIONS = ((), ("LEFT",), ("RIGHT",), ("B",), ("LEFT", "B"), ("RIGHT", "B"))


def stepper(kind: str, game: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function: buttons held for four frames -> the last screen."""
    env = stable_retro.make(game, render_mode=None)
    env.reset()
    if kind == "env":

        def whole(mask: np.ndarray) -> np.ndarray:
            screen: np.ndarray
            for _ in range(4):
                screen, _, done, _, _ = env.step(mask)
                if done:
                    env.reset()
            return screen

        return whole

    def core(mask: np.ndarray) -> np.ndarray:
        env.em.set_button_mask(mask, 0)
        for _ in range(4):
            env.em.step()
        screen: np.ndarray = env.em.get_screen()
        return screen

    return core


def main(kind: str, game: str, steps: int) -> None:
    step = stepper(kind, game)
    names = stable_retro.get_system_info("Genesis")["buttons"]
    masks = [np.array([n in a for n in names], np.uint8) for a in ACTIONS]
    stack, rng = np.zeros((4, 84, 84), np.uint8), np.random.default_rng(0)
    for _ in sys.stdin:
        for action in rng.integers(len(masks), size=steps):
            gray = Image.fromarray(step(masks[action])).convert("L").resize((84, 84), Image.Resampling.BOX)
            stack[:-1] = stack[1:]
            stack[-1] = np.asarray(gray)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
