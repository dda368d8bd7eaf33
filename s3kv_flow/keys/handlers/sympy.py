"""SymPy: polynomials with their domain, which pickling forgets, and undefined functions by name."""

from __future__ import annotations

from typing import Any

import sympy
from sympy.core.function import UndefinedFunction

from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a polynomial or an undefined function; None for what else SymPy made."""
    if isinstance(value, sympy.Poly):
        terms, domain = list(value.rep.terms()), str(value.get_domain())
        return encoder.record(b"polynomial", type(value), value.gens, domain, terms)
    if isinstance(value, UndefinedFunction):
        return encoder.record(b"undefined function", value.__name__, value._kwargs)
    return None
