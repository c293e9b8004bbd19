"""Every request that an S3 client sends, told to whoever counts them: each attempt of its own, retries included."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BEGAN = "loramill_began"
NO_ANSWER = "none"


class Unclear(Exception):
    """What came of a request that `s3_quick` sent is for boto3 to find out."""

    def __init__(self, *, unanswered: bool) -> None:
        """`unanswered`: the request may have been carried out, now or later."""
        super().__init__(unanswered)
        self.unanswered = unanswered


class RequestObserver(Protocol):
    """Called from many threads."""

    def answered(self, operation: str, answer: str, seconds: float) -> None:
        """`operation` is S3's own word, such as `PutObject`; `answer` an HTTP status, or `none`."""
        ...


def observe_requests(client: S3Client, observer: RequestObserver) -> None:
    """From now on the observer hears of each request. A body that is streamed is not waited for."""

    def created(request: Any, **_: object) -> None:
        request.context[_BEGAN] = time.perf_counter()

    def received(response_dict: dict[str, Any] | None, context: dict[str, Any], event_name: str, **_: object) -> None:
        answer = str(response_dict["status_code"]) if response_dict is not None else NO_ANSWER
        seconds = time.perf_counter() - context.get(_BEGAN, time.perf_counter())
        observer.answered(event_name.rpartition(".")[2], answer, seconds)

    client.meta.events.register("request-created.s3", created)
    client.meta.events.register("response-received.s3", received)
