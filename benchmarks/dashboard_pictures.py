"""Pictures of Ray's dashboard during a run, for docs/watching.md: python -m benchmarks.dashboard_pictures docs/pictures

Starts a head of its own, submits a run of Pong, waits until it learns and has headless Chromium take the pages.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

PAGES = {"actors": ("/#/actors", 1100), "job": ("/#/jobs/pong", 1040), "cluster": ("/#/cluster", 570)}  # and height
WIDTH = 1500  # pixels
SETTLE_S = 6.0  # a page's own requests
LEARNING_S = 60.0
RUN = ("pong", "actors.count=2", "evaluation.every_s=20", "evaluation.episodes=2", "stop.evaluation_return=null")
PORTS = {"--port": 6399, "--dashboard-port": 8299, "--client-port": 9899, "--metrics-port": 8199}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        token = Path(place) / "token"
        environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(token), "XDG_STATE_HOME": place}

        def cluster(*words: str) -> None:
            command = [sys.executable, "-m", "cluster.cli", *words]
            subprocess.run(command, env=environment, cwd=place, check=True, timeout=120)

        cluster("up", "--cpus", "4", *(str(word) for pair in PORTS.items() for word in pair))
        try:
            cluster("submit", "--name", "pong", "--no-follow", "--", "apex-ray", "train", *RUN)
            time.sleep(LEARNING_S)
            address = f"http://127.0.0.1:{PORTS['--dashboard-port']}"
            pages = {folder / f"dashboard_{name}.png": (address + path, high) for name, (path, high) in PAGES.items()}
            asyncio.run(photograph(pages, token.read_text()))
            cluster("status")
        finally:
            cluster("down", "--force")


async def photograph(pages: Mapping[Path, tuple[str, int]], token: str) -> None:
    """Each page as PNG, by a browser that is logged in with the token."""
    with tempfile.TemporaryDirectory() as profile:
        browser = subprocess.Popen(
            [
                shutil.which("chromium") or "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as session:
                target = await _page(Path(profile))
                async with session.ws_connect(target, max_msg_size=2**26) as socket:
                    for picture, (url, height) in pages.items():
                        picture.write_bytes(await _photo(socket, url, height, token))
                        print(picture)
        finally:
            browser.terminate()
            browser.wait()


async def _page(profile: Path) -> str:
    """The address at which the browser's first page takes commands."""
    for _ in range(100):
        try:
            port = int((profile / "DevToolsActivePort").read_text().splitlines()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                return next(str(p["webSocketDebuggerUrl"]) for p in json.load(answer) if p["type"] == "page")
        except (OSError, StopIteration, IndexError):
            await asyncio.sleep(0.2)
    raise SystemExit("error: Chromium did not start")


async def _photo(socket: aiohttp.ClientWebSocketResponse, url: str, height: int, token: str) -> bytes:
    cookie = {"name": "ray-authentication-token", "value": token, "url": url.split("#")[0]}
    size = {"width": WIDTH, "height": height}
    await _told(socket, "Network.setCookie", cookie)
    await _told(socket, "Emulation.setDeviceMetricsOverride", {**size, "deviceScaleFactor": 1, "mobile": False})
    await _told(socket, "Page.navigate", {"url": "about:blank"})  # a change of the part after # loads nothing
    await _told(socket, "Page.navigate", {"url": url})
    await asyncio.sleep(SETTLE_S)
    answer = await _told(socket, "Page.captureScreenshot", {"format": "png"})
    return base64.b64decode(answer["data"])


async def _told(socket: aiohttp.ClientWebSocketResponse, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """One command of the DevTools protocol; its result. Events that come meanwhile are passed over."""
    number = int(time.monotonic_ns() % 2**31)
    await socket.send_json({"id": number, "method": method, "params": params})
    while True:
        answer = await socket.receive_json()
        if answer.get("id") == number:
            if "error" in answer:
                raise SystemExit(f"error: {method}: {answer['error']}")
            return dict(answer["result"])


if __name__ == "__main__":
    main()
