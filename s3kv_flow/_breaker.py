"""A circuit breaker: an endpoint that does not answer is left alone for a while.

Closed, every call may ask. After some failures in a row it opens: nobody asks. When the pause is
over, one caller tries; its success closes the breaker, its failure doubles the pause
(https://martinfowler.com/bliki/CircuitBreaker.html).
"""

from __future__ import annotations

import random
import threading
from typing import Final

from s3kv_flow._clock import Clock
from s3kv_flow._process import reset_after_fork

FAILURES: Final = 5
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class Breaker:
    """Says whether an endpoint may be asked.

    Parameters
    ----------
    clock : Clock
        Ends the pauses.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._closed_again: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody may ask just now."""
        until = self._closed_again
        return until is not None and self._clock.monotonic() < until

    def allows(self) -> bool:
        """Whether the caller may ask; after a pause, one caller is told yes."""
        if self._closed_again is None:
            return True
        with self._lock:
            if self.is_open:
                return False
            # Whoever comes next waits for what this caller finds out.
            self._closed_again = self._clock.monotonic() + self._pause
            return True

    def succeeded(self) -> None:
        """Note that the endpoint answered."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._pause = FIRST_PAUSE_SECONDS
                self._closed_again = None

    def failed(self) -> None:
        """Note that it did not."""
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES:
                return
            if self._failures > FAILURES:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            # Processes that saw it go at once shall not all come back at once.
            spread = 0.5 + random.random()  # noqa: S311 - spreads, guards nothing
            self._closed_again = self._clock.monotonic() + self._pause * spread
