"""Assertions on keys, for users' own types: stable everywhere, same where it matters."""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.token import Encoder

#: What a fresh interpreter runs: reads a value, prints its token.
_SCRIPT: Final = """
import sys
sys.path[:] = {path!r}
__file__ = {main!r}  # a class of a script is known by the script's name
import cloudpickle
with open({file!r}, "rb") as file:
    value = cloudpickle.load(file)
from s3kv_flow.testing.keys import token
print(token(value))
"""
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
    return Encoder().token(value).hex()


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
    cloudpickle.

    Raises
    ------
    AssertionError
        It has not: entries would not be found again.
    UnhashableArgumentError
        It has none at all.

    Examples
    --------
    >>> assert_stable_key({"a": {1, 2, 3}})
    """
    expected = token(value)
    assert token(value) == expected, f"{_shown(value)} has another key the second time"
    copied = copy.deepcopy(value)
    assert token(copied) == expected, f"a copy of {_shown(value)} has another key"
    for seed, found in zip(("0", "1"), tokens_elsewhere(value, seeds=("0", "1"))):
        assert found == expected, (
            f"{_shown(value)} has another key in a fresh interpreter (PYTHONHASHSEED={seed})"
        )


def tokens_elsewhere(value: Any, *, seeds: tuple[str, ...]) -> list[str]:
    """Give a value's tokens in fresh interpreters, one a hash seed."""
    import cloudpickle

    with tempfile.TemporaryDirectory(prefix="s3kv-key-") as folder:
        file = Path(folder) / "value"
        file.write_bytes(cloudpickle.dumps(value))
        path = [os.path.abspath(entry) for entry in sys.path]
        main = getattr(sys.modules["__main__"], "__file__", None)
        script = _SCRIPT.format(path=path, file=str(file), main=main)
        found = []
        for seed in seeds:
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
            found.append(done.stdout.strip())
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
