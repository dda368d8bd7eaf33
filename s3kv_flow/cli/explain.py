"""Functions from outside: `s3kv explain` and `s3kv check-key`."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from s3kv_flow.cli.output import as_json, print_json
from s3kv_flow.errors import ConfigurationError, S3KVError
from s3kv_flow.keys.classes import cache_of

SECONDS: Final = 300

#: What a module prints as it is imported, or at its end, is not the key.
_MARK: Final = "s3kv-key: "

_PRINT_KEY = """
import json, sys
sys.path[:] = {path!r}
from s3kv_flow.cli.explain import key_of
print({mark!r} + key_of({target!r}, json.loads({arguments!r})))
"""
#: Gets there by `spawn`, in which the script is called __mp_main__.
_SPAWN = """
import multiprocessing, sys
sys.path[:] = {path!r}
from s3kv_flow.cli.explain import key_of

def main():
    import json
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print({mark!r} + pool.apply(key_of, ({target!r}, json.loads({arguments!r}))))

if __name__ == "__main__":
    main()
"""

_target = click.argument("target", metavar="MODULE:FUNCTION")
_arguments = click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")


def _given(function: Any, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Read arguments: JSON where it is JSON, else text; ``name=...`` by keyword, if there is such."""
    parameters: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):  # some builtins do not tell
        parameters = inspect.signature(function).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    args, kwargs = [], {}
    for text in arguments:
        name, equals, rest = text.partition("=")
        if equals and name.isidentifier() and (name in parameters or takes_any):
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
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"{name!r} is no name of a module", way_out="Write it as in `import package.module`."
        )
    try:
        return import_module(name)
    except ImportError as error:
        raise _not_importable(name, error) from error
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{name} does not import: {type(error).__name__}: {error}",
            way_out=f"See what `python -c 'import {name}'` says.",
        ) from error


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
    if cache_of(function) is None:
        from s3kv_flow.testing.stores import memory_store

        function = memory_store(local_cache="off").cached(function)
    return str(function.key(*given["args"], **given["kwargs"]))


#: So that ``-1`` is an argument of the function.
_NUMBERS: Final = {"ignore_unknown_options": True}


@click.command(context_settings=_NUMBERS)
@_target
@_arguments
@as_json
def explain(target: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Say why a call hits or misses.

    MODULE:FUNCTION is a cached function; each ARGUMENT is JSON, or else text, and name=... by
    keyword. Exit status 1 for a miss.
    """
    sys.path.insert(0, os.getcwd())
    function = function_of(target)
    if not hasattr(function, "explain"):
        raise ConfigurationError(
            f"{target} is not a cached function",
            way_out="Name one that is decorated with s3kv.cached, as package.module:function.",
        )
    given = _given(function, arguments)
    try:
        explanation = function.explain(*given["args"], **given["kwargs"])
        if hasattr(explanation, "__await__"):
            import asyncio

            explanation = asyncio.run(explanation)
    except S3KVError:
        raise
    except Exception as error:
        raise _cannot_be_keyed(function, error) from error
    print_json(asdict(explanation)) if as_json else click.echo(str(explanation))
    sys.exit(0 if explanation.hit else 1)


@click.command("check-key", context_settings=_NUMBERS)
@_target
@_arguments
@as_json
def check_key(target: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Tell whether a call has one key everywhere.

    Computes it in fresh interpreters: here, with two hash seeds, without asserts and docstrings,
    spawned, and in another working folder. Exit status 1 where they differ.
    """
    here = os.getcwd()
    sys.path.insert(0, here)
    given = _given(function_of(target), arguments)  # a misspelt one is told at once
    path = [os.path.abspath(entry) for entry in sys.path]
    filled = {"path": path, "target": target, "arguments": json.dumps(given), "mark": _MARK}
    keys: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="s3kv-check-") as folder:
        for name, options, script, at, seed in (
            ("hash seed 0", [], _PRINT_KEY, here, "0"),
            ("hash seed 1", [], _PRINT_KEY, here, "1"),
            ("optimised (-OO)", ["-OO"], _PRINT_KEY, here, ""),
            ("spawned", [], _SPAWN, here, ""),
            ("another folder", [], _PRINT_KEY, folder, ""),
        ):
            file = Path(folder) / "check.py"
            file.write_text(script.format(**filled))
            environment = {"PYTHONHASHSEED": seed} if seed else {}
            try:
                keys[name] = _run([*options, str(file)], at, environment)
            except ConfigurationError as error:
                if at == here:
                    raise
                keys[name] = f"none: {error.what}"
    same = len(set(keys.values())) == 1
    if as_json:
        print_json({"stable": same, "keys": keys})
    else:
        for name, key in keys.items():
            click.echo(f"{name:<16} {key}")
        click.echo(_verdict(keys))
    sys.exit(0 if same else 1)


def _verdict(keys: dict[str, str]) -> str:
    if len(set(keys.values())) == 1:
        return "one key everywhere"
    elsewhere = keys["another folder"]
    if len(set(keys.values()) - {elsewhere}) == 1 and list(keys.values()).count(elsewhere) == 1:
        return (
            "NOT stable: it depends on the working folder; use a path that does not, such as "
            "Path(__file__).with_name(...)"
        )
    return "NOT stable: entries would not be found again"


def _cannot_be_keyed(function: Any, error: Exception) -> ConfigurationError:
    try:
        takes = f"It takes {inspect.signature(function)}"
    except (TypeError, ValueError):
        takes = "See what the function takes"
    is_about_arguments = isinstance(error, TypeError)
    return ConfigurationError(
        str(error) if is_about_arguments else f"{type(error).__name__}: {error}",
        way_out=f"{takes}; each argument is JSON, or else text."
        if is_about_arguments
        else "The function's key= or an argument's own code raised it.",
    )


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
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        kind, colon, what = last.partition(": ")
        said = what if colon and kind.startswith("s3kv_flow.") else last
        raise ConfigurationError(
            f"the key could not be computed: {said}",
            way_out="Give the arguments that the function takes: JSON, or else text.",
        )
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not found:
        raise ConfigurationError(
            "the key could not be computed: the interpreter ended before",
            way_out="See whether the module ends it as it is imported.",
        )
    return found[-1].removeprefix(_MARK)
