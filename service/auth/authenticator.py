"""From a call to its Caller: what it shows is checked by whoever can check it, then the grants say tenant and rights.

A token, where there is one, decides alone: a bad token is not made good by a good certificate beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from service.auth import identity
from service.auth.bearer import bearer_token, claimed
from service.auth.exposure import authenticates
from service.auth.identity import Identity
from service.auth.key_sets import key_set
from service.auth.loopback import identify_loopback
from service.auth.mtls import certificate_identity
from service.auth.oidc import OidcTokens
from service.auth.rights import HEALTH_METHODS, REFLECTION_METHODS
from service.auth.settings import Authentication, Grant, Tls
from service.auth.tenancy import TENANT_METADATA, tenant_of
from service.auth.token_review import Review, TokenReviews
from service.caller import Caller
from service.interceptors import Call, Identify

_THREADS = 8
"""So many tokens are checked at once; of their own, so that a flood of bad ones takes no thread from the calls of others."""


@dataclass(frozen=True)
class Authenticator:
    """Identify, for a service that others can reach."""

    grants: Sequence[Grant]
    reviews: TokenReviews | None
    providers: Mapping[str, OidcTokens]
    """By issuer."""
    takes_certificates: bool
    open_methods: frozenset[str]
    threads: ThreadPoolExecutor
    clock: Callable[[], float] = time.time

    async def __call__(self, call: Call) -> Caller | None:
        """Nobody, of the methods that are open. Raises NotIdentified, NotPermitted, and NotAvailable."""
        if call.method in self.open_methods:
            return None
        found = await self._identity(call)
        if found.expires <= self.clock():
            raise identity.expired()
        metadata = call.context.invocation_metadata() or ()
        named = [str(value) for key, value in metadata if key == TENANT_METADATA]
        tenant = tenant_of(self.grants, found, call.method, ",".join(named) if named else None)
        return Caller(tenant, found.principal, call.method, call.call_id, found.expires)

    async def _identity(self, call: Call) -> Identity:
        token = bearer_token(call.context.invocation_metadata() or ())
        if token is not None:
            return await self._of_token(token)
        certificates = tuple(call.context.auth_context().get("x509_pem_cert", ()))
        if self.takes_certificates and len(certificates) == 1:
            return certificate_identity(certificates[0])
        raise identity.missing()

    async def _of_token(self, token: str) -> Identity:
        claims = claimed(token)
        provider = self.providers.get(claims.issuer)
        if provider is not None:
            return await asyncio.get_running_loop().run_in_executor(self.threads, provider.identity, token)
        if self.reviews is not None:
            return await self.reviews.identity(token, claims)
        raise identity.refused("issuer")


def authenticator(
    authentication: Authentication, tls: Tls | None, grants: Iterable[Grant], review: Review | None
) -> Identify:
    """The Authenticator, or loopback's where nothing is configured that could prove who calls.

    `review` is needed where service accounts are let in; see `token_review.reviews_of`.
    """
    if not authenticates(authentication, tls):
        return identify_loopback
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="authentication")
    accounts, reviews = authentication.service_accounts, None
    if accounts is not None and review is not None:
        reviews = TokenReviews(review, accounts.audience, threads)
    is_open = authentication.reflection == "open"
    return Authenticator(
        grants=tuple(grants),
        reviews=reviews,
        providers={provider.issuer: OidcTokens(provider, key_set(provider)) for provider in authentication.oidc},
        takes_certificates=tls is not None and tls.client_ca is not None,
        open_methods=HEALTH_METHODS | (REFLECTION_METHODS if is_open else frozenset()),
        threads=threads,
    )
