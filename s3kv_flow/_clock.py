"""Time, as something that can be handed in: the only module that reads a clock for a decision."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the library needs to know of time."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an unknown start."""


class SystemClock:
    """The machine's own clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
