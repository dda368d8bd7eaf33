"""Rounds of ours and of a peer's in turns: a table, a file and a plot of their medians."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

#: All that is written lies here, the local cache of the default store, too.
FOLDER = tempfile.mkdtemp(prefix="s3kv-bench-")
for _name in ("CACHE", "CONFIG", "DATA"):
    os.environ[f"XDG_{_name}_HOME"] = str(Path(FOLDER) / _name.lower())

RESULTS = Path(__file__).with_name("results")


@dataclass
class Row:
    """One line: the work, the peer and its seconds, ours, their ratio, and the mark for it."""

    work: str
    peer: str
    peer_seconds: float
    our_seconds: float
    mark: float

    @property
    def ratio(self) -> float:
        return self.our_seconds / self.peer_seconds


def compare(
    work: str,
    peer: str,
    theirs: Callable[[], Any],
    ours: Callable[[], Any],
    mark: float,
    *,
    times: int = 1,
    rounds: int = 7,
    before: Callable[[], Any] = lambda: None,
) -> Row:
    """Time the two in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, each in zip((theirs, ours), seconds, strict=True):
            before()
            started = time.perf_counter()
            for _ in range(times):
                call()
            each.append((time.perf_counter() - started) / times)
    return Row(work, peer, *map(statistics.median, seconds), mark)


def show(group: str, rows: list[Row]) -> None:
    table = Table(title=group, title_justify="left")
    for heading in ("work", "peer", "peer's ms", "ours, ms", "ratio", "mark"):
        table.add_column(heading, justify="left" if heading in ("work", "peer") else "right")
    for row in rows:
        colour = "green" if row.ratio <= row.mark else "red"
        table.add_row(
            row.work,
            row.peer,
            f"{row.peer_seconds * 1e3:.4g}",
            f"{row.our_seconds * 1e3:.4g}",
            f"[{colour}]{row.ratio:.3g}[/{colour}]",
            f"{row.mark:g}",
        )
    Console(width=110).print(table)
    RESULTS.mkdir(exist_ok=True)
    data = [{**asdict(row), "ratio": row.ratio} for row in rows]
    (RESULTS / f"{group}.json").write_text(json.dumps(data, indent=1))
    plot(group, rows)


def plot(group: str, rows: list[Row]) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.5 * len(rows) + 1.2), layout="constrained")
    labels = [f"{row.work}\nbeside {row.peer}" for row in rows]
    axes.barh(labels, [row.ratio for row in rows], color="tab:blue", label="ours / peer")
    axes.scatter([row.mark for row in rows], labels, color="black", marker="|", s=300, label="mark")
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.legend()
    figure.savefig(RESULTS / f"{group}.png", dpi=110)
    plt.close(figure)
