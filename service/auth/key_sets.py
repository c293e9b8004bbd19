"""The public keys of an identity provider, a JWKS (RFC 7517) in a file or behind an address that the operator names."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jwt
import structlog

from service.auth.settings import Algorithm, OidcIssuer

log = structlog.get_logger(__name__)

FRESH_S = 300.0
"""Seconds after which keys are read again."""
STALE_S = 3600.0
"""Seconds for which keys still count that could not be read again."""
COOLDOWN_S = 10.0
"""Seconds between two readings at least, however many tokens name a key that is not there."""

_LARGEST = 1 << 20
_FETCH_S = 5.0
_RSA: tuple[Algorithm, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class KeysUnavailable(Exception):
    """The keys cannot be read. The message says why."""


@dataclass(frozen=True)
class PublicKey:
    """A key, and the algorithms that it is for."""

    key: Any
    """As `cryptography` holds it."""
    algorithms: frozenset[str]


class KeySet:
    """Keys by their id, from memory. May be used by many threads."""

    def __init__(self, read: Callable[[], bytes], name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is for the log."""
        self._read = read
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, PublicKey] = {}
        self._read_at = self._tried_at = -float("inf")
        self._problem = "they have not been read"

    def key(self, kid: str) -> PublicKey | None:
        """None if there is no such key. Raises KeysUnavailable if that cannot be said."""
        with self._lock:
            now = self._clock()
            if (now - self._read_at > FRESH_S or kid not in self._keys) and now - self._tried_at >= COOLDOWN_S:
                self._refresh(now)
            if now - self._read_at > STALE_S or (self._problem and kid not in self._keys):
                raise KeysUnavailable(self._problem)
            return self._keys.get(kid)

    def _refresh(self, now: float) -> None:
        self._tried_at = now
        try:
            self._keys = parsed(self._read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._problem = str(error)
            log.warning("an identity provider's keys cannot be read", issuer=self._name, problem=self._problem)
            return
        self._read_at, self._problem = now, ""


def parsed(content: bytes) -> dict[str, PublicKey]:
    """The keys of a JWKS that can check signatures, by id; others are left out, also those that say their private part.

    Raises ValueError if it is no JWKS.
    """
    if len(content) > _LARGEST:
        raise ValueError(f"the key set has more than {_LARGEST} bytes")
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the key set has no list `keys`")
    keys: dict[str, PublicKey] = {}
    for entry in entries:
        key = _public_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault(entry["kid"], key)
    return keys


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    usable = entry.get("kty") in ("RSA", "EC", "OKP") and entry.get("use", "sig") == "sig" and "d" not in entry
    if not usable or not isinstance(entry.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK(entry)
    except jwt.PyJWTError:  # of a kind that nobody here can use
        return None
    many = entry["kty"] == "RSA" and "alg" not in entry
    return PublicKey(key.key, frozenset(_RSA if many else (key.algorithm_name,)))


def key_set(provider: OidcIssuer) -> KeySet:
    """The keys of a provider, from where the operator says."""
    if provider.keys_file is not None:
        return KeySet(lambda path=provider.keys_file: _head_of(path.open("rb")), provider.issuer)  # type: ignore[misc]
    url, ca = str(provider.keys_url), provider.ca
    return KeySet(lambda: _fetched(url, ca), provider.issuer)


def _head_of(content: IO[bytes]) -> bytes:
    with content:
        return content.read(_LARGEST + 1)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The operator named one address, and no other is asked."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _fetched(url: str, ca: Path | None) -> bytes:
    context = ssl.create_default_context(cafile=ca)
    opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=context))
    return _head_of(opener.open(url, timeout=_FETCH_S))
