"""Types of the standard library whose modules cost more to import than many a program needs."""

from __future__ import annotations

import decimal
import fractions
import ipaddress
import random
import uuid
from typing import Any

from s3kv_flow.keys.handlers.standard import _for, told_by
from s3kv_flow.keys.token import EXACT, Encoder


@told_by(b"decimal", decimal.Decimal)
def _decimal(value: decimal.Decimal) -> str:
    if value.is_nan():  # payloads of NaN are equal
        return "snan" if value.is_snan() else "nan"
    return str(value).lower()  # the context may ask for "e" or "E"


@told_by(b"fraction", fractions.Fraction, fields=2)
def _fraction(value: fractions.Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator


@told_by(b"uuid", uuid.UUID)
def _uuid(value: uuid.UUID) -> bytes:
    return value.int.to_bytes(16, "big")


@told_by(b"ipv4 address", ipaddress.IPv4Address)
@told_by(b"ipv6 address", ipaddress.IPv6Address)
@told_by(b"ipv4 network", ipaddress.IPv4Network)
@told_by(b"ipv6 network", ipaddress.IPv6Network)
@told_by(b"ipv4 interface", ipaddress.IPv4Interface)
@told_by(b"ipv6 interface", ipaddress.IPv6Interface)
def _address(value: Any) -> str:
    return str(value)


@_for(decimal.Context)
def _context(value: decimal.Context, encoder: Encoder) -> bytes:
    """Give the token of a context, without the flags that calculations leave in it."""
    told = (value.prec, value.rounding, value.Emin, value.Emax, value.capitals, value.clamp)
    return encoder.record(b"context", told, {one.__name__ for one, on in value.traps.items() if on})


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
