"""The bytes of entries are a contract: those written once are read for ever, by other code, too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.exceptions import InvalidTag

from s3kv_flow._pack import Pack
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.token import Encoder

GOLDEN = Path(__file__).with_name("entries.json")
FORMAT = Path(__file__).parents[2] / "docs/reference/format.md"
RING = Keyring({"golden": bytes(range(32))})
VALUES: dict[str, Any] = {
    "bytes": b"some bytes",
    "empty": b"",
    "json": {"a": [1, None, "é"], "b": 1.5},
    "array": np.arange(6, dtype="<i4").reshape(2, 3),
    "fortran": np.arange(6.0).reshape(2, 3).T,
    "table": pa.table({"a": [1, None]}),
    "compressed": b"abc" * 2000,
    "pickle": (1, {2}),
}
ABOUT = {"name": "golden", "created": 1767323045.0, "compute": 0.25, "tags": {"team": "x"}}


def pack(suite: str) -> Pack:
    return Pack("bucket/s3kv", RING if suite == "2" else None, allow_unsigned_pickle=True)


def written(suite: str, name: str) -> bytes:
    return b"".join(map(bytes, pack(suite).seal(pack(suite).pack(name, VALUES[name], ABOUT))))


CASES = [f"{name} {suite}" for name in VALUES for suite in "02"]


@pytest.mark.parametrize("case", CASES)
def test_what_was_written_once_is_read(case: str) -> None:
    name, suite = case.split()
    data = memoryview(bytes.fromhex(json.loads(GOLDEN.read_text())[case]))
    opened = pack(suite).open(name, data)
    found = pack(suite).value(opened)
    assert Encoder().token(found) == Encoder().token(VALUES[name])
    assert {part: opened.header[part] for part in ABOUT} == ABOUT


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("table", "compressed")])
def test_what_has_no_salt_is_written_the_same(name: str) -> None:
    assert written("0", name).hex() == json.loads(GOLDEN.read_text())[f"{name} 0"]


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("compressed")])
def test_the_reader_of_the_documentation_reads_it(case: str) -> None:
    name, suite = case.split()
    (code,) = re.findall(r"```python\n(.*?)```", FORMAT.read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    data = bytes.fromhex(json.loads(GOLDEN.read_text())[case])
    header, payload = scope["read_entry"](data, "bucket/s3kv", name, {"golden": bytes(range(32))})
    opened = pack(suite).open(name, memoryview(data))
    assert (header, payload) == (opened.header, bytes(opened.payload))
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises((AssertionError, ValueError, InvalidTag)):
        scope["read_entry"](flipped, "bucket/s3kv", name, {"golden": bytes(range(32))})


if __name__ == "__main__":
    os.urandom = lambda size: b"\x5a" * size
    found = {case: written(case.split()[1], case.split()[0]).hex() for case in CASES}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
