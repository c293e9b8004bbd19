"""Machines without a kubelet: `python -m bench.nodes.machines --namespace NAME --facts FILE [--interrupt SECONDS] …`.

Whatever Node object somebody makes for a simulated machine gets ready, stays heard of, runs trainers that train nothing, and
is taken away at random if it is a spot machine. One process stands for all of them, until SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bench.nodes import interruptions, scenario, trainers
from bench.nodes.facts import FactsFile, MachineFact
from bench.nodes.pods import SimulatedPod
from bench.nodes.trainers import Pace
from deploy.cluster.autoscaler import CAPACITY_TYPE
from service.executors.cluster_objects import is_terminal, metadata_of
from service.executors.mirror import Mirror
from service.kubernetes_api import LEASES, NODES, PODS, KubernetesApi, Object, api_at
from service.kubernetes_errors import AlreadyExists, KubernetesError
from service.kubernetes_names import SELECTOR
from store import ObjectStore
from store.s3 import S3Store
from store.s3_client import make_client
from store.uris import decoded
from trainer import record

_LEASE_NAMESPACE = "kube-node-lease"
_HEARTBEAT_SECONDS = 10.0
_CONDITIONS = {"Ready": True, "MemoryPressure": False, "DiskPressure": False, "PIDPressure": False}

log = structlog.get_logger()


def share_one_client() -> None:
    """One S3 client for all simulated trainers: this process stands for hundreds of them, and each client costs 0.1 s of CPU."""
    client = make_client()

    def open_store(uri: str) -> ObjectStore:
        bucket, _, path = uri.removeprefix("s3://").partition("/")
        return S3Store(bucket, decoded(path), client=client)

    for module in (trainers, record):
        module.open_store = open_store  # type: ignore[attr-defined]


class Machines:
    """All of them."""

    def __init__(self, api: KubernetesApi, namespace: str, pace: Pace, facts: FactsFile, interrupt: float) -> None:
        """`interrupt` is how long a spot machine stays on average, in seconds; 0 for ever."""
        self._api, self._pace, self._facts, self._interrupt = api, pace, facts, interrupt
        self._nodes: Mirror[str] = Mirror(api, NODES, "", _simulated)
        self._pods: Mirror[str] = Mirror(api, PODS, namespace, _placed, SELECTOR)
        self._known: dict[str, Object] = {}
        self._running: dict[str, SimulatedPod] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        self._nodes.start(self._node_changed)
        self._pods.start(self._pod_changed)
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            for name in self._nodes.groups():
                self._beat(name)
        self._pods.stop()
        self._nodes.stop()
        for name in list(self._known):
            self._forget(name)

    def stop(self) -> None:
        self._stopped.set()

    # -- machines ------------------------------------------------------------------------------------------------------

    def _node_changed(self, name: str) -> None:
        node = next(iter(self._nodes.of(name)), None)
        if node is None:
            self._forget(name)
        elif name not in self._known:
            self._make_ready(node)
            self._known[name] = node
            if self._interrupt and _label(node, CAPACITY_TYPE) == scenario.SPOT:
                interruptions.schedule(self._api, name, self._interrupt, self._facts, self.lose)
            for uid in self._pods.groups():  # those that were placed on it before it was heard of here
                self._pod_changed(uid)

    def _make_ready(self, node: Object) -> None:
        metadata = metadata_of(node)
        name, moment = metadata["name"], _now()
        conditions = [
            {
                "type": kind,
                "status": "True" if holds else "False",
                "reason": "Simulated",
                "message": "no kubelet",
                "lastHeartbeatTime": moment,
                "lastTransitionTime": moment,
            }
            for kind, holds in _CONDITIONS.items()
        ]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": metadata["uid"]}
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": _LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now_precisely()},
        }
        try:
            self._api.create(LEASES, _LEASE_NAMESPACE, lease)
        except AlreadyExists:
            self._beat(name)
        status = {"conditions": conditions, "phase": "Running"}
        self._api.patch(NODES, "", f"{name}/status", {"status": status})

    def _beat(self, name: str) -> None:
        try:
            self._api.patch(LEASES, _LEASE_NAMESPACE, name, {"spec": {"renewTime": _now_precisely()}})
        except KubernetesError as error:
            log.warning("a machine could not say that it is there", node=name, why=str(error))

    def lose(self, name: str) -> None:
        """The machine is switched off, whatever runs on it."""
        with self._lock:
            lost = [pod for pod in self._running.values() if pod.node == name]
        for pod in lost:
            pod.machine_gone()
        self._forget(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            node = self._known.pop(name, None)
        if node is None:
            return
        self.lose(name)
        self._facts.write(
            MachineFact(
                node=name,
                capacity_type=_label(node, CAPACITY_TYPE),
                instance_type=_label(node, "node.kubernetes.io/instance-type"),
                gpus=int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)),
                since=datetime.fromisoformat(metadata_of(node)["creationTimestamp"]).timestamp(),
                until=time.time(),
            )
        )

    # -- pods ----------------------------------------------------------------------------------------------------------

    def _pod_changed(self, uid: str) -> None:
        pod = next(iter(self._pods.of(uid)), None)
        with self._lock:
            running = self._running.get(uid)
            if pod is None:
                gone = self._running.pop(uid, None)
                if gone is not None:
                    gone.machine_gone()
                return
            if metadata_of(pod).get("deletionTimestamp"):
                if running is not None:
                    running.delete()
            elif running is None and not is_terminal(pod) and pod["spec"]["nodeName"] in self._known:
                self._running[uid] = SimulatedPod(self._api, pod, self._pace, self._facts)


def _simulated(node: Object) -> str | None:
    return metadata_of(node)["name"] if scenario.SIMULATED in (metadata_of(node).get("annotations") or {}) else None


def _placed(pod: Object) -> str | None:
    return metadata_of(pod)["uid"] if pod["spec"].get("nodeName") else None


def _label(node: Object, key: str) -> str:
    return str((metadata_of(node).get("labels") or {}).get(key, ""))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _now_precisely() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nodes.machines", description=__doc__.partition("\n")[0])
    parser.add_argument("--namespace", required=True, help="of the trainers' pods")
    parser.add_argument("--facts", type=Path, required=True, help="file that is written")
    parser.add_argument("--interrupt", type=float, default=0.0, help="seconds that a spot machine stays, on average")
    parser.add_argument("--step", type=float, default=scenario.STEP_SECONDS, help="seconds of a step")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    share_one_client()
    options.facts.touch()
    pace = Pace(options.step, scenario.LOADING_SECONDS)
    machines = Machines(api_at(), options.namespace, pace, FactsFile(options.facts), options.interrupt)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: machines.stop())
    machines.run()


if __name__ == "__main__":
    main()
