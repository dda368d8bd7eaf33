"""A script in a Python of its own, as another process or another day would run it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

SECONDS = 120


def printed_by(script: str, *options: str, folder: Path | None = None) -> list[str]:
    """Give the words that a script prints, run in a folder; it must end well."""
    done = subprocess.run(
        [sys.executable, "-B", *options, "-c", textwrap.dedent(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
