"""Checked by mypy, never run: what a type checker sees of the public API."""

from __future__ import annotations

from datetime import timedelta

from typing_extensions import assert_type

import s3kv_flow as s3kv


@s3kv.cached
def plain(day: str, top: int = 3) -> list[int]:
    return [top]


@s3kv.cached(tags={"day": "{day}"}, max_age=timedelta(days=1), ignore="top", codec="json")
def with_options(day: str, top: int = 3) -> list[int]:
    return [top]


@s3kv.cached
async def coroutine(day: str) -> float:
    return 1.0


assert_type(plain("a", top=2), list[int])
assert_type(with_options("a"), list[int])
assert_type(plain.refresh("a"), list[int])
assert_type(plain.key("a"), str)
assert_type(plain.contains("a"), bool)
assert_type(plain.cache_clear(), s3kv.Cleared)
assert_type(plain.cache_info(), s3kv.CacheInfo)

plain(1)  # type: ignore[arg-type]
plain.key()  # type: ignore[call-arg]
s3kv.cached(max_aeg=3)  # type: ignore[call-overload]


async def uses() -> None:
    assert_type(await coroutine("a"), float)
    assert_type(await coroutine.refresh("a"), float)
    assert_type(await coroutine.contains("a"), bool)


def on_a_store(kv: s3kv.S3KV) -> None:
    @kv.cached(policy=s3kv.Policy(max_age_days=1))
    def square(x: int) -> int:
        return x * x

    assert_type(square(2), int)
    assert_type(kv.list_keys(), list[str])
