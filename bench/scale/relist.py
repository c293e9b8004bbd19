"""Reading a list of Jobs from an API server: as the service does it, and with the official client's typed models.

`python -m bench.scale.relist PORT JOBS` is the API server: pages of a list of real shape, made beforehand.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, BatchV1Api, Configuration

from service.executors.cluster_cache import launch_of
from service.executors.cluster_objects import KeptJob
from service.executors.mirror import Mirror
from service.kubernetes_api import JOBS, KubernetesApi
from service.kubernetes_names import LaunchId

NAMESPACE = "loramill-trainers"
_TIME = "2026-11-28T10:00:00Z"


class Relisted(NamedTuple):
    """Jobs that are known after one list, and what it took."""

    jobs: int
    seconds: float
    cpu_s: float


def job(number: int) -> dict[str, Any]:
    """A trainer's Job as an API server shows it: spec, status, and the bookkeeping of whoever wrote a field."""
    launch = LaunchId("local", f"{number:016d}", 1)
    container = {
        "name": "trainer",
        "image": "registry.example/loramill-trainer@sha256:" + "0" * 64,
        "args": [f"s3://loramill/local/jobs/{launch.job}/control/launches/000001.json"],
        "env": [{"name": name, "value": "/scratch/" + name.lower()} for name in map("VARIABLE_{}".format, range(12))],
        "resources": {"limits": {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "2"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("scratch", "shm", "credentials")],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    pod = {
        "metadata": {"labels": launch.labels, "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "volumes": [{"name": name, "emptyDir": {}} for name in ("scratch", "shm", "credentials")],
            "terminationGracePeriodSeconds": 25,
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
        },
    }
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [code]}} for code in range(64, 72)]
    fields: dict[str, Any] = {f"f:field{place}": {f"f:part{part}": {} for part in range(6)} for place in range(12)}
    managed = {"manager": "loramill", "operation": "Update", "apiVersion": "batch/v1", "time": _TIME}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": launch.name,
            "namespace": NAMESPACE,
            "uid": f"00000000-0000-0000-0000-{number:012d}",
            "resourceVersion": str(1000 + number),
            "creationTimestamp": _TIME,
            "labels": launch.labels,
            "annotations": {"loramill.dev/assignment": "0" * 64},
            "managedFields": [{**managed, "fieldsType": "FieldsV1", "fieldsV1": fields}] * 2,
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": rules},
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": f"{number:032d}"}},
            "template": pod,
            "ttlSecondsAfterFinished": 86400,
        },
        "status": {
            "active": 1,
            "ready": 1,
            "startTime": _TIME,
            "conditions": [{"type": "Suspended", "status": "False", "lastTransitionTime": _TIME}],
            "uncountedTerminatedPods": {},
        },
    }


def serve(port: int, count: int) -> None:
    items = [json.dumps(job(number)) for number in range(count)]
    pages: dict[tuple[int, int], bytes] = {}

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            limit, start = int(query.get("limit", [count])[0]), int(query.get("continue", [0])[0])
            content = pages.get((limit, start))
            if content is None:
                following = str(start + limit) if start + limit < count else ""
                metadata = json.dumps({"resourceVersion": "99999", "continue": following})
                listed = ",".join(items[start : start + limit])
                content = (
                    f'{{"kind":"JobList","apiVersion":"batch/v1","metadata":{metadata},"items":[{listed}]}}'.encode()
                )
                pages[limit, start] = content
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    ThreadingHTTPServer(("127.0.0.1", port), Answers).serve_forever()


def _client(port: int) -> ApiClient:
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    return ApiClient(configuration)


def ours(port: int) -> Relisted:
    api = KubernetesApi(_client(port))
    mirror = Mirror(api, JOBS, NAMESPACE, launch_of, kept=KeptJob)
    began, cpu = time.perf_counter(), time.process_time()
    mirror._listed(lambda _: None)  # what a start and a resync do, before the watch
    return Relisted(len(mirror.groups()), time.perf_counter() - began, time.process_time() - cpu)


def naive(port: int) -> Relisted:
    """The same with the typed client's list."""
    api = BatchV1Api(_client(port))
    known: dict[object, object] = {}
    began, cpu, following = time.perf_counter(), time.process_time(), None
    while True:
        page = api.list_namespaced_job(NAMESPACE, limit=500, **({"_continue": following} if following else {}))
        known.update((found.metadata.name, found) for found in page.items)
        following = page.metadata.var_continue
        if not following:
            return Relisted(len(known), time.perf_counter() - began, time.process_time() - cpu)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
