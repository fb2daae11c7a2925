"""Questions to a dashboard by HTTP, each answered or refused within seconds with a message of its own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from cluster.connect import CONNECT_TIMEOUT_S, token, why_refused
from trainkit.errors import UserError

EXPECTED = "expected the dashboard's http://host:port"


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
