"""Spot machines that are taken away at random: most with a word before, as clouds give it, some without one."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable

import structlog

from bench.nodes.facts import FactsFile, InterruptionFact
from bench.nodes.scenario import NOTICE_SECONDS
from service.kubernetes_api import NODES, KubernetesApi, Resource
from service.kubernetes_errors import KubernetesError, NotFound

UNANNOUNCED = 0.25
"""Share of those that come without a word."""

_CLAIMS = Resource("karpenter.sh/v1", "nodeclaims")

log = structlog.get_logger()


def schedule(
    api: KubernetesApi, node: str, mean_seconds: float, facts: FactsFile, lose: Callable[[str], None]
) -> threading.Timer:
    """Draws for how long the machine stays, exponentially distributed, and takes it away then if it is still there."""
    timer = threading.Timer(random.expovariate(1 / mean_seconds), _interrupt, (api, node, facts, lose))
    timer.daemon = True
    timer.start()
    return timer


def _interrupt(api: KubernetesApi, node: str, facts: FactsFile, lose: Callable[[str], None]) -> None:
    try:
        if _is_gone_or_going(api, node):
            return
        announced = random.random() >= UNANNOUNCED
        facts.write(InterruptionFact(node=node, announced=announced, at=time.time()))
        if announced:
            # What Karpenter's own part for a cloud does at the word: the claim goes, and with it, in good order, the node.
            _delete_claim(api, node)
            time.sleep(NOTICE_SECONDS)
        lose(node)
        _remove(api, node)
        _delete_claim(api, node)
    except KubernetesError as error:
        log.warning("a machine could not be taken away", node=node, why=str(error))


def _is_gone_or_going(api: KubernetesApi, node: str) -> bool:
    try:
        return bool(api.get(NODES, "", node)["metadata"].get("deletionTimestamp"))
    except NotFound:
        return True


def _delete_claim(api: KubernetesApi, node: str) -> None:
    with contextlib.suppress(NotFound):
        for claim in api.list(_CLAIMS, "").items:
            # Not by the node's name, which a claim learns when the node has registered.
            if (claim.get("status") or {}).get("providerID", "").endswith(f"//{node}"):
                api.delete(_CLAIMS, "", claim["metadata"]["name"], claim["metadata"]["uid"])


def _remove(api: KubernetesApi, node: str) -> None:
    """Its object, whoever wanted to be asked before: the cloud does not ask."""
    with contextlib.suppress(NotFound):
        found = api.patch(NODES, "", node, {"metadata": {"finalizers": None}})
        api.delete(NODES, "", node, found["metadata"]["uid"], at_once=True)
