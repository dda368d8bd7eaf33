"""Events as Prometheus metrics: ``pip install s3kv-flow[prometheus]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from s3kv_flow._events import Event, on_event

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def instrument(registry: CollectorRegistry | None = None) -> Callable[[], None]:
    """Count what the caches of this process do, in Prometheus' registry.

    ``s3kv_events_total`` by kind, cache and detail; ``s3kv_bytes_total`` and ``s3kv_seconds_total``
    by kind and cache: seconds that hits saved, that computations took, and that were waited.

    Parameters
    ----------
    registry : prometheus_client.CollectorRegistry, optional
        Another registry than the default one.

    Returns
    -------
    callable
        Ends it.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry
    >>> from s3kv_flow.instrument import prometheus
    >>> from s3kv_flow.testing import memory_store
    >>> registry = CollectorRegistry()
    >>> stop = prometheus.instrument(registry)
    >>> memory_store().cached(lambda: 1, name="one")()
    1
    >>> labels = {"kind": "miss", "cache": "one", "detail": "absent"}
    >>> registry.get_sample_value("s3kv_events_total", labels)
    1.0
    >>> stop()
    """
    from prometheus_client import REGISTRY, Counter

    chosen = REGISTRY if registry is None else registry
    labels = ("kind", "cache")
    events = Counter("s3kv_events", "What caches did", (*labels, "detail"), registry=chosen)
    size = Counter("s3kv_bytes", "Bytes read and written", labels, registry=chosen)
    seconds = Counter("s3kv_seconds", "Seconds saved, taken, waited", labels, registry=chosen)

    def hook(event: Event) -> None:
        events.labels(event.kind, event.name, event.detail).inc()
        size.labels(event.kind, event.name).inc(event.size_bytes)
        seconds.labels(event.kind, event.name).inc(event.seconds)

    stop = on_event(hook)

    def end() -> None:
        stop()
        for metric in (events, size, seconds):
            chosen.unregister(metric)

    return end
