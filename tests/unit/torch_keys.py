"""PyTorch's tensors and modules. Not among the other tests, for it takes gigabytes: `nox -s torch`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key, assert_stable_key

#: PyTorch tells of its sparse layouts that they are new.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Own(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def module(kind: Callable[[], Any] = Own) -> Any:
    torch.manual_seed(0)
    return kind()


def several() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3))


def sparse(layout: str, by: float = 1.0) -> Any:
    return getattr(torch.eye(4) * by, layout)(*([(2, 2)] if "bs" in layout else []))


LAYOUTS = ["to_sparse", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr", "to_sparse_bsc"]


def test_tensors_count_by_value_type_and_shape() -> None:
    grid = torch.arange(6).reshape(2, 3)
    assert_same_key(grid.T, grid.T.contiguous(), grid.clone().T)
    assert_same_key(torch.arange(10)[::2], torch.tensor([0, 2, 4, 6, 8]))
    assert_same_key(torch.tensor([1 + 1j]).conj(), torch.tensor([1 - 1j]))
    assert_different_keys(
        torch.zeros(2, 3),
        torch.zeros(3, 2),
        torch.zeros(2, 3, dtype=torch.bfloat16),
        torch.zeros(2, 3, requires_grad=True),
        torch.nn.Parameter(torch.zeros(2, 3)),
        torch.tensor(1.0),
        torch.tensor([1.0]),
        np.zeros((2, 3), "f4"),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_tensors_count_by_value_and_layout(layout: str) -> None:
    assert_same_key(sparse(layout), sparse(layout))
    assert_different_keys(sparse(layout), sparse(layout, 2.0), torch.eye(4))


def test_the_order_of_what_a_sparse_tensor_holds_does_not_count() -> None:
    twice = torch.sparse_coo_tensor([[0, 0], [0, 0]], [1.0, 1.0], (2, 2))
    assert_same_key(twice, torch.sparse_coo_tensor([[0], [0]], [2.0], (2, 2)))
    assert not twice.is_coalesced()


@pytest.mark.parametrize("kind", [Own, several])
def test_modules_count_by_weights_and_mode(kind: Callable[[], Any]) -> None:
    first = module(kind)
    assert_same_key(first, module(kind), copy.deepcopy(first), pickle.loads(pickle.dumps(first)))
    other = module(kind)
    next(other.parameters()).data += 1
    assert_different_keys(first, other, module(kind).eval())


def test_a_model_has_one_key_everywhere() -> None:
    assert_stable_key(module(several))


def test_what_belongs_to_training_counts() -> None:
    def optimizer(rate: float) -> Any:
        return torch.optim.Adam(module().parameters(), lr=rate)

    assert_same_key(optimizer(0.1), optimizer(0.1))
    data = torch.utils.data.TensorDataset(torch.zeros(3))
    assert_different_keys(
        optimizer(0.1),
        optimizer(0.2),
        torch.Generator().manual_seed(1),
        torch.Generator().manual_seed(2),
        torch.utils.data.DataLoader(data, batch_size=1),
        torch.utils.data.DataLoader(data, batch_size=2),
        torch.float32,
        torch.float16,
        torch.device("cpu"),
        torch.finfo(torch.float32),
        torch.Size([1]),
        torch.zeros(2).untyped_storage(),
        torch.ones(2).untyped_storage(),
    )
    assert_same_key(torch.zeros(2).untyped_storage(), torch.zeros(2).untyped_storage())


def compiled(function: Any) -> Any:
    return torch.compile(function, backend="eager")


def wave(x: Any) -> Any:
    return torch.sin(x)


def hill(x: Any) -> Any:
    return torch.cos(x)


def test_calling_what_was_compiled_changes_no_key() -> None:
    function, model = compiled(wave), module()
    plain = Encoder().token(model)
    optimized = compiled(model)
    before = Encoder().token([function, optimized])
    function(torch.ones(2))
    optimized(torch.ones(1, 2))
    assert Encoder().token([function, optimized]) == before
    assert Encoder().token(model) == plain
    assert_different_keys(function, compiled(hill), optimized, model)


def test_what_is_not_in_memory_has_no_key() -> None:
    with pytest.raises(UnhashableArgumentError, match="meta"):
        Encoder().token(torch.zeros(2, device="meta"))
