"""An OTLP receiver: keeps every span that processes export to it."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.services import free_port


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span, and the service that it is from."""

    service: str
    name: str
    trace: bytes
    span: bytes
    parent: bytes
    began: int
    ended: int
    attributes: dict[str, object]


@dataclass
class OtlpReceiver:
    """Listens while its context is open."""

    url: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}/v1/traces")
    spans: list[ReceivedSpan] = field(default_factory=list)
    #: The requests as they were sent.
    bodies: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["OtlpReceiver"]:
        """Listen while the block lasts."""
        app = web.Application()
        app.router.add_post("/v1/traces", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(self.url.split(":")[2].partition("/")[0])).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    def traces(self) -> dict[bytes, list[ReceivedSpan]]:
        """The spans of each trace, in the order in which they began."""
        found: dict[bytes, list[ReceivedSpan]] = {}
        for each in sorted(self.spans, key=lambda span: (span.began, span.ended)):
            found.setdefault(each.trace, []).append(each)
        return found

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.bodies.append(body)
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {pair.key: pair.value.string_value for pair in each.resource.attributes}["service.name"]
            self.spans += [
                ReceivedSpan(
                    service, span.name, span.trace_id, span.span_id, span.parent_span_id, span.start_time_unix_nano,
                    span.end_time_unix_nano, {pair.key: pair.value.int_value for pair in span.attributes},
                )
                for scope in each.scope_spans
                for span in scope.spans
            ]  # fmt: skip
        return web.Response(body=b"", content_type="application/x-protobuf")
