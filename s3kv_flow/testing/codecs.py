"""What every codec promises, as tests: subclass, and give the codec and some values.

.. code-block:: python

    class TestPolygonCodec(CodecContract):
        codec = PolygonCodec()
        values = [Polygon([(0, 0), (0, 1), (1, 0)]), Polygon([])]
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

from s3kv_flow._pack import Pack
from s3kv_flow.codecs.base import Codec, Encoded
from s3kv_flow.codecs.registry import register_codec
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import ConfigurationError
from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.token import Encoder


class CodecContract:
    """The promises of `s3kv_flow.Codec`.

    Attributes
    ----------
    codec : Codec
        The codec.
    values : sequence
        Values that it takes, odd and empty ones among them.
    """

    codec: ClassVar[Codec]
    values: ClassVar[Sequence[Any]]

    def encoded(self, value: Any) -> Encoded:
        """Give the value encoded, and fail where the codec declines it."""
        encoded = self.codec.encode(value)
        assert encoded is not None, f"{self.codec.name} declines {value!r}"
        return encoded

    def decoded(self, encoded: Encoded) -> Any:
        """Give what comes back after a journey through JSON and bytes."""
        arguments = json.loads(json.dumps(dict(encoded.arguments)))
        buffers = [memoryview(bytearray(memoryview(part))) for part in encoded.buffers]
        return self.codec.decode(arguments, buffers)

    def test_it_is_described(self) -> None:
        """By a name, and by what a reader must know."""
        assert isinstance(self.codec.name, str)
        assert self.codec.name
        assert type(self.codec.safe) is bool
        assert type(self.codec.aliases) is bool

    def test_values_come_back_the_same(self) -> None:
        """Equal, and of the same types down to their parts: they have the same key."""
        assert self.values
        for value in self.values:
            again = self.decoded(self.encoded(value))
            assert type(again) is type(value)
            assert Encoder().token(again) == Encoder().token(value)

    def test_encoding_leaves_the_value_alone(self) -> None:
        """And the same value is encoded the same way twice."""
        for value in self.values:
            before = Encoder().token(value)
            first, second = self.encoded(value), self.encoded(value)
            assert list(map(bytes, first.buffers)) == list(map(bytes, second.buffers))
            assert Encoder().token(value) == before

    def test_other_values_are_declined(self) -> None:
        """By None, not by an exception, so that another codec is asked."""

        class Other:
            pass

        assert self.codec.encode(Other()) is None

    def test_entries_are_sealed_and_opened(self) -> None:
        """In the bucket, and in the local cache."""
        with suppress(ConfigurationError):  # one of ours
            register_codec(self.codec)
        pack = Pack("store", Keyring.generate())
        for value in self.values:
            packed = pack.pack("key", value, {}, self.codec)
            opened = pack.open("key", memoryview(b"".join(map(bytes, pack.seal(packed)))))
            assert Encoder().token(pack.value(opened)) == Encoder().token(value)

    def test_damage_is_an_exception_and_no_more(self) -> None:
        """A safe codec may be given anything that an attacker wrote: it raises, or gives a value."""
        if not self.codec.safe:
            return
        chance = random.Random(0)  # noqa: S311 - no secret
        for value in self.values:
            encoded = self.encoded(value)
            for _ in range(50):
                parts = [bytearray(memoryview(part)) for part in encoded.buffers]
                for part in filter(None, parts):
                    part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
                    del part[chance.randrange(len(part)) + 1 :]
                with suppress(Exception):
                    self.codec.decode(dict(encoded.arguments), [memoryview(part) for part in parts])
