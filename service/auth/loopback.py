"""Without authentication: whoever reaches the service over loopback is the tenant `local`, and may do everything."""

from __future__ import annotations

from urllib.parse import unquote

from service.caller import LOCAL_TENANT, Caller
from service.errors import NotIdentified
from service.interceptors import Call


async def identify_loopback(call: Call) -> Caller:
    """Raises NotIdentified for callers from elsewhere."""
    return loopback_caller(call.context.peer(), call.method, call.call_id)


def loopback_caller(peer: str, method: str, call_id: str) -> Caller:
    """`peer` is as gRPC gives it: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000` (percent-encoded) or `unix:…`."""
    kind, _, address = unquote(peer).partition(":")
    is_loopback = kind == "unix" or address.startswith(("127.", "[::1]:", "[::ffff:127."))
    if not is_loopback:
        raise NotIdentified(f"Without authentication only this machine is served; {peer} is not on loopback.")
    return Caller(LOCAL_TENANT, "loopback", method, call_id)
