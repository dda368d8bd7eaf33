"""What an import costs, as a whole process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from measure import Row, compare


def rows() -> list[Row]:
    def importing(name: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    return [
        compare("import, whole process", peer, importing(peer), importing("s3kv_flow"), 1.0)
        for peer in ("sys", "obstore", "diskcache", "boto3", "joblib")
    ]
