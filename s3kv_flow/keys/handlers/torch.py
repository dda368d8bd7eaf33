"""PyTorch tensors, parameters, dtypes, devices and generators; modules are walked like objects."""

from __future__ import annotations

from typing import Any, Final

import torch

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.handlers import numpy as numpy_keys
from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of what PyTorch made; None for modules and other objects."""
    if isinstance(value, torch.Tensor):
        return _tensor(value, encoder)
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
        return encoder.record(b"torch", type(value).__name__, str(value))
    if isinstance(value, torch.Size):
        return encoder.record(b"torch size", tuple(value))
    if type(value).__name__ == "OptimizedModule":  # it also keeps what it compiled
        return encoder.record(b"torch compiled", value._orig_mod)
    if isinstance(value, (torch.finfo, torch.iinfo)):
        return encoder.record(b"torch limits", type(value).__name__, value.dtype)
    if isinstance(value, torch.UntypedStorage):
        return encoder.record(b"torch storage", torch.empty(0, dtype=torch.uint8).set_(value))
    if isinstance(value, torch.TypedStorage):
        return encoder.record(b"torch storage", str(value.dtype), value.untyped())
    if isinstance(value, torch.Generator):
        return encoder.record(b"torch generator", str(value.device), value.get_state())
    return None


#: What tensors of each sparse layout hold.
_SPARSE: Final = {
    torch.sparse_coo: ("indices", "values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def _tensor(value: Any, encoder: Encoder) -> bytes:
    if value.device.type != "cpu":
        raise UnhashableArgumentError(
            f"a tensor on {value.device} is not in this process's memory",
            way_out="Pass tensor.cpu(), or leave it out with ignore=(...).",
        )
    parts = _SPARSE.get(value.layout, ())
    if value.layout is not torch.strided and not parts:
        raise UnhashableArgumentError(
            f"a tensor of layout {value.layout} has no stable key", way_out="Pass it dense."
        )
    about = encoder.record(
        b"tensor",
        # Parameter or plain: a subclass of a user's own counts as its class.
        type(value).__name__ if str(type(value).__module__).startswith("torch") else type(value),
        str(value.dtype),
        tuple(value.shape),
        value.requires_grad,
        str(value.layout),
    )
    if parts:
        held = value.detach()
        held = held.coalesce() if value.layout is torch.sparse_coo else held
        return encoder.node(
            b"sparse", about, *(_tensor(getattr(held, one)(), encoder) for one in parts)
        )
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    if plain.is_quantized:
        plain = plain.int_repr()
        about += encoder.record(b"quantized", str(value.qscheme()), repr(value))
    # As bytes: NumPy has no bfloat16. A tensor without dimensions has no bytes to view.
    raw = plain.reshape(-1).view(torch.uint8).numpy()
    return encoder.node(b"torch tensor", about, numpy_keys.array(raw, encoder))
