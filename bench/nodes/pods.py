"""A kubelet's part of one trainer's pod: it starts, tells how it stands, ends, and goes when it is deleted."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import stamina
import structlog

from bench.nodes.facts import FactsFile, RunFact
from bench.nodes.trainers import MachineGone, Orders, Pace, SimulatedTrainer
from loramill import v1
from service.executors.cluster_objects import condition, is_terminal, metadata_of
from service.kubernetes_api import PODS, KubernetesApi, Object
from service.kubernetes_errors import Conflict, NotFound
from service.kubernetes_names import CONTAINER, JOB_LABEL, LAUNCH_LABEL

CONTAINER_START_SECONDS = 0.5
_ADDRESS = "10.244.0.1"

log = structlog.get_logger()


class SimulatedPod:
    """From its being placed on a machine on; everything else happens in a thread of its own."""

    def __init__(self, api: KubernetesApi, pod: Object, pace: Pace, facts: FactsFile) -> None:
        metadata = metadata_of(pod)
        self._api, self._pace, self._facts = api, pace, facts
        self._namespace, self._name, self._uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self._labels = metadata["labels"]
        self._uri = pod["spec"]["containers"][0]["args"][0]
        self.node = pod["spec"]["nodeName"]
        self._orders = Orders()
        self._trainer: SimulatedTrainer | None = None
        self._began = 0.0
        self._thread = threading.Thread(target=self._live, name=self._name, daemon=True)
        self._thread.start()

    def delete(self) -> None:
        """Its object is to go: SIGTERM for what runs in it."""
        self._orders.stop()

    def machine_gone(self) -> None:
        self._orders.kill()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _live(self) -> None:
        try:
            self._orders.wait(CONTAINER_START_SECONDS)
            self._orders.check()
            if not self._orders.stopped:
                self._run()
            if self._orders.stopped:
                self._api.delete(PODS, self._namespace, self._name, self._uid, at_once=True)
        except MachineGone:
            self._note(None, "")
        except (NotFound, Conflict):  # the pod's object went first
            log.info("a pod is gone", pod=self._name)
        except Exception:
            log.exception("a pod's machine failed; its pod stands still", pod=self._name)

    def _run(self) -> None:
        self._began = time.time()
        self._put("Running", {"running": {"startedAt": _now()}})
        started, exit_code = _now(), int(v1.EXIT_CODE_BUG)
        self._trainer = SimulatedTrainer(self._uri, self._orders, self._pace)
        exit_code = self._trainer.work()
        ended = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "startedAt": started,
            "finishedAt": _now(),
        }
        pod = self._put("Failed" if exit_code else "Succeeded", {"terminated": ended})
        self._note(exit_code, (condition(pod, "DisruptionTarget") or {}).get("reason", ""))

    def _put(self, phase: str, state: dict[str, Any]) -> Object:
        """Writes how the pod stands, as it is known just now: others write conditions too."""
        for attempt in stamina.retry_context(on=Conflict, attempts=5, wait_initial=0.02, wait_max=0.2):
            with attempt:
                self._orders.check()
                pod = self._api.get(PODS, self._namespace, self._name)
                if metadata_of(pod)["uid"] != self._uid or is_terminal(pod):
                    raise NotFound(self._name, "it is another one now, or has ended")
                status = self._status(pod, phase, state)
                body = {"metadata": {"resourceVersion": metadata_of(pod)["resourceVersion"]}, "status": status}
                written = self._api.patch(PODS, self._namespace, f"{self._name}/status", body)
        return written

    def _status(self, pod: Object, phase: str, state: dict[str, Any]) -> Object:
        running = phase == "Running"
        own = {"PodReadyToStartContainers": True, "Initialized": True, "Ready": running, "ContainersReady": running}
        others = [each for each in pod["status"].get("conditions") or () if each["type"] not in own]
        container = pod["spec"]["containers"][0]
        return {
            "phase": phase,
            "startTime": pod["status"].get("startTime") or _now(),
            "podIP": _ADDRESS,
            "podIPs": [{"ip": _ADDRESS}],
            "conditions": others
            + [
                {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": _now()}
                for kind, holds in own.items()
            ],
            "containerStatuses": [
                {
                    "name": CONTAINER,
                    "image": container["image"],
                    "imageID": container["image"],
                    "containerID": f"simulated://{self._uid}",
                    "ready": running,
                    "started": running,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }

    def _note(self, exit_code: int | None, disruption: str) -> None:
        if self._trainer is None:
            return
        self._facts.write(
            RunFact(
                job=self._labels[JOB_LABEL],
                launch=int(self._labels[LAUNCH_LABEL]),
                node=self.node,
                first_step=self._trainer.first_step,
                last_step=self._trainer.last_step,
                since=self._began,
                until=time.time(),
                exit_code=exit_code,
                disruption=disruption,
            )
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
