"""The options of a cached function, as one frozen value that functions and orchestrators share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Union

from s3kv_flow.errors import ConfigurationError

if TYPE_CHECKING:
    from s3kv_flow.codecs.base import Codec

#: How long a local hit is served without asking S3 whether the entry still holds.
REVALIDATE_AFTER: Final = timedelta(minutes=5)

SingleFlight = Literal["auto", "process", "host", "cluster", False]
FLIGHTS: Final = ("auto", "process", "host", "cluster", False)

TagsOption = Union[Mapping[str, Any], Callable[[Mapping[str, Any]], Mapping[str, Any]]]


class PolicyOptions(TypedDict, total=False):
    """The keywords of `cached`; see `Policy` for what they mean."""

    tags: TagsOption | None
    max_age_days: float | None
    max_age: timedelta | None
    name: str | None
    version: Any
    ignore: str | Iterable[str]
    key: Callable[..., Any] | None
    code: Literal["deep", "shallow", "none"]
    depends_on: Any
    key_hash: Literal["xxh3_128", "blake3"]
    codec: str | Codec
    cache_if: Callable[[Any], bool] | None
    single_flight: SingleFlight
    stale_while_revalidate: timedelta | None
    stale_if_error: timedelta | None
    retention_days: float | None
    legal_hold: bool
    revalidate_after: timedelta
    on_error: Literal["compute", "raise"]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is cached, under which key, for how long, and what happens when the cache fails.

    Parameters
    ----------
    tags : mapping or callable, optional
        S3 object tags of each entry; or a function of the mapping of bound arguments that gives
        them. ``"{day}"`` in a value is filled from the argument ``day``.
    max_age_days : float, optional
        Days after which an entry is no longer served, judged when it is read.
    max_age : timedelta, optional
        The same as a duration.
    name : str, optional
        The cache's name, in place of the function's module and qualified name.
    version : optional
        Any value with a key; takes the place of the code in the key.
    ignore : str or iterable of str
        Parameters that do not count.
    key : callable, optional
        A function of the same arguments that gives what to hash in their place.
    code : {"deep", "shallow", "none"}
        Whether the key has the function and all user code it reaches, it alone, or neither.
    depends_on : object or sequence of objects
        What else the result depends on, by value: `File`, `Env`, `Package`, functions, modules,
        or any value with a key.
    key_hash : {"xxh3_128", "blake3"}
        ``"blake3"`` where somebody who wants two calls to be taken for one chooses the arguments.
    codec : str or Codec
        How results are stored; ``"auto"`` picks by type.
    cache_if : callable, optional
        ``result -> bool``; says no to results that shall not be stored.
    single_flight : {"auto", "process", "host", "cluster", False}
        How far one computation serves all who ask for the same call meanwhile: the threads and
        tasks of a process, all processes of this machine, or all workers on the bucket (by a
        lease that costs two requests). ``"auto"``: this machine, and all workers once the
        function is known to be slow.
    stale_while_revalidate : timedelta, optional
        For so long beyond ``max_age`` the old value is served while one caller computes a new one
        in the background (RFC 5861).
    stale_if_error : timedelta, optional
        For so long beyond ``max_age`` the old value is served where computing raises (RFC 5861).
    retention_days : float, optional
        Each entry is locked for so many days as it is written (GOVERNANCE).
    legal_hold : bool
        Each entry is put under legal hold as it is written.
    revalidate_after : timedelta
        How long a local copy serves without asking S3 whether the entry still holds.
    on_error : {"compute", "raise"}
        A store that fails never breaks the caller, or raises.

    Raises
    ------
    TypeError
        Both ages are given.
    ConfigurationError
        An option has no meaning.

    Examples
    --------
    >>> daily = Policy(tags={"team": "ml"}, max_age_days=1)
    >>> daily.replace(max_age_days=7).age_limit
    datetime.timedelta(days=7)
    """

    tags: TagsOption | None = None
    max_age_days: float | None = None
    max_age: timedelta | None = None
    name: str | None = None
    version: Any = None
    ignore: str | Iterable[str] = ()
    key: Callable[..., Any] | None = None
    code: Literal["deep", "shallow", "none"] = "deep"
    depends_on: Any = ()
    key_hash: Literal["xxh3_128", "blake3"] = "xxh3_128"
    codec: str | Codec = "auto"
    cache_if: Callable[[Any], bool] | None = None
    single_flight: SingleFlight = "auto"
    stale_while_revalidate: timedelta | None = None
    stale_if_error: timedelta | None = None
    retention_days: float | None = None
    legal_hold: bool = False
    revalidate_after: timedelta = REVALIDATE_AFTER
    on_error: Literal["compute", "raise"] = "compute"

    def __post_init__(self) -> None:
        if self.max_age is not None and self.max_age_days is not None:
            raise TypeError("give max_age or max_age_days, not both")
        if self.code not in ("deep", "shallow", "none"):
            raise _no_meaning("code", self.code, "deep, shallow, none")
        if self.key_hash not in ("xxh3_128", "blake3"):
            raise _no_meaning("key_hash", self.key_hash, "xxh3_128, blake3")
        if self.single_flight not in FLIGHTS:
            raise _no_meaning("single_flight", self.single_flight, ", ".join(map(str, FLIGHTS)))
        for option in ("stale_while_revalidate", "stale_if_error"):
            window = getattr(self, option)
            if window is None:
                continue
            if not isinstance(window, timedelta) or window < timedelta(0):
                raise _no_meaning(option, window, "timedeltas from zero up")
            if self.age_limit is None:
                raise ConfigurationError(
                    f"{option} has no meaning without max_age: entries never go stale",
                    way_out="Give max_age or max_age_days, too.",
                )
        if self.retention_days is not None and not self.retention_days > 0:
            raise _no_meaning("retention_days", self.retention_days, "numbers above zero")
        if self.on_error not in ("compute", "raise"):
            raise _no_meaning("on_error", self.on_error, "compute, raise")
        if self.max_age is not None and not isinstance(self.max_age, timedelta):
            raise _no_meaning("max_age", self.max_age, "a timedelta; days go to max_age_days")
        if self.tags is not None and not isinstance(self.tags, Mapping) and not callable(self.tags):
            raise _no_meaning("tags", self.tags, "a mapping, or a function that gives one")
        limit = self.age_limit
        if limit is not None and limit < timedelta(0):
            raise _no_meaning("max_age", limit, "durations from zero up")

    @property
    def age_limit(self) -> timedelta | None:
        """The age beyond which an entry is not served."""
        if self.max_age_days is not None:
            return timedelta(days=self.max_age_days)
        return self.max_age

    def replace(self, **options: Any) -> Policy:
        """Give a policy with some options changed; a new age takes the place of the old one.

        Raises
        ------
        TypeError
            An option that does not exist.
        """
        known = {field.name for field in fields(self)}
        unknown = set(options) - known
        if unknown:
            raise TypeError(
                f"cached() takes no option {', '.join(sorted(unknown))}; "
                f"known are {', '.join(sorted(known))}"
            )
        if options.get("max_age") is not None:
            options.setdefault("max_age_days", None)
        elif options.get("max_age_days") is not None:
            options.setdefault("max_age", None)
        return replace(self, **options)


def _no_meaning(option: str, value: object, known: str) -> ConfigurationError:
    return ConfigurationError(f"{option}={value!r} has no meaning", way_out=f"Known are {known}.")
