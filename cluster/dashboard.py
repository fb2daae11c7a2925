"""The dashboard's HTTP address, where jobs are submitted and states read: which it is, and whether it lets us in."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import ray

from cluster.http import EXPECTED, get
from cluster.local_head import running_head
from trainkit.errors import UserError

DEFAULT = "http://127.0.0.1:8265"


def dashboard_address(given: str) -> str:
    """`given`, else RAY_API_SERVER_ADDRESS, an http RAY_ADDRESS, the head `apex-cluster up` started, Ray's default."""
    environment = [os.environ.get("RAY_API_SERVER_ADDRESS", ""), os.environ.get("RAY_ADDRESS", "")]
    found = given or next((a for a in environment if a.startswith("http")), "")
    if not found:
        head = running_head()
        found = head.dashboard if head else DEFAULT
    split = urlsplit(found)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise UserError(f"--address {found!r}: {EXPECTED}")
    return found.rstrip("/")


def is_local(address: str) -> bool:
    """Whether the dashboard is this machine's, with which files are shared."""
    return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")


def check_dashboard(address: str) -> None:
    """UserError, within seconds, unless a Ray of our version answers at `address` and takes our token."""
    answer = get(address, "/api/version")
    there = answer.get("ray_version") if isinstance(answer, dict) else None
    if there is None:
        raise UserError(f"--address {address!r}: something answers there, but not Ray; {EXPECTED}")
    if there != ray.__version__:
        raise UserError(
            f"--address {address!r} runs Ray {there} and this is Ray {ray.__version__}; expected the same on both sides"
        )
