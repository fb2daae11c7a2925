"""What a job needs and where it would go, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.resources import KINDS, Bundle, Fit, in_words
from trainkit.words import size, table


def bundle_table(bundles: Sequence[Bundle]) -> str:
    """What a job needs, a line a bundle."""
    sums = {
        kind: sum(getattr(b, kind) * b.count for b in bundles)
        for kind in ("cpus", "gpus", "memory_bytes", "object_store_bytes")
    }
    rows = [_row(b) for b in (*bundles, Bundle("together", count=sum(b.count for b in bundles), **sums))]
    return table(("bundle", "count", "CPU", "GPU", "memory", "object store", "labels"), rows)


def _row(b: Bundle) -> tuple[str, ...]:
    amounts = (f"{b.cpus:g}", f"{b.gpus:g}", _size(b.memory_bytes), _size(b.object_store_bytes))
    return b.name, _range(b), *amounts, in_words(b.labels)


def node_table(found: Fit) -> str:
    """What each node has free and would run, a line a node."""
    rows, wanted = [], {b.name: b.count for b in found.bundles}
    for node in found.nodes:
        gets = [
            f"{count} x {name}" if wanted[name] > 1 else name
            for name, counts in found.placed.items()
            if (count := counts.get(node.id, 0))
        ]
        cells = [
            _of(node.free.get(kind, 0.0), node.total.get(kind, 0.0), size if "memory" in kind else "{:g}".format)
            for kind in KINDS
        ]
        rows.append((node.name, *cells, ", ".join(gets) or "-"))
    return table(("node", "CPU free", "GPU free", "memory free", "object store free", "runs"), rows)


def _range(bundle: Bundle) -> str:
    return str(bundle.count) if bundle.minimum == bundle.count else f"{bundle.minimum}-{bundle.count}"


def _size(amount_bytes: float) -> str:
    return size(amount_bytes) if amount_bytes else "-"


def _of(free: float, total: float, shown: Callable[[float], str]) -> str:
    return f"{shown(free)} of {shown(total)}" if total else "-"
