"""The token that a call carries, and what it says of itself before anything is proven. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt

from service.auth import identity

LARGEST_TOKEN = 8192
"""Characters. gRPC itself takes no more metadata than about that."""

_AUTHORIZATION = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")  # RFC 6750 section 2.1

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Claimed:
    """What a token says of itself; believed by nobody, but enough to know who has to check it."""

    issuer: str
    audiences: frozenset[str]
    expires: float
    """Unix time in seconds."""


def bearer_token(metadata: Metadata) -> str | None:
    """The token of a call, None if it carries none. Raises NotIdentified for what is no single bearer token."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise identity.refused("more than one authorization")
    found = _AUTHORIZATION.fullmatch(values[0])
    if found is None:
        raise identity.refused("scheme")
    if len(found[1]) > LARGEST_TOKEN:
        raise identity.refused("size")
    return found[1]


def claimed(token: str) -> Claimed:
    """Reads a JWT (RFC 7519) without checking it. Raises NotIdentified for what is none, or lacks `iss`, `aud` or `exp`."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise identity.refused("form") from None
    issuer, audience, expires = claims.get("iss"), claims.get("aud"), claims.get("exp")
    audiences = [audience] if isinstance(audience, str) else audience
    if (
        not isinstance(issuer, str)
        or not isinstance(audiences, list)
        or not all(isinstance(name, str) for name in audiences)
        or not isinstance(expires, int | float)
    ):
        raise identity.refused("claims")
    return Claimed(issuer, frozenset(audiences), float(expires))
