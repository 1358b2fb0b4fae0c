"""OpenTelemetry's spans where its package is installed; nothing where it is not. Who collects them is the user's."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[object]:
    """A span around a piece of work; attributes are digests and sizes, never names."""
    if trace is None:
        return nullcontext()
    return trace.get_tracer("imdl").start_as_current_span(name, attributes=attributes)
