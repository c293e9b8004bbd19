"""One answer of the API server to a watch: a line of JSON for each change, for as long as it goes on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import urllib3

from service.kubernetes_errors import Unavailable, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 16


class Change(NamedTuple):
    kind: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: dict[str, Any]


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class WatchStream:
    """The changes of one watch, once. It is read in one thread, and may be closed in another."""

    def __init__(self, request: str, response: urllib3.HTTPResponse, kept: type[Any] = dict) -> None:
        """Of each object the fields that the TypedDict `kept` has are read. A bookmark's object is an empty one with a version,
        of which other fields may be null.
        """
        self._request = request
        self._response = response
        self._kept = kept

    def __iter__(self) -> Iterator[Change]:
        """Ends where the API server ends it in good order, or after `close`.

        Raises Gone if the version to go on from is no longer kept, Unavailable if the connection breaks or falls silent.
        """
        try:
            for line in self._lines():
                if line.type == "ERROR":
                    code = msgspec.json.decode(line.object, type=dict[str, Any]).get("code")
                    raise error_of(self._request, int(code or 500), bytes(line.object))
                kept = dict[str, Any] if line.type == "BOOKMARK" else self._kept
                yield Change(line.type, msgspec.json.decode(line.object, type=kept))
        except (urllib3.exceptions.HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            raise Unavailable(self._request, f"the watch broke off: {error}") from error
        finally:
            self._response.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has ended already
            self._response.shutdown()

    def _lines(self) -> Iterator[_Line]:
        rest = b""
        for piece in self._response.stream(_PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield msgspec.json.decode(line, type=_Line)
        if rest.strip():
            raise ValueError("it ended within an object")
