"""A clock that only moves when told to."""

from __future__ import annotations

from datetime import timedelta


class ManualClock:
    """Takes the place of the machine's clock in a store under test.

    Examples
    --------
    >>> clock = ManualClock(1000.0)
    >>> clock.advance(minutes=1)
    >>> clock.now()
    1060.0
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return self._now

    def advance(self, **amount: float) -> None:
        """Move on by what `timedelta` is given."""
        self._now += timedelta(**amount).total_seconds()
