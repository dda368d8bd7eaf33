"""`CachePolicy`: the options of caching, under the names that Airflow's users know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import s3kv_flow as s3kv


@dataclass(frozen=True, kw_only=True, init=False)
class CachePolicy(s3kv.Policy):
    """What is cached, under which key, and for how long: `s3kv_flow.Policy`, with two aliases.

    Parameters
    ----------
    ttl : float or timedelta, optional
        Seconds after which a result is computed again; the same as ``max_age``.
    exclude_inputs : str or iterable of str, optional
        Names of arguments that do not count; the same as ``ignore``.
    **options
        The fields of `s3kv_flow.Policy`.

    Raises
    ------
    TypeError
        An option and its alias are given.

    Examples
    --------
    >>> weekly = CachePolicy(tags={"team": "ml"}, ttl=7 * 86400, exclude_inputs=["session"])
    >>> weekly.age_limit, weekly.ignore
    (datetime.timedelta(days=7), ['session'])
    """

    def __init__(
        self,
        *,
        ttl: float | timedelta | None = None,
        exclude_inputs: str | Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        if ttl is not None:
            if options.get("max_age") is not None or options.get("max_age_days") is not None:
                raise TypeError("give ttl or max_age, not both")
            options["max_age"] = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
        if exclude_inputs is not None:
            if options.get("ignore"):
                raise TypeError("give exclude_inputs or ignore, not both")
            options["ignore"] = exclude_inputs
        super().__init__(**options)
