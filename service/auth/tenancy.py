"""From a proven identity to its tenant and its rights. Pure; the operator's grants are all that counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.auth.identity import NO_RIGHT, NO_TENANT, Identity, Way
from service.auth.rights import NEEDED, Role
from service.auth.settings import Grant, OidcSubject
from service.errors import NotPermitted

TENANT_METADATA = "x-loramill-tenant"
"""By which somebody who belongs to several tenants says which one a call is for."""


def tenant_of(grants: Iterable[Grant], identity: Identity, method: str, chosen: str | None) -> str:
    """The tenant that a call acts in. Raises NotPermitted.

    `method` is the RPC's full name; `chosen` is what the caller sent as TENANT_METADATA. It only ever chooses among the
    tenants that the grants give to this identity.
    """
    roles = roles_of(grants, identity)
    tenant = _chosen(sorted(roles), chosen)
    needed = NEEDED.get(method)
    if needed is None:
        raise NotPermitted("This call is open to nobody; the service's table of rights does not name it.", NO_RIGHT)
    if not any(role.includes(needed) for role in roles[tenant]):
        sentence = f"This call needs the role {needed} in tenant {tenant}; ask the operator of the service for it."
        raise NotPermitted(sentence, NO_RIGHT)
    return tenant


def roles_of(grants: Iterable[Grant], identity: Identity) -> dict[str, set[Role]]:
    """The roles that an identity has, by tenant."""
    roles: dict[str, set[Role]] = {}
    for grant in grants:
        if _is_meant(grant, identity):
            roles.setdefault(grant.tenant, set()).add(grant.role)
    return roles


def _chosen(tenants: Sequence[str], chosen: str | None) -> str:
    if not tenants:
        raise NotPermitted(
            "This identity belongs to no tenant; ask the operator of the service for a grant.", NO_TENANT
        )
    if chosen is None:
        if len(tenants) == 1:
            return tenants[0]
        sentence = (
            f"This identity belongs to the tenants {', '.join(tenants)}; choose one by the metadata {TENANT_METADATA}."
        )
        raise NotPermitted(sentence, NO_TENANT)
    if chosen not in tenants:
        sentence = f"This identity does not belong to the tenant that {TENANT_METADATA} names; leave it out, or choose another."
        raise NotPermitted(sentence, NO_TENANT)
    return chosen


def _is_meant(grant: Grant, identity: Identity) -> bool:
    match identity.way:
        case Way.SERVICE_ACCOUNT:
            return grant.service_account is not None and _is_account(grant.service_account, identity.subject)
        case Way.OIDC:
            return grant.oidc is not None and _is_subject(grant.oidc, identity)
        case Way.CERTIFICATE:
            return grant.certificate == identity.subject


def _is_account(granted: str, account: str) -> bool:
    namespace, _, name = granted.partition("/")
    return account == granted or (name == "*" and account.partition("/")[0] == namespace)


def _is_subject(granted: OidcSubject, identity: Identity) -> bool:
    if granted.issuer != identity.issuer:
        return False
    return granted.subject == identity.subject or (granted.group is not None and granted.group in identity.groups)
