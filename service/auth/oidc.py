"""Tokens of an identity provider (OpenID Connect), checked with the keys that it publishes.

Only keys from the provider's own key set count. What a token says of where its key is to be found (`jku`, `x5u`, `jwk`) is
never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from service.auth import identity
from service.auth.identity import Identity, Way
from service.auth.key_sets import KeySet, KeysUnavailable, PublicKey
from service.auth.settings import OidcIssuer
from service.errors import NotAvailable

LEEWAY_S = 60
"""Seconds that the provider's clock may differ from ours."""
_LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0 section 2, `sub`
_MOST_GROUPS = 1000


@dataclass(frozen=True)
class OidcTokens:
    """Identities of one provider."""

    provider: OidcIssuer
    keys: KeySet

    def identity(self, token: str) -> Identity:
        """Reads keys where needed, so that it may wait for them. Raises NotIdentified and NotAvailable."""
        key = self._key(token)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=sorted(key.algorithms & set(self.provider.algorithms)) or [""],
                audience=self.provider.audience,
                issuer=self.provider.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise identity.expired() from None
        except jwt.PyJWTError as error:
            raise identity.refused(type(error).__name__) from None
        return self._identity_of(claims)

    def _key(self, token: str) -> PublicKey:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise identity.refused("header") from None
        if not isinstance(kid, str):
            raise identity.refused("no key id")
        try:
            key = self.keys.key(kid)
        except KeysUnavailable as error:
            sentence = "The identity provider's keys cannot be read just now; try again."
            raise NotAvailable(sentence, identity.AUTHENTICATION_UNAVAILABLE) from error
        if key is None:
            raise identity.refused("unknown key")
        return key

    def _identity_of(self, claims: Mapping[str, Any]) -> Identity:
        subject = claims.get(self.provider.subject_claim)
        groups = claims.get(self.provider.groups_claim, [])
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise identity.refused("subject claim")
        if (
            not isinstance(groups, list)
            or len(groups) > _MOST_GROUPS
            or not all(isinstance(name, str) for name in groups)
        ):
            raise identity.refused("groups claim")
        expires = float(claims["exp"]) + LEEWAY_S
        return Identity(Way.OIDC, subject, expires, self.provider.issuer, frozenset(groups))
