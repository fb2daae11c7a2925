"""Questions to a dashboard by HTTP, each answered or refused within seconds with a message of its own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import ray

from cluster.connect import CONNECT_TIMEOUT_S, token, why_refused
from trainkit.errors import UserError

EXPECTED = "expected the dashboard's http://host:port"


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


def get(address: str, path: str) -> Any:
    """The JSON at `path`. UserError when the address or the token is wrong."""
    secret = token()
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    request = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise UserError(f"--address {address!r}: {why_refused()}") from None
        raise UserError(f"--address {address!r} answered {error.code} {error.reason} to {path}; {EXPECTED}") from None
    except json.JSONDecodeError:
        return None
    except OSError as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise UserError(
            f"--address {address!r} can't be reached ({reason}); {EXPECTED}, or start a head with apex-cluster up"
        ) from None
