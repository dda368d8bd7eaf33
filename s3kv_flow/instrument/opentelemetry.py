"""Events as OpenTelemetry metrics and span events: ``pip install s3kv-flow[opentelemetry]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from s3kv_flow._events import Event, on_event

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


def instrument(
    meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> Callable[[], None]:
    """Measure what the caches of this process do, by OpenTelemetry.

    Counters ``s3kv.events``, ``s3kv.bytes`` and ``s3kv.seconds`` with the attributes ``s3kv.kind``,
    ``s3kv.cache`` and ``s3kv.detail``. Computations that were stored and waits are spans of their
    length; each event is also noted on the span that is current.

    Parameters
    ----------
    meter_provider : opentelemetry.metrics.MeterProvider, optional
        Another one than the global.
    tracer_provider : opentelemetry.trace.TracerProvider, optional
        Another one than the global.

    Returns
    -------
    callable
        Ends it.

    Examples
    --------
    >>> from s3kv_flow.instrument import opentelemetry
    >>> stop = opentelemetry.instrument()
    >>> stop()
    """
    import time

    from opentelemetry import metrics, trace

    meter = metrics.get_meter("s3kv_flow", meter_provider=meter_provider)
    tracer = trace.get_tracer("s3kv_flow", tracer_provider=tracer_provider)
    events = meter.create_counter("s3kv.events", description="What caches did")
    size = meter.create_counter("s3kv.bytes", "By", "Bytes read and written")
    seconds = meter.create_counter("s3kv.seconds", "s", "Seconds saved, taken, waited")

    def hook(event: Event) -> None:
        about = {"s3kv.kind": event.kind, "s3kv.cache": event.name, "s3kv.detail": event.detail}
        events.add(1, about)
        size.add(event.size_bytes, about)
        seconds.add(event.seconds, about)
        if event.kind in ("store", "wait"):
            now = time.time_ns()
            began = now - int(event.seconds * 1e9)
            name = "s3kv.compute" if event.kind == "store" else "s3kv.wait"
            tracer.start_span(name, start_time=began, attributes=about).end(now)
        trace.get_current_span().add_event(f"s3kv.{event.kind}", about)

    return on_event(hook)
