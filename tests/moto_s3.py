"""moto's S3 server on loopback: quick, and no proof of anything about security or races. Real servers are in `cluster`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_WRITES = frozenset({"PUT", "POST", "DELETE"})


@contextmanager
def moto_s3() -> Iterator[str]:
    """The server's address. What was stored is forgotten."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    get_backend("s3").reset()
    server = make_server("127.0.0.1", 0, _one_write_at_a_time(DomainDispatcherApplication(create_backend_app)), True)
    thread = threading.Thread(target=server.serve_forever, name="moto", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@contextmanager
def moto_keys() -> Iterator[pytest.MonkeyPatch]:
    """AWS's variables hold keys that it takes."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield environment


def _one_write_at_a_time(application: Callable[[Any, Any], Iterable[bytes]]) -> Callable[[Any, Any], Iterable[bytes]]:
    """moto looks whether a key is there, and only then writes it: of two at once both would win."""
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _WRITES:
            return application(environ, start_response)
        with lock:
            return list(application(environ, start_response))

    return serve
