"""Serve a run's policy over HTTP with Ray Serve: python examples/serve_policy.py RUN [--port 8000]

    curl -s localhost:8000 -d '{"observations": [[0.1, 0, 0, 0]]}'    ->    {"actions": [1]}

"observations" is one observation or a batch, or a dict of them where the environment has one. Add "action_mask" where
actions can be illegal. Requests that arrive together are computed as one batch. Needs: pip install 'ray[serve]'
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

import apex_ray
from trainkit.errors import UserError


@serve.deployment
class Served:
    def __init__(self, run: str, checkpoint: str) -> None:
        self._policy = apex_ray.load_policy(run, checkpoint)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def act(self, asked: list[dict[str, Any]]) -> list[Any]:
        """For each request its actions, or what is wrong with it. All are put into one batch."""
        leaves: list[Any] = []
        for one in asked:
            try:
                leaves.append(self._policy.batch(one.get("observations"), one.get("action_mask")))
            except UserError as error:
                leaves.append(error)
        good = [found[0] for found in leaves if not isinstance(found, UserError)]
        if good:
            together = {name: np.concatenate([batch[name] for batch in good]) for name in good[0]}
            actions = self._policy(together).tolist()
        answers: list[Any] = []
        for found in leaves:
            if isinstance(found, UserError):
                answers.append(found)
                continue
            batch, alone = found
            count = len(next(iter(batch.values())))
            mine, actions = actions[:count], actions[count:]
            answers.append(mine[0] if alone else mine)
        return answers

    async def __call__(self, request: Request) -> JSONResponse:
        try:
            asked = await request.json()
        except ValueError:
            return JSONResponse({"error": 'the body is no JSON; expected {"observations": ...}'}, status_code=400)
        answer = await self.act(asked if isinstance(asked, dict) else {"observations": asked})
        if isinstance(answer, UserError):
            return JSONResponse({"error": str(answer)}, status_code=400)
        return JSONResponse({"actions": answer})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", help="its folder, or latest")
    parser.add_argument("--checkpoint", default="best")
    parser.add_argument("--port", type=int, default=8000)
    words = parser.parse_args()
    try:
        apex_ray.load_policy(words.run, words.checkpoint)  # what is wrong with it is told here, not by a replica
    except UserError as error:
        parser.error(str(error))
    serve.start(http_options={"port": words.port})
    serve.run(Served.bind(words.run, words.checkpoint))
    print(f"answering on http://localhost:{words.port}; Ctrl-C ends it", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
