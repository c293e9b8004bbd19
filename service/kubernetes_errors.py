"""What can go wrong between the service and a cluster's API server.

KubernetesError
├── NotFound            404
├── AlreadyExists       409: an object of this name is there
├── Conflict            409: the object is not as the request supposes (UID, resourceVersion)
├── Gone                410: this resourceVersion is no longer kept; list again
├── Forbidden           401 and 403: no right to it, or a quota or policy does not admit it
├── Refused             the other 4xx: the request itself is wrong
└── Unavailable         5xx and no answer: it may have been carried out, now or later; ask again
    └── TooManyRequests 429: it was not carried out; ask again later
"""

from __future__ import annotations

import json
from typing import Any

_LONGEST_MESSAGE = 1000
"""Characters of an API server's answer that are passed on."""


class KubernetesError(Exception):
    """An answer that is not what was asked for. The text names request and answer; `message` is the API server's own."""

    def __init__(self, request: str, message: str, retry_after: float | None = None) -> None:
        """`request` is method and path; `retry_after` are the seconds that the API server asks to wait, if it does."""
        super().__init__(f"{request}: {message}")
        self.message = message
        self.retry_after = retry_after


class NotFound(KubernetesError):
    pass


class AlreadyExists(KubernetesError):
    pass


class Conflict(KubernetesError):
    pass


class Gone(KubernetesError):
    pass


class Forbidden(KubernetesError):
    @property
    def over_quota(self) -> bool:
        """Whether a ResourceQuota of the namespace is what does not admit it."""
        return "exceeded quota" in self.message


class Refused(KubernetesError):
    pass


class Unavailable(KubernetesError):
    pass


class TooManyRequests(Unavailable):
    pass


_BY_STATUS: dict[int, type[KubernetesError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}


def error_of(request: str, status: int, body: bytes, retry_after: str | None = None) -> KubernetesError:
    """The error that an answer stands for. `body` is a `Status` object, or whatever a proxy in between has to say."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    answer = answer if isinstance(answer, dict) else {"message": body.decode(errors="replace")}
    reason, message = answer.get("reason", ""), str(answer.get("message", ""))[:_LONGEST_MESSAGE]
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else Refused)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(request, message or f"answered {status}", _seconds(retry_after, answer))


def _seconds(retry_after: str | None, answer: dict[str, Any]) -> float | None:
    """The header's seconds, else those of the Status object; the header's other form, a date, API servers never send."""
    details = answer.get("details")
    told = retry_after or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return max(0.0, float(told)) if told else None
    except ValueError:
        return None
