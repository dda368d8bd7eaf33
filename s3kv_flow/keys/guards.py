"""What a walk over code has read and could change while the process lives; checked at each call."""

from __future__ import annotations

from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.token import Encoder

#: In place of a name or a cell that holds nothing.
MISSING: Final = object()


class Guards:
    """What a walk has read; while it all holds, the walk would give the same token."""

    __slots__ = ("cells", "classes", "data", "functions", "names")

    def __init__(self) -> None:
        self.names: list[tuple[Any, str, Any]] = []
        self.functions: list[tuple[Any, Any, Any, Any, int]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.classes: list[tuple[type, dict[str, Any], Any]] = []
        self.data: list[tuple[Any, Repeated, bytes]] = []

    def hold(self, digest: Digest) -> bool:
        """Whether nothing has changed."""
        for namespace, name, value in self.names:
            if namespace.get(name, MISSING) is not value:
                return False
        for function, code, defaults, keyword_defaults, attributes in self.functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keyword_defaults
                or len(function.__dict__) != attributes
            ):
                return False
        for cell, value in self.cells:
            if contents(cell) is not value:
                return False
        for kind, members, bases in self.classes:
            now = vars(kind)
            if kind.__bases__ is not bases and kind.__bases__ != bases:
                return False
            if len(now) != len(members):
                return False
            for name, member in members.items():
                if now.get(name, MISSING) is not member:
                    return False
        for value, repeated, token in self.data:
            try:
                if repeated.token(value, Encoder(digest, by_identity)) != token:
                    return False
            except UnhashableArgumentError:
                return False
        return True


def by_identity(value: Any, encoder: Encoder) -> bytes:
    """Tell code apart within this process only, for guards; the code itself has its own."""
    return b"@%20d" % id(value)


def contents(cell: Any) -> Any:
    """Give what a closure's cell holds."""
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return MISSING
