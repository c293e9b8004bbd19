"""Who somebody is, once it is proven."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.errors import NotIdentified


class Way(StrEnum):
    """How an identity was proven. Identities of different ways are never the same."""

    SERVICE_ACCOUNT = "service-account"
    OIDC = "oidc"
    CERTIFICATE = "certificate"


@dataclass(frozen=True)
class Identity:
    """A proven identity."""

    way: Way
    subject: str
    """namespace/name of a service account; the subject claim; spiffe://…, dns:… or cn:… of a certificate."""
    expires: float
    """Unix time in seconds at which what proved it ends."""
    issuer: str = ""
    """The provider that vouches for it, of OIDC."""
    groups: frozenset[str] = frozenset()

    @property
    def principal(self) -> str:
        """For the audit record: `service-account:team/robot`, `oidc:https://idp.example#8a1f`, `certificate:dns:client`."""
        return f"{self.way}:{self.issuer}#{self.subject}" if self.issuer else f"{self.way}:{self.subject}"


NO_CREDENTIALS = "NO_CREDENTIALS"
CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED"
CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
NO_TENANT = "NO_TENANT"
NO_RIGHT = "NO_RIGHT"
AUTHENTICATION_UNAVAILABLE = "AUTHENTICATION_UNAVAILABLE"
REASONS = (
    NO_CREDENTIALS,
    CREDENTIALS_REFUSED,
    CREDENTIALS_EXPIRED,
    NO_TENANT,
    NO_RIGHT,
    AUTHENTICATION_UNAVAILABLE,
)
"""Why somebody was not let in."""


def missing() -> NotIdentified:
    """Nothing was shown."""
    sentence = (
        "This service asks who calls; send a token in the metadata `authorization: Bearer …`, or a client certificate."
    )
    return NotIdentified(sentence, NO_CREDENTIALS)


def refused(check: str) -> NotIdentified:
    """`check` says which one failed: for the service's log, not for the caller, who may be guessing."""
    sentence = "The credentials are not accepted; send a token that is meant for this service, or a certificate that it trusts."
    return NotIdentified(sentence, CREDENTIALS_REFUSED, check)


def expired() -> NotIdentified:
    """What was shown was good once, or was never more than a claim that it had been."""
    return NotIdentified("The credentials have expired; call again with new ones.", CREDENTIALS_EXPIRED)
