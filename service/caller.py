"""Who calls: found by the identity check, read by everything that acts for the caller."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import unquote

from service.errors import NotIdentified

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


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who makes the call that is being served. Set before any servicer runs."""
    return _CALLER.get()


def set_caller(caller: Caller) -> None:
    """For the rest of the call's task; nothing outlives it."""
    _CALLER.set(caller)


def loopback_caller(peer: str, method: str, call_id: str) -> Caller:
    """Local mode's identity: whoever reaches the service over loopback is the tenant `local`.

    `peer` is as gRPC gives it: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000` (percent-encoded) or `unix:…`.
    """
    kind, _, address = unquote(peer).partition(":")
    is_loopback = kind == "unix" or address.startswith(("127.", "[::1]:", "[::ffff:127."))
    if not is_loopback:
        raise NotIdentified(f"Without authentication only this machine is served; {peer} is not on loopback.")
    return Caller(LOCAL_TENANT, "loopback", method, call_id)
