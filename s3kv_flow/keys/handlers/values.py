"""Types of the standard library whose modules cost more to import than many a program needs."""

from __future__ import annotations

import decimal
import fractions
import ipaddress
import random
import uuid
from typing import Any

from s3kv_flow.keys.handlers.standard import _for
from s3kv_flow.keys.token import EXACT, Encoder


@_for(decimal.Decimal)
def _decimal(value: decimal.Decimal, encoder: Encoder) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if value.is_nan():
        sign, digits = 0, ()  # payloads of NaN are equal
    return encoder.record(b"decimal", sign, "".join(map(str, digits)), exponent)


@_for(fractions.Fraction)
def _fraction(value: fractions.Fraction, encoder: Encoder) -> bytes:
    return encoder.record(b"fraction", value.numerator, value.denominator)


@_for(uuid.UUID)
def _uuid(value: uuid.UUID, encoder: Encoder) -> bytes:
    return encoder.record(b"uuid", value.int)


@_for(
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
def _address(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"ip", type(value).__name__, str(value))


@_for(random.Random)
def _random(value: random.Random, encoder: Encoder) -> bytes:
    if value is random._inst:
        # Of the process, and changed by whoever draws from it.
        return encoder.node(b"global random")
    return encoder.record(b"random", value.getstate())


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a value of exactly these types."""
    handler = EXACT.get(type(value))
    return None if handler is None else handler(value, encoder)
