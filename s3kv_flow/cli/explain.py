"""Functions from outside: `s3kv explain` and `s3kv check-key`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from s3kv_flow.cli.output import as_json, print_json
from s3kv_flow.errors import ConfigurationError
from s3kv_flow.keys.classes import IDENTITY_ATTRIBUTE

SECONDS: Final = 300

_PRINT_KEY = """
import json, sys
sys.path[:] = {path!r}
from s3kv_flow.cli.explain import key_of
print(key_of({target!r}, json.loads({arguments!r})))
"""
#: Gets there by `spawn`, in which the script is called __mp_main__.
_SPAWN = """
import multiprocessing, sys
sys.path[:] = {path!r}
from s3kv_flow.cli.explain import key_of

def main():
    import json
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(key_of, ({target!r}, json.loads({arguments!r}))))

if __name__ == "__main__":
    main()
"""

_target = click.argument("target", metavar="MODULE:FUNCTION")
_arguments = click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")


def _given(arguments: tuple[str, ...]) -> dict[str, Any]:
    """Read arguments: JSON where it is JSON, else text; ``name=...`` by keyword."""
    args, kwargs = [], {}
    for text in arguments:
        name, equals, rest = text.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(rest)
        else:
            args.append(_value(text))
    return {"args": args, "kwargs": kwargs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def module_of(name: str) -> ModuleType:
    """Import a module that a command names.

    Raises
    ------
    ConfigurationError
        It cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise _not_importable(name, error) from error


def function_of(target: str) -> Any:
    """Import the function that a command names.

    Raises
    ------
    ConfigurationError
        There is no such function.
    """
    module, colon, path = target.partition(":")
    if not colon:
        raise ConfigurationError(
            f"{target!r} names no function", way_out="Write it as package.module:function."
        )
    found: Any = module_of(module)
    try:
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        raise _not_importable(target, error) from error
    return found


def _not_importable(what: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{what} cannot be imported: {error}",
        way_out="Run the command where `import` finds it, or set PYTHONPATH.",
    )


def key_of(target: str, given: dict[str, Any]) -> str:
    """Give the key of a call, of a cached function or of a plain one."""
    function = function_of(target)
    if not hasattr(function, IDENTITY_ATTRIBUTE):
        from s3kv_flow.testing.stores import memory_store

        function = memory_store(local_cache="off").cached(function)
    return str(function.key(*given["args"], **given["kwargs"]))


@click.command()
@_target
@_arguments
@as_json
def explain(target: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Say why a call hits or misses.

    MODULE:FUNCTION is a cached function; each ARGUMENT is JSON, or else text, and name=... by
    keyword. Exit status 1 for a miss.
    """
    sys.path.insert(0, os.getcwd())
    given = _given(arguments)
    function = function_of(target)
    if not hasattr(function, "explain"):
        raise ConfigurationError(f"{target} is not a cached function")
    explanation = function.explain(*given["args"], **given["kwargs"])
    if hasattr(explanation, "__await__"):
        import asyncio

        explanation = asyncio.run(explanation)
    print_json(asdict(explanation)) if as_json else click.echo(str(explanation))
    sys.exit(0 if explanation.hit else 1)


@click.command("check-key")
@_target
@_arguments
@as_json
def check_key(target: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Tell whether a call has one key everywhere.

    Computes it in fresh interpreters: two hash seeds, without asserts and docstrings, in another
    working folder, and spawned. Exit status 1 where they differ.
    """
    sys.path.insert(0, os.getcwd())
    given = _given(arguments)
    function_of(target)  # a misspelt one is told at once
    path = [os.path.abspath(entry) for entry in sys.path]
    filled = {"path": path, "target": target, "arguments": json.dumps(given)}
    ways: dict[str, tuple[list[str], str, dict[str, str]]] = {
        "hash seed 0": ([], _PRINT_KEY, {"PYTHONHASHSEED": "0"}),
        "hash seed 1": ([], _PRINT_KEY, {"PYTHONHASHSEED": "1"}),
        "optimised (-OO)": (["-OO"], _PRINT_KEY, {}),
        "spawned": ([], _SPAWN, {}),
    }
    keys = {}
    with tempfile.TemporaryDirectory(prefix="s3kv-check-") as folder:
        for name, (options, script, environment) in ways.items():
            file = Path(folder) / "check.py"
            file.write_text(script.format(**filled))
            keys[name] = _run([*options, str(file)], folder, environment)
    same = len(set(keys.values())) == 1
    if as_json:
        print_json({"stable": same, "keys": keys})
    else:
        for name, key in keys.items():
            click.echo(f"{name:<16} {key}")
        click.echo("one key everywhere" if same else "NOT stable: entries would not be found again")
    sys.exit(0 if same else 1)


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ConfigurationError(f"the key could not be computed: {last[0]}")
    return done.stdout.strip().splitlines()[-1]
