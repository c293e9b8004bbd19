"""An object store over HTTP on loopback that knows PUT and GET, and misbehaves as it is told."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeStore:
    """Serves `objects` until `stop`. Each entry of `script` spoils one request, in order:

    a number     is answered as the status, and nothing is done
    "lost"       a PUT is carried out, and not answered
    "half"       of what a GET asks for only the first half comes
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """With `context`, over TLS."""
        self.objects: dict[str, bytes] = {}
        self.script: list[int | str] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers."""
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                spoilt = store.next(self)
                if isinstance(spoilt, int):
                    return self.answer(spoilt)
                exists = self.path in store.objects
                store.objects.setdefault(self.path, content)
                if spoilt == "lost":
                    self.close_connection = True
                    return None
                return self.answer(412 if exists else 200)

            def do_GET(self) -> None:
                spoilt = store.next(self)
                if isinstance(spoilt, int):
                    return self.answer(spoilt)
                start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
                content = store.objects[self.path][start:]
                half = content[: len(content) // 2] if spoilt == "half" else content
                self.close_connection = spoilt == "half"
                return self.answer(206 if start else 200, half, len(content))

            def answer(self, status: int, content: bytes = b"", length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                if 300 <= status < 400:
                    self.send_header("Location", f"{store.address}/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, name: str) -> str:
        return f"{self.address}/{name}?signature=secret"

    def next(self, handler: BaseHTTPRequestHandler) -> int | str | None:
        """Notes the request; how it is spoilt."""
        handler.path = handler.path.partition("?")[0]
        self.requests.append((handler.command, handler.path, dict(handler.headers)))
        return self.script.pop(0) if self.script else None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
