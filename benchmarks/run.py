"""What a hit, a key and a store cost, beside peers, in one run: only the ratios count.

Rounds of ours and of the peer's take turns; each figure is a median. Prints a table a group, and
writes ``benchmarks/results/<group>.json`` and a plot. Never a test: nothing here fails a build.
"""

from __future__ import annotations

import sys
from importlib import import_module

from measure import show

GROUPS = ("hits", "large", "keys", "s3", "tags", "processes", "faults", "imports")


def main(wanted: list[str]) -> None:
    for group in wanted or GROUPS:
        show(group, import_module(f"groups.{group}").rows())


if __name__ == "__main__":
    main(sys.argv[1:])
