"""Ray without Ray: nodes whose calls run in threads of this process, one pool for each concurrency group."""

from __future__ import annotations

from concurrent import futures
from types import SimpleNamespace


class Handle:
    """Stands for a Ray actor's handle: `handle.method.remote(...)` gives a future."""

    def __init__(self, node, groups):
        self.node = node
        self._pools = {name: futures.ThreadPoolExecutor(threads) for name, threads in groups.items()}

    def __getattr__(self, name):
        method = getattr(self.node, name)
        pool = self._pools[method.__ray_concurrency_group__]
        return SimpleNamespace(remote=lambda *args: pool.submit(method, *args))

    def close(self):
        for pool in self._pools.values():
            pool.shutdown()


def get(calls):
    """ray.get."""
    return [c.result() for c in calls] if isinstance(calls, list) else calls.result()


def wait(calls, num_returns, timeout):
    """ray.wait; both answers in the order of the calls, as Ray gives them."""
    done = futures.wait(calls, timeout).done
    return [c for c in calls if c in done], [c for c in calls if c not in done]


RAY = SimpleNamespace(get=get, wait=wait)
