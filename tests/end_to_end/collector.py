"""An OTLP collector, as OpenTelemetry's own takes spans by HTTP, that keeps them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._spans: list[tuple[str, Span]] = []
        self._lock = threading.Lock()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            with self._lock:
                self._spans += [(named["service.name"], span) for scope in resource.scope_spans for span in scope.spans]

    def of_trace(self, trace_id: str) -> dict[tuple[str, str], Span]:
        """By the process's name and the span's own."""
        with self._lock:
            return {(service, span.name): span for service, span in self._spans if span.trace_id.hex() == trace_id}


@contextmanager
def collector(host: str = "127.0.0.1") -> Iterator[Collector]:
    """At a free port of an address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            if self.path == "/v1/traces":
                found.take(ExportTraceServiceRequest.FromString(content))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer((host, 0), Handler)
    found = Collector(f"http://{host}:{server.server_port}")
    threading.Thread(target=server.serve_forever, name="collector", daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
