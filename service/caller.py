"""Who calls: found by the identity check, read by everything that acts for the caller."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

LOCAL_TENANT = "local"


@dataclass(frozen=True)
class Caller:
    """One authenticated caller, for the time of one call."""

    tenant: str
    principal: str
    """Who, for the audit record."""
    method: str
    """Full name of the RPC."""
    call_id: str
    expires: float | None = None
    """Unix time in seconds at which what proves the caller's identity ends; None if it never does."""


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who makes the call that is being served. Set before any servicer runs."""
    return _CALLER.get()


def credentials_end() -> float | None:
    """Unix time in seconds at which the call's credentials end; None if they never do, or nobody was asked for any."""
    caller = _CALLER.get(None)
    return None if caller is None else caller.expires


def set_caller(caller: Caller) -> None:
    """For the rest of the call's task; nothing outlives it."""
    _CALLER.set(caller)
