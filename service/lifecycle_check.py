"""Whether the bucket has rules that would take records away: they know nothing of jobs, whose fate hangs on their records."""

from __future__ import annotations

from typing import Literal

import structlog

from service.keys import is_disposable
from service.settings import Unusable
from store.lifecycle import HasLifecycle
from store.object_store import ObjectStore, StoreError

log = structlog.get_logger(__name__)

LifecyclePolicy = Literal["refuse", "warn"]


def check_lifecycle(store: ObjectStore, policy: LifecyclePolicy) -> None:
    """Looks once. Raises Unusable where such a rule is found and `policy` is `refuse`.

    A store that does not tell is taken as it is: some have no such thing, and some credentials may not ask.
    """
    if not isinstance(store, HasLifecycle):
        return
    try:
        rules = store.lifecycle_rules()
    except StoreError as error:
        log.info("the store does not tell its lifecycle rules", store=store.uri, problem=str(error))
        return
    found = [rule for rule in rules if not is_disposable(rule.prefix)]
    for rule in found:
        log.warning("a lifecycle rule takes records away", store=store.uri, rule=rule.name, does=rule.does)
    if found and policy == "refuse":
        told = "; ".join(f"rule {rule.name!r} {rule.does}" for rule in found)
        raise Unusable(
            f"The bucket of {store.uri} has lifecycle rules that know nothing of jobs: {told}. Remove them, limit them to "
            "<tenant>/caches/, or set lifecycle_rules: warn in the operator's file; the service's retention removes what is over."
        )
