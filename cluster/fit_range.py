"""How large a job with a range may become: as many now as there is room for, and later no more than its node can take.

Each actor of an Ape-X run may have chunks on their way in the shared memory of the node with the replay. Ray does not
count that memory: it starts every actor that has a CPU. So a run that was sized for the upper end of its range would be
refused where a small one fits, and one sized for its lower end would fill that node as it grows. It is sized for a
number between them, and asks Ray for no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cluster.resources import Bundle, Fit, Node, fit


def fit_range(needs: Sequence[Bundle], nodes: Sequence[Node]) -> Fit:
    """How `needs` fit where the last of them may be fewer: `bundles` of what is found are those to ask for.

    The number that has room now is as large as it can be; the number to ask for, and to grow to, is the largest that
    leaves that room. When not even the lower end fits, what is found is that of the lower end, which is not enough.
    """
    found, scaling = fit(needs, nodes), needs[-1]
    if found.whole or scaling.minimum == scaling.count or not any(b.scaling_bytes for b in needs):
        return found
    least, most = scaling.minimum, scaling.count
    now = _largest(least, most, lambda count: fit(resized(needs, count), nodes).whole)

    def leaves_room(count: int) -> bool:
        found = fit(resized(needs, count), nodes)
        return found.enough and found.count(found.scaling) >= now

    asked = _largest(now, most, leaves_room)
    return found if asked == most else fit(resized(needs, asked), nodes)


def resized(needs: Sequence[Bundle], count: int) -> list[Bundle]:
    """What is needed with so many of the last, and of it."""
    fewer = needs[-1].count - count
    fixed = [replace(b, object_store_bytes=b.object_store_bytes - fewer * b.scaling_bytes) for b in needs[:-1]]
    return [*fixed, replace(needs[-1], count=count)]


def bounded(needs: Sequence[Bundle], found: Fit) -> str:
    """In words, that fewer of the last of `needs` are asked for than its upper end; '' when they are not, or none."""
    name, most, asked = needs[-1].name, needs[-1].count, found.scaling.count
    if asked == most or not found.enough:
        return ""
    return f"it grows to {asked} of {most} x {name} at most, whose chunks fit the object store beside the replay"


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest from `low` to `high` that fits, where all below one that fits do; `low` when none does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
