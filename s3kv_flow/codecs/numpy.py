"""NumPy arrays and scalars as raw buffers, which a local copy maps back without a copy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s3kv_flow.codecs.base import Encoded

if TYPE_CHECKING:
    import numpy as np


class NumpyCodec:
    """Exactly `numpy.ndarray` and NumPy's own scalars, of any dtype without Python objects."""

    name = "numpy"
    safe = True
    aliases = True

    def encode(self, value: Any) -> Encoded | None:
        import numpy as np

        scalar = isinstance(value, np.generic) and type(value).__module__ == "numpy"
        if not scalar and type(value) is not np.ndarray:
            return None
        array = np.asarray(value)
        described = describe_dtype(array.dtype)
        if described is None or (scalar and array.dtype.names is not None):
            return None
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        arguments = {"dtype": described, "shape": list(array.shape)}
        if fortran:
            arguments["order"] = "F"
        if scalar:
            arguments["scalar"] = True
        return Encoded([raw_bytes(array.T if fortran else array)], arguments)

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        (data,) = buffers
        array = array_over(
            data, arguments["dtype"], tuple(arguments["shape"]), arguments.get("order", "C")
        )
        return array[()] if arguments.get("scalar") else array


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """Give an array's bytes in C order; a copy only where it is not contiguous."""
    import numpy as np

    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.nbytes else memoryview(b"")


def array_over(
    data: memoryview, described: Any, shape: tuple[int, ...], order: Any = "C"
) -> np.ndarray[Any, Any]:
    """Give an array over ``data``, writable where that is."""
    import numpy as np

    dtype = dtype_from(described)
    if dtype.hasobject:
        raise ValueError("an array of raw bytes cannot hold Python objects")
    if not data.nbytes and dtype.itemsize * math.prod(shape):
        # NumPy would give memory as it found it.
        raise ValueError("the array's bytes are not there")
    return np.ndarray(shape, dtype, data if data.nbytes else None, order=order)


def describe_dtype(dtype: np.dtype[Any]) -> Any:
    """Say a dtype in JSON; None for one that would not come back the same."""
    import numpy as np

    if (
        dtype.hasobject
        or dtype.metadata
        or dtype.itemsize == 0
        or type(dtype).__module__ != "numpy.dtypes"
    ):
        return None
    try:
        described = _listed(np.lib.format.dtype_to_descr(dtype))
        again = dtype_from(json.loads(json.dumps(described)))
    except (TypeError, ValueError):  # fields that overlap, or stand in another order
        return None
    return described if _same(again, dtype) else None


def _same(ours: np.dtype[Any], theirs: np.dtype[Any]) -> bool:
    """Whether two dtypes are one, in what ``==`` does not look at, too."""
    if (
        ours != theirs
        or (theirs.kind == "V" and ours.type is not theirs.type)
        or ours.isalignedstruct != theirs.isalignedstruct
        or theirs.metadata
    ):
        return False
    if theirs.subdtype is not None:
        return ours.subdtype is not None and _same(ours.subdtype[0], theirs.subdtype[0])
    return all(_same(ours[name], theirs[name]) for name in theirs.names or ())


def dtype_from(described: Any) -> np.dtype[Any]:
    """Give the dtype that :func:`describe_dtype` said."""
    import numpy as np

    return np.lib.format.descr_to_dtype(_fields(described))


def _listed(described: Any) -> Any:
    return (
        [_listed(item) for item in described] if isinstance(described, (list, tuple)) else described
    )


def _fields(described: Any) -> Any:
    if isinstance(described, str):
        return described
    if described and isinstance(described[0], list):
        return [
            (name if isinstance(name, str) else tuple(name), _fields(kind), *map(tuple, shape))
            for name, kind, *shape in described
        ]
    kind, shape = described  # a dtype of fixed-size subarrays
    return _fields(kind), tuple(shape)
