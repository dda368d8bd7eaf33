"""Assertions on keys, for users' own types: stable everywhere, same where it matters."""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.deep import on_a_deep_stack
from s3kv_flow.keys.token import REGISTERED, Encoder

#: What a fresh interpreter runs: reads a value, prints its token.
_SCRIPT: Final = """
import sys
sys.path[:] = {path!r}
__file__ = {main!r}  # a class of a script is known by the script's name
import cloudpickle
from s3kv_flow.keys.token import REGISTERED
with open({file!r}, "rb") as file:
    value, registered = cloudpickle.load(file)
REGISTERED.update(registered)
from s3kv_flow.testing.keys import token
print({mark!r} + token(value))
"""
#: What a module prints as it is imported, or at its end, is no token.
_MARK: Final = "s3kv-token: "
#: A few may well order a set of two alike.
SEEDS: Final = tuple(map(str, range(8)))
SECONDS: Final = 120


def token(value: Any) -> str:
    """Give what stands for a value in keys.

    Raises
    ------
    UnhashableArgumentError
        It has no stable key.

    Examples
    --------
    >>> token([1, 2]) == token([1, 2]), token([1, 2]) == token((1, 2))
    (True, False)
    """
    try:
        return Encoder().token(value).hex()
    except RecursionError:
        return on_a_deep_stack(lambda: Encoder().token(value).hex())


def assert_same_key(first: Any, *others: Any) -> None:
    """Assert that values count as the same in keys.

    Raises
    ------
    AssertionError
        They do not.

    Examples
    --------
    >>> assert_same_key({"a": 1, "b": 2}, {"b": 2, "a": 1})
    """
    expected = token(first)
    for other in others:
        assert token(other) == expected, f"{_shown(first)} and {_shown(other)} have other keys"


def assert_different_keys(*values: Any) -> None:
    """Assert that each value counts as another in keys.

    Raises
    ------
    AssertionError
        Two have one key: a call with one would be served the result of the other.

    Examples
    --------
    >>> assert_different_keys(1, 1.0, True, "1", b"1")
    """
    tokens = [token(value) for value in values]
    for (one, first), (other, second) in itertools.combinations(zip(values, tokens), 2):
        assert first != second, f"{_shown(one)} and {_shown(other)} have one key"


def assert_stable_key(value: Any) -> None:
    """Assert that a value has one key: asked twice, copied, and in fresh interpreters.

    The interpreters have other hash seeds and another working folder; the value gets there by
    cloudpickle, together with what `register_key` was told. A value that does not travel, but says
    itself what counts of it, is asked for that; one that does not copy is not copied.

    Raises
    ------
    AssertionError
        It has not: entries would not be found again. Or it cannot be shown: it does not travel.
    UnhashableArgumentError
        It has none at all.

    Examples
    --------
    >>> assert_stable_key({"a": {1, 2, 3}})
    """
    expected = token(value)
    assert token(value) == expected, f"{_shown(value)} has another key the second time"
    try:
        copied = copy.deepcopy(value)
    except Exception:  # it holds a lock, or a connection
        copied = value
    assert token(copied) == expected, f"a copy of {_shown(value)} has another key"
    try:
        travelling = _cloudpickle_of(value)
    except Exception as error:
        stated = _stated(value)
        if stated is value:
            why = f"{_shown(value)} does not travel, so nothing can be shown: {error}"
            raise AssertionError(why) from error
        assert_stable_key(stated)
    else:
        _compare_elsewhere(value, expected, travelling)


def _compare_elsewhere(value: Any, expected: str, travelling: bytes) -> None:
    for seed, found in zip(SEEDS, _elsewhere(travelling, SEEDS)):
        assert found == expected, (
            f"{_shown(value)} has another key in a fresh interpreter (PYTHONHASHSEED={seed})"
        )


def _stated(value: Any) -> Any:
    """Give what a value says itself to count, or what was registered to; else the value."""
    kind = type(value)
    own = getattr(kind, "__s3kv_key__", None) or REGISTERED.get(kind)
    return value if own is None else own(value)


def _cloudpickle_of(value: Any) -> bytes:
    """Give a value's pickle, with what was registered for types."""
    import cloudpickle

    return bytes(cloudpickle.dumps((value, REGISTERED)))


def tokens_elsewhere(value: Any, *, seeds: tuple[str, ...]) -> list[str]:
    """Give a value's tokens in fresh interpreters, one a hash seed."""
    return _elsewhere(_cloudpickle_of(value), seeds)


def _elsewhere(travelling: bytes, seeds: tuple[str, ...]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="s3kv-key-") as folder:
        file = Path(folder) / "value"
        file.write_bytes(travelling)
        path = [os.path.abspath(entry) for entry in sys.path]
        main = getattr(sys.modules["__main__"], "__file__", None)
        script = _SCRIPT.format(path=path, file=str(file), main=main, mark=_MARK)

        def ask(seed: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONHASHSEED": seed},
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
            assert done.returncode == 0, f"it cannot be loaded elsewhere:\n{done.stderr}"
            lines = done.stdout.splitlines()
            return next(line for line in lines if line.startswith(_MARK)).removeprefix(_MARK)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(ask, seeds))


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= 80 else text[:77] + "..."
