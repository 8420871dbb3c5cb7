"""Opens the export of traces where the settings name a receiver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from vyry import __version__
from vyry.settings.settings import Role, Settings
from vyry.tracing import trace_to


@asynccontextmanager
async def open_tracing(settings: Settings, role: Role) -> AsyncIterator[None]:
    """Trace while the block lasts; nothing without VYRY_TRACES_URL."""
    if settings.traces_url is None:
        yield
        return
    # Only now: its packages are those of the extra `otel`.
    export = import_module("vyry.operator.span_export")
    exporter = export.otlp_exporter(settings.traces_url)
    spans = export.OpenTelemetrySpans(
        exporter, settings.traces_share, service=f"vyry-{role.value}", version=__version__
    )
    trace_to(spans)
    try:
        yield
    finally:
        trace_to(None)
        await asyncio.to_thread(spans.close)
