"""Tokens of Kubernetes service accounts, checked by the API server (authentication.k8s.io/v1 TokenReview).

The API server alone knows whether the account and the pod that a token is bound to are still there. Its answer counts for
a minute at most, so that a deleted account is let in no longer than that.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import structlog

from service.auth import identity
from service.auth.bearer import Claimed
from service.auth.identity import Identity, Way
from service.errors import NotAvailable, NotIdentified
from service.kubernetes_api import TOKEN_REVIEWS, KubernetesApi, Patience
from service.kubernetes_errors import KubernetesError

log = structlog.get_logger()

Review = Callable[[str, Sequence[str]], Mapping[str, Any]]
"""The `status` of a TokenReview of (token, audiences), whose form is the API's. May raise KubernetesError."""

LET_IN_S = 60.0
"""Seconds for which a good answer counts; the token's own end is looked at before."""
TURNED_AWAY_S = 5.0
"""Seconds for which a bad one does: a token may be made a moment before the API server's cache knows its account."""

_REMEMBERED = 10_000
_ACCOUNT = "system:serviceaccount:"
_PATIENCE = Patience(attempts=2, seconds=5.0, answer_s=3.0)
"""Somebody waits for it."""


def reviews_of(api: KubernetesApi) -> Review:
    """Reviews by a cluster's API server. The service account of the service needs `create` on `tokenreviews`."""

    def review(token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(audiences)},
        }
        status: Mapping[str, Any] = api.create(TOKEN_REVIEWS, "", body, _PATIENCE).get("status", {})
        return status

    return review


class TokenReviews:
    """Identities by TokenReview. Answers are remembered by the token's digest; the same token is asked for once at a time."""

    def __init__(
        self, review: Review, audience: str, threads: Executor, clock: Callable[[], float] = time.time
    ) -> None:
        self._review = review
        self._audience = audience
        self._threads = threads
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[float, Identity | NotIdentified]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Identity]] = {}

    async def identity(self, token: str, claims: Claimed) -> Identity:
        """Raises NotIdentified, and NotAvailable while the API server does not answer."""
        if (
            self._audience not in claims.audiences
        ):  # the API server would say no; a flood of such tokens is not its concern
            raise identity.refused("audience")
        if claims.expires <= self._clock():
            raise identity.expired()
        digest = hashlib.sha256(token.encode()).digest()
        until, answer = self._answers.get(digest, (0.0, None))
        if answer is not None and self._clock() < until:
            return _answered(answer)
        task = self._asked.get(digest)
        if task is None:
            task = self._asked[digest] = asyncio.create_task(self._ask(digest, token, claims))
            task.add_done_callback(lambda _: self._asked.pop(digest))
        return await asyncio.shield(task)  # whoever asked first may go away; the others still wait

    async def _ask(self, digest: bytes, token: str, claims: Claimed) -> Identity:
        loop = asyncio.get_running_loop()
        try:
            status = await loop.run_in_executor(self._threads, self._review, token, [self._audience])
        except KubernetesError as error:
            # Callers are told that it is so, the operator why: a right that is missing looks like an outage to them.
            log.warning("the API server does not say who calls", problem=str(error))
            sentence = "The cluster's API server cannot say who calls just now; try again."
            raise NotAvailable(sentence, identity.AUTHENTICATION_UNAVAILABLE) from error
        answer = identity_of(status, self._audience, claims.expires)
        lifetime = LET_IN_S if isinstance(answer, Identity) else TURNED_AWAY_S
        self._answers[digest] = (self._clock() + lifetime, answer)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return _answered(answer)


def _answered(answer: Identity | NotIdentified) -> Identity:
    if isinstance(answer, NotIdentified):
        raise identity.refused(answer.check)
    return answer


def identity_of(status: Mapping[str, Any], audience: str, expires: float) -> Identity | NotIdentified:
    """What the `status` of a TokenReview says. Pure.

    An authenticator that knows nothing of audiences leaves `status.audiences` empty: then nobody has checked that the token is
    meant for this service, and it is refused, as the API's documentation demands.
    """
    if status.get("authenticated") is not True:
        return identity.refused("API server")
    if audience not in (status.get("audiences") or ()):
        return identity.refused("audience")
    name = str((status.get("user") or {}).get("username", ""))
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not namespace or not account:
        return identity.refused("no service account")
    return Identity(Way.SERVICE_ACCOUNT, f"{namespace}/{account}", expires)
