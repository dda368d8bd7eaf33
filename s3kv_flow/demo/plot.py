"""The picture that the demo ends with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3kv_flow.demo.run import Run


def draw(runs: Sequence[Run], path: Path) -> Path:
    """Draw what each run took, and what the pipeline found out."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = [step["step"] for step in runs[0].steps]
    starts = [0.0] * len(runs)
    for number, name in enumerate(names):
        widths = [run.steps[number]["seconds"] for run in runs]
        left.barh([run.title for run in runs], widths, left=starts, label=name)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    for run, end in zip(runs, starts, strict=True):
        left.annotate(
            f" {end:.2f} s",
            (end, run.title),
            va="center",
            xytext=(2, 0),
            textcoords="offset points",
        )
    left.invert_yaxis()
    left.margins(x=0.16)
    left.set_xlabel("seconds")
    left.set_title("The same pipeline, five times")
    left.legend(fontsize="small", loc="center right")

    report = runs[0].report
    right.plot(report["hour"], report["arr_delay"], "o-", label="real")
    right.plot(report["hour"], report["predicted"], "--", label="predicted")
    right.set_xlabel("hour of departure")
    right.set_ylabel("mean delay on arrival, minutes")
    right.set_title("Flights out of New York, 2013")
    right.legend()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
