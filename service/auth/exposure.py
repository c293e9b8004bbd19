"""What must hold before an address is served: nobody is reachable without proof of who calls, and no token without TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from service.auth.settings import BEHIND_A_MESH, Authentication, Grant, Tls
from service.caller import LOCAL_TENANT
from service.settings import Unusable


def check_exposure(host: str, authentication: Authentication, tls: Tls | None, grants: Iterable[Grant]) -> None:
    """Raises Unusable with everything that is wrong at once. `host` is the address that is to be served."""
    faults = [*_of_address(host, authentication, tls), *_of_grants(authentication, tls, grants)]
    if faults:
        raise Unusable(" ".join(faults))


def authenticates(authentication: Authentication, tls: Tls | None) -> bool:
    """Whether there is any way to prove who calls."""
    return authentication.takes_tokens or (tls is not None and tls.client_ca is not None)


def tenants_of(authentication: Authentication, tls: Tls | None, grants: Iterable[Grant]) -> tuple[str, ...]:
    """The tenants that callers can be of."""
    if not authenticates(authentication, tls):
        return (LOCAL_TENANT,)
    return tuple(sorted({grant.tenant for grant in grants}))


def _of_address(host: str, authentication: Authentication, tls: Tls | None) -> Iterator[str]:
    if _is_loopback(host):
        return
    if not authenticates(authentication, tls):
        yield (
            f"Without authentication only loopback is served, not {host}; configure `authentication` or `tls.client_ca`, or "
            "serve 127.0.0.1."
        )
    if authentication.takes_tokens and tls is None and authentication.plaintext is None:
        yield (
            f"Tokens would reach {host} without encryption; configure `tls`, or write `plaintext: {BEHIND_A_MESH}` in "
            "`authentication` if something in front of the service encrypts."
        )


def _of_grants(authentication: Authentication, tls: Tls | None, grants: Iterable[Grant]) -> Iterator[str]:
    if not authenticates(authentication, tls):
        return
    issuers = {provider.issuer for provider in authentication.oidc}
    for place, grant in enumerate(grants):
        name = f"tenants[{place}] (tenant {grant.tenant})"
        if grant.service_account is not None and authentication.service_accounts is None:
            yield f"{name} names a service account; configure `authentication.service_accounts`, or leave it out."
        if grant.oidc is not None and grant.oidc.issuer not in issuers:
            yield f"{name} names the issuer {grant.oidc.issuer}; configure it in `authentication.oidc`, or leave it out."
        if grant.certificate is not None and (tls is None or tls.client_ca is None):
            yield f"{name} names a certificate; configure `tls.client_ca`, or leave it out."


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
