"""A call from its first look to its value: one driver for functions, one for coroutine functions.

The sync steps of `_cache` are the truth. The async driver awaits them in threads of ours, and
waits for other callers as a coroutine, so that waiting takes up no thread. What computes is given
by the caller: `cached` gives the function, an orchestrator its task.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from s3kv_flow._cache import Call, Claim, FunctionCache, Pending, Step
from s3kv_flow._model import Hit, Outcome
from s3kv_flow._parallel import submit
from s3kv_flow._process import reset_after_fork

#: Store requests of coroutines run in this many threads at most.
ASYNC_THREADS: Final = 16

Begin = Callable[[Call], Step]


def run(
    cache: FunctionCache,
    call: Call,
    compute: Callable[[], Any],
    begin: Begin | None = None,
    *,
    fresh: bool = False,
) -> Hit[Any]:
    """Give the call's value, from wherever it is first to be had."""
    begin = begin or cache.begin
    step = begin(call)
    while not isinstance(step, (Hit, Claim)):
        if isinstance(step, Pending):
            try:
                time.sleep(step.delay_seconds)
            except BaseException as error:
                cache.abandon(step, error)
                raise
            step = cache.again(step)
        elif step.future.result() is Outcome.COMPUTE_YOURSELF:
            return Hit(compute())
        else:
            step = cache.look(call, fresh) or begin(call)
    if isinstance(step, Hit):
        return step
    started = time.perf_counter()
    try:
        with cache.computing(step):
            value = compute()
    except BaseException as error:
        rescued = cache.rescued(step, error) if isinstance(error, Exception) else None
        if rescued is not None:
            return rescued
        cache.abandon(step, error)
        raise
    return Hit(cache.publish(step, value, time.perf_counter() - started))


def revalidate(cache: FunctionCache, call: Call, compute: Callable[[], Any]) -> None:
    """Compute a call again in the background, if nobody does so yet."""
    if not cache.revalidates(call):
        return

    def again() -> None:
        with cache.revalidating(call):
            run(cache, call, compute, cache.revalidate, fresh=True)

    # A daemon, for the old value does: a process need not wait for a new one to end.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(again,), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system gives no more of them
        with cache.revalidating(call):
            raise


async def run_async(
    cache: FunctionCache,
    call: Call,
    compute: Callable[[], Awaitable[Any]],
    begin: Begin | None = None,
    *,
    fresh: bool = False,
) -> Hit[Any]:
    """Give the call's value, from wherever it is first to be had."""
    begin = begin or cache.begin
    step = await _claimed(cache, begin, call)
    while not isinstance(step, (Hit, Claim)):
        if isinstance(step, Pending):
            step = await _again(cache, step)
        elif await _wrapped(step.future) is Outcome.COMPUTE_YOURSELF:
            return Hit(await compute())
        else:
            step = await in_thread(cache.look, call, fresh) or await _claimed(cache, begin, call)
    if isinstance(step, Hit):
        return step
    started = time.perf_counter()
    try:
        with cache.computing(step):
            value = await compute()
    except BaseException as error:
        rescued = cache.rescued(step, error) if isinstance(error, Exception) else None
        if rescued is not None:
            return rescued
        _abandon(cache, step, error)
        raise
    return Hit(await in_thread(cache.publish, step, value, time.perf_counter() - started))


async def _again(cache: FunctionCache, pending: Pending) -> Step:
    import asyncio

    try:
        await asyncio.sleep(pending.delay_seconds)
    except BaseException as error:
        _abandon(cache, pending, error)
        raise
    step: Step = await _claimed(cache, lambda _: cache.again(pending), pending.call)
    return step


def _abandon(cache: FunctionCache, step: Claim | Pending, error: BaseException) -> None:
    # In a thread of ours, and not waited for: giving a lease back asks the store.
    submit(_threads(), cache.abandon, step, error)


def revalidate_async(
    cache: FunctionCache, call: Call, compute: Callable[[], Awaitable[Any]]
) -> None:
    """Compute a call again in the background, if nobody does so yet."""
    import asyncio

    async def again() -> None:
        with cache.revalidating(call):
            await run_async(cache, call, compute, cache.revalidate, fresh=True)

    if cache.revalidates(call):
        task = asyncio.get_running_loop().create_task(again())
        _background.add(task)  # the loop itself keeps but a weak reference
        task.add_done_callback(_background.discard)


async def _claimed(cache: FunctionCache, begin: Begin, call: Call) -> Any:
    future = submit(_threads(), contextvars.copy_context().run, begin, call)

    def give_back(future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            step = future.result()
            if isinstance(step, (Claim, Pending)):
                _abandon(cache, step, _Cancelled())

    try:
        return await _wrapped(future)
    except BaseException:
        # Cancelled while the thread was about to claim: nobody would ever give it back.
        future.add_done_callback(give_back)
        raise


#: Background computations of coroutine functions.
_background: set[Any] = set()


class _Cancelled(BaseException):
    """Stands for an interruption: whoever waits takes over."""


# Threads for coroutines


class _Threads:
    """One bounded executor a process, made when first needed."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def __call__(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(ASYNC_THREADS, thread_name_prefix="s3kv")
            return self._executor


_threads = _Threads()


async def in_thread(step: Callable[..., Any], *args: Any) -> Any:
    """Await a step that asks the store."""
    return await _wrapped(submit(_threads(), contextvars.copy_context().run, step, *args))


async def _wrapped(future: Future[Any]) -> Any:
    """Await a future of a thread; whoever is cancelled here cancels it for nobody else."""
    import asyncio  # costs as much to import as all the rest of this package

    return await asyncio.shield(asyncio.wrap_future(future))
