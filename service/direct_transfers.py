"""Whether callers may send and fetch large contents straight to and from the object store, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from pydantic import Field, model_validator

from service.errors import Refused
from service.operator_model import OperatorModel
from store.address_probe import probe_addresses
from store.addresses import Addressable, Addresses
from store.object_store import ObjectStore

log = structlog.get_logger(__name__)

REASON = "NO_DIRECT_TRANSFERS"
"""Of the error that says to use the service's own streams."""


class DirectTransferSettings(OperatorModel):
    """As the operator configures it; `false` alone turns it off."""

    enabled: bool = Field(True, description="give out addresses, if the store has any")
    public_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/?#]+/?$",
        description="where callers reach the store, such as https://s3.example.com; default: where the service reaches it",
    )
    lifetime: timedelta = Field(
        timedelta(minutes=15),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=15),
        description="how long an address is accepted; whoever knows it may use it until then",
    )

    @model_validator(mode="before")
    @classmethod
    def _switched(cls, value: object) -> object:
        return {"enabled": value} if isinstance(value, bool) else value


@dataclass(frozen=True)
class DirectTransfers:
    """A store's addresses, as the service gives them out."""

    addresses: Addresses
    lifetime: timedelta
    checks_content: bool
    """Whether the store was seen to refuse contents that are not as announced. If not, the service reads them once."""


def direct_transfers(store: ObjectStore, settings: DirectTransferSettings) -> DirectTransfers | None:
    """Tries the store's addresses; None if it has none, they do not hold what they promise, or the operator wants none.

    Raises StoreUnavailable.
    """
    if not settings.enabled or not isinstance(store, Addressable):
        return None
    findings = probe_addresses(store, store.addresses())
    if findings.faults:
        log.warning("the store's addresses are not given out", store=store.uri, faults="; ".join(findings.faults))
        return None
    log.info("callers may send and fetch contents directly", store=store.uri, store_checks_them=findings.checks_content)
    return DirectTransfers(store.addresses(settings.public_endpoint), settings.lifetime, findings.checks_content)


def no_direct_transfers(instead: str) -> Refused:
    """`instead` is the RPC that moves the same bytes through the service."""
    return Refused(f"This service gives out no addresses of its object store; use {instead}.", REASON)
