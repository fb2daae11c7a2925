"""Grafana boards, as JSON text, written from a list of metrics, so that board and metrics can't drift apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trainkit.exported import Exported, Metric

# Grafana's names of units; others are shown as a plain number with the unit beside the axis.
UNITS = {"s": "s", "bytes": "bytes", "0 to 1": "percentunit"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNS = 'run=~"$run"'
WIDTH, HEIGHT = 8, 7  # of a panel; a row of the board is 24 wide


def process_panels(classes: str) -> dict[str, tuple[str, str]]:
    """Panel's title -> (query, unit) of what Ray itself tells of a run's processes: actors of these `classes`, a regex.

    Ray calls a process by its actor's class and, while one runs, by the method too.
    """
    ours = f'{{Component=~"ray::{classes}.*"}}'
    return {
        "CPU by part of the system": (f"sum by (Component) (ray_component_cpu_percentage{ours})", "%"),
        "Memory by part of the system": (f"sum by (Component) (ray_component_rss_mb{ours}) * 1e6", "bytes"),
        "Objects in shared memory": ("sum by (Location) (ray_object_store_memory)", "bytes"),
    }


def board(title: str, uid: str, metrics: Mapping[str, Metric], exported: Mapping[str, Exported], processes: str) -> str:
    """A board with a row a group of metrics and a panel a name, and one row of the processes behind them.

    `processes`: a regex of their actors' classes.
    """
    panels: list[dict[str, Any]] = []
    top = 0
    for group in dict.fromkeys(metrics[column].group for column in exported):
        columns: dict[str, list[str]] = {}
        for column, export in exported.items():
            if metrics[column].group == group:
                columns.setdefault(export.prometheus, []).append(column)
        row = [
            _panel(
                same[0].replace("_", " ").capitalize(),
                metrics[same[0]].unit,
                f"{name}{{{RUNS}}}",
                "{{run}}" + (" {{of}}" if len(same) > 1 else ""),
                "; ".join(f"{_label(exported[c])}{metrics[c].meaning}" for c in same),
            )
            for name, same in columns.items()
        ]
        top = _add_row(panels, group.capitalize(), row, top)
    parts = [
        _panel(name, unit, query, "{{Component}}{{Location}}", "from Ray's own metrics")
        for name, (query, unit) in process_panels(processes).items()
    ]
    _add_row(panels, "Processes", parts, top)
    any_metric = next(iter(exported.values())).prometheus
    content = {
        "title": title,
        "uid": uid,
        "schemaVersion": 39,
        "tags": ["ray"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "hide": 2},
                {
                    "name": "run",
                    "label": "run",
                    "type": "query",
                    "datasource": DATASOURCE,
                    "query": {"query": f"label_values({any_metric}, run)", "refId": "run"},
                    "refresh": 2,
                    "sort": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": panels,
    }
    return json.dumps(content, indent=1) + "\n"


def _label(export: Exported) -> str:
    return "".join(f"{value}: " for value in export.labels.values())


def _panel(title: str, unit: str, query: str, legend: str, meaning: str) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "description": meaning,
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": UNITS.get(unit, "short"),
                "custom": {"axisLabel": "" if unit in UNITS or unit == "-" else unit, "showPoints": "never"},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": "A", "expr": query, "legendFormat": legend, "datasource": DATASOURCE}],
    }


def _add_row(panels: list[dict[str, Any]], title: str, row: list[dict[str, Any]], top: int) -> int:
    """Append a row's head and its panels, three beside each other; where the next row begins."""
    head = {"type": "row", "title": title, "collapsed": False, "panels": []}
    panels.append({"id": len(panels) + 1, **head, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
    for i, panel in enumerate(row):
        place = {"x": i % 3 * WIDTH, "y": top + 1 + i // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT}
        panels.append({"id": len(panels) + 1, **panel, "gridPos": place})
    return top + 1 + -(-len(row) // 3) * HEIGHT
