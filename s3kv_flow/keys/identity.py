"""What the key of a call takes from the function: its code, a version in its place, what it depends on."""

from __future__ import annotations

import inspect
import os
import types
from typing import Any

from s3kv_flow.keys import source
from s3kv_flow.keys.code import Walk, Walked, note
from s3kv_flow.keys.depends import Env, File, Package, several, token_of
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.guards import Guards
from s3kv_flow.keys.token import Encoder


class Identity:
    """What the key of a function's calls takes from the function.

    Parameters
    ----------
    function : function
        The user's function, as it was handed to the decorator.
    mode : {"deep", "shallow", "none"}
        With all the user code it reaches, alone, or not at all.
    version : object, optional
        Takes the place of the code.
    depends_on : object or sequence of objects
        What else counts, by value, looked at anew each time.
    """

    __slots__ = ("_walked", "depends_on", "function", "mode", "version", "walks")

    def __init__(
        self, function: Any, mode: str = "deep", version: Any = None, depends_on: Any = ()
    ) -> None:
        self.function = function
        self.mode = mode
        self.version = version
        self.depends_on = several(depends_on)
        self._walked: Walked | None = None
        #: How often the code was walked: again, when something it reads has changed.
        self.walks = 0
        if mode != "none" and version is None:
            inner = inspect.unwrap(function)
            code = getattr(inner, "__code__", None)
            if code is not None:
                source.remember(code.co_filename, getattr(inner, "__globals__", None))
                source.remember_loaded()

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, (self.function, self.mode, self.version, self.depends_on)

    def token(self, digest: Digest) -> bytes:
        """Give the token of the code, and of what it depends on, as they are now."""
        walked = self._walked
        if walked is None or walked.digest != digest.name or not walked.guards.hold(digest):
            walked = self._walked = self._walk(digest)
            self.walks += 1
        if not self.depends_on:
            return walked.token
        encoder = Encoder(digest)
        return encoder.node(b"with", walked.token, token_of(self.depends_on, encoder))

    def _walk(self, digest: Digest) -> Walked:
        if self.version is not None:
            token = Encoder(digest).record(b"version", self.version)
            return Walked(token, self._guards(), digest.name, {"version": token})
        if self.mode == "none":
            return Walked(b"N", self._guards(), digest.name)
        walk = Walk(digest, deep=self.mode == "deep", root=self.function)
        return walk.walked()

    def _guards(self) -> Guards:
        """Give what tells of other defaults, which count whatever else does."""
        guards = Guards()
        inner = inspect.unwrap(self.function)
        if isinstance(inner, types.FunctionType):
            guards.watch(inner)
        return guards

    def parts(self, digest: Digest) -> dict[str, bytes]:
        """Give what the token is made of, by name, to tell later what has changed."""
        self.token(digest)
        assert self._walked is not None
        encoder = Encoder(digest)
        found = dict(self._walked.parts)
        for one in self.depends_on:
            note(found, _shown(one), token_of(one, encoder), encoder)
        return found


def _shown(dependency: Any) -> str:
    if isinstance(dependency, File):
        return f"file {os.path.basename(os.fspath(dependency))}"
    if isinstance(dependency, (Env, Package)):
        return f"{type(dependency).__name__.lower()} {dependency.name}"
    return f"dependency {getattr(dependency, '__name__', type(dependency).__name__)}"
