"""Which of the service's replicas admits jobs: the one that holds a Lease of the cluster (coordination.k8s.io/v1).

The protocol is that of client-go's leader election, so that kubectl shows what it always shows. Clocks of two machines are
never compared: a Lease counts as given up when this process has watched it stay the same for its whole duration.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from service.kubernetes_api import LEASES, Patience
from service.kubernetes_errors import AlreadyExists, Conflict, KubernetesError, NotFound
from service.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.kubernetes_api import KubernetesApi, Object

log = structlog.get_logger(__name__)

DURATION = timedelta(seconds=15)
"""How long others wait for the holder's next sign of life."""

RENEWAL = timedelta(seconds=5)
"""Between two signs of life."""

_CERTAINTY = timedelta(seconds=10)
"""How long after it began to renew the holder relies on it: less than others wait, by more than a request may take."""

_ONCE = Patience(attempts=1, answer_s=4)


@dataclass(frozen=True)
class _Seen:
    spec: dict[str, Any]
    since: float
    """When this process first saw it so, by its own clock."""


class KubernetesLease:
    """Held, or striven for, from the first question until `release`, in a thread of its own."""

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        name: str,
        identity: str,
        *,
        renewal: timedelta = RENEWAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity` tells this replica from all others, such as its pod's name; `clock` is in seconds and never goes back."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._renewal = renewal.total_seconds()
        self._clock = clock
        self._seen: _Seen | None = None
        self._held_until = float("-inf")
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def held(self) -> bool:
        """Whether this replica holds it now. Answers at once; the first question begins the striving for it."""
        if self._thread is None and not self._released.is_set():
            self._thread = threading.Thread(target=self._strive, name=f"lease {self._name}", daemon=True)
            self._thread.start()
        return self._clock() < self._held_until

    def release(self) -> None:
        """Ends the striving, and lets another replica have it at once."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._held_until = float("-inf")

    def strive_once(self) -> None:
        """Renews or takes the Lease if that may be done now. Raises KubernetesError, and then nothing has changed."""
        began = self._clock()
        try:
            lease = self._api.get(LEASES, self._namespace, self._name, _ONCE)
        except NotFound:
            self._write(self._api.create, None, began)
            return
        spec = lease.get("spec") or {}
        if self._seen is None or self._seen.spec != spec:
            self._seen = _Seen(spec, began)
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity):
            self._held_until = float("-inf")
            if began < self._seen.since + float(spec.get("leaseDurationSeconds") or 0):
                return
        self._write(self._api.replace, lease, began)

    def _write(self, write: Callable[..., Object], lease: Object | None, began: float) -> None:
        """What another replica has changed in the meantime is its own."""
        try:
            written = write(LEASES, self._namespace, self._ours(lease), _ONCE)
        except (Conflict, AlreadyExists):
            self._held_until = float("-inf")
            return
        if self._held_until == float("-inf"):
            log.info("this replica admits jobs now", lease=self._name, identity=self._identity)
        self._seen = _Seen(written["spec"], began)
        self._held_until = began + _CERTAINTY.total_seconds()

    def _ours(self, lease: Object | None) -> Object:
        now = utc_now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        old = (lease or {}).get("spec") or {}
        spec = {**old, "leaseDurationSeconds": int(DURATION.total_seconds()), "renewTime": now}
        if old.get("holderIdentity") != self._identity:
            transitions = int(old.get("leaseTransitions") or 0) + (lease is not None)
            spec |= {"holderIdentity": self._identity, "acquireTime": now, "leaseTransitions": transitions}
        metadata = lease["metadata"] if lease else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASES.group_version, "kind": "Lease", "metadata": metadata, "spec": spec}

    def _strive(self) -> None:
        while not self._released.is_set():
            try:
                self.strive_once()
            except KubernetesError as error:
                log.warning("the lease could not be renewed or taken", lease=self._name, problem=str(error))
            self._released.wait(self._renewal * random.uniform(0.8, 1.0))
        if self._clock() < self._held_until:
            self._give_up()

    def _give_up(self) -> None:
        try:
            lease = self._api.get(LEASES, self._namespace, self._name, _ONCE)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._api.replace(LEASES, self._namespace, lease, _ONCE)
        except KubernetesError as error:
            log.warning("the lease could not be given up; it runs out by itself", lease=self._name, problem=str(error))
