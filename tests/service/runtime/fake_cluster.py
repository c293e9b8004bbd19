"""A small API server over HTTP, as far as the service asks one, with a Job controller and nodes that do as they are told.

What it promises it keeps as the real one does: names are unique, versions rise, watches replay what happened after a
version or say 410, deletions honour UID and foreground. What goes wrong is asked for, call by call, in `faults`.
"""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from service.kubernetes_api import JOBS, KubernetesApi, Patience, RequestObserver, Resource, api_at

NAMESPACE = "trainers"
Object = dict[str, Any]


class Answer(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.retry_after = code, reason, message or reason, retry_after


class Lost(Exception):
    """The connection breaks without an answer: `after` the request was carried out, or before it was."""

    def __init__(self, after: bool) -> None:
        super().__init__()
        self.after = after


Fault = Callable[[str, str], Answer | Lost | None]
"""Method and path → what goes wrong with this call."""

TOO_MANY = Answer(429, "TooManyRequests", "please wait", retry_after=1)
BROKEN = Answer(500, "InternalError", "etcd is away")


class FakeCluster:
    """Objects by the path of their collection and their name."""

    def __init__(self, *, controls_jobs: bool = True) -> None:
        """With `controls_jobs` every Job that is not suspended gets its pod, and what is deleted is gone at once."""
        self.lock = threading.Condition(threading.RLock())
        self.objects: dict[str, dict[str, Object]] = {}
        self.history: list[tuple[int, str, str, Object]] = []
        """Version, collection, kind of change, object."""
        self.version = 100
        self.oldest = 100
        """Versions before it are no longer kept."""
        self.calls: list[str] = []
        self.faults: Fault = lambda _method, _path: None
        self.pods_started: list[str] = []
        """Names of the Jobs that a pod was made for, once for each."""
        self.logs: dict[str, bytes] = {}
        self.controls_jobs = controls_jobs
        self.garble: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        """What becomes of the lines that a watch sends at once."""
        self.watch_epoch = 0

    # -- what tests do -------------------------------------------------------------------------------------------------

    @contextmanager
    def serving(
        self, folder: Path, patience: Patience | None = None, observer: RequestObserver | None = None
    ) -> Iterator[KubernetesApi]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(f"http://127.0.0.1:{server.server_port}")))
        try:
            yield api_at(path, patience or Patience(first_wait=0.01, seconds=2, answer_s=2), observer)
        finally:
            self.drop_watches()
            server.shutdown()
            server.server_close()

    def drop_watches(self) -> None:
        with self.lock:
            self.watch_epoch += 1
            self.lock.notify_all()

    def forget_history(self) -> None:
        """As etcd's compaction does it: watches have to list again."""
        with self.lock:
            self.history.clear()
            self.oldest = self.version

    def all(self, resource: Resource, namespace: str = NAMESPACE) -> dict[str, Object]:
        with self.lock:
            return copy.deepcopy(self.objects.get(resource.path(namespace), {}))

    def put(self, resource: Resource, found: Object, namespace: str = NAMESPACE) -> Object:
        """Writes an object as it is, as a controller or the kubelet would."""
        with self.lock:
            collection, name = resource.path(namespace), found["metadata"]["name"]
            kind = "MODIFIED" if name in self.objects.get(collection, {}) else "ADDED"
            return self._store(collection, kind, copy.deepcopy(found))

    def update(self, resource: Resource, name: str, change: Callable[[Object], None]) -> Object:
        with self.lock:
            found = self.all(resource)[name]
            change(found)
            return self.put(resource, found)

    def remove(self, resource: Resource, name: str, namespace: str = NAMESPACE) -> None:
        with self.lock:
            collection = resource.path(namespace)
            found = self.objects.get(collection, {}).pop(name, None)
            if found is not None:
                self._record(collection, "DELETED", found)
                self._collect(found["metadata"]["uid"])

    # -- what the service asks -----------------------------------------------------------------------------------------

    def handle(self, method: str, path: str, query: dict[str, str], body: Object) -> Object:
        collection, name = _split(path)
        with self.lock:
            if method == "POST":
                return self._create(collection, body)
            if method == "GET" and not name:
                return self._list(collection, query)
            found = self.objects.get(collection, {}).get(name)
            if found is None:
                raise Answer(404, "NotFound", f'"{name}" not found')
            if method == "PUT":
                if body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
                    raise Answer(409, "Conflict", "the object has been modified")
                return self._store(collection, "MODIFIED", body)
            if method == "PATCH":
                return self._store(collection, "MODIFIED", _merged(found, body))
            if method == "DELETE":
                return self._delete(collection, found, body)
            return found

    def _create(self, collection: str, body: Object) -> Object:
        metadata = body["metadata"]
        if metadata["name"] in self.objects.get(collection, {}):
            raise Answer(409, "AlreadyExists", f'"{metadata["name"]}" already exists')
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        created = self._store(collection, "ADDED", body)
        if body.get("kind") == "Job" and self.controls_jobs and not body["spec"].get("suspend"):
            self.start_pod(metadata["name"])
        return created

    def start_pod(self, job_name: str) -> Object:
        """As the Job controller does it."""
        with self.lock:
            return self._start_pod(self.all(JOBS)[job_name])

    def _start_pod(self, job: Object) -> Object:
        job_name = job["metadata"]["name"]
        self.pods_started.append(job_name)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job["metadata"]["uid"]}
        labels = {**job["spec"]["template"]["metadata"]["labels"], "batch.kubernetes.io/job-name": job_name}
        name = f"{job_name}-{len(self.pods_started):05d}"
        metadata = {"name": name, "labels": labels, "ownerReferences": [{**owner, "controller": True}]}
        pod = {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "node1"}, "status": {"phase": "Pending"}}
        return self._create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)

    def _delete(self, collection: str, found: Object, options: Object) -> Object:
        metadata = found["metadata"]
        expected = options.get("preconditions", {}).get("uid")
        if expected is not None and expected != metadata["uid"]:
            raise Answer(409, "Conflict", f"UID in precondition: {expected}")
        if self.controls_jobs or options.get("gracePeriodSeconds") == 0:
            self.remove_found(collection, found)
            return found
        metadata["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._store(collection, "MODIFIED", found)

    def remove_found(self, collection: str, found: Object) -> None:
        del self.objects[collection][found["metadata"]["name"]]
        self._record(collection, "DELETED", found)
        self._collect(found["metadata"]["uid"])

    def _collect(self, owner: str) -> None:
        for collection, named in self.objects.items():
            for found in list(named.values()):
                if any(each["uid"] == owner for each in found["metadata"].get("ownerReferences", ())):
                    self.remove_found(collection, found)

    def _list(self, collection: str, query: dict[str, str]) -> Object:
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        items = [
            found
            for _, found in sorted(self.objects.get(collection, {}).items())
            if wanted.items() <= found["metadata"].get("labels", {}).items()
        ]
        start, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        return {"metadata": metadata, "items": items[start : start + limit]}

    def changes_after(self, collection: str, version: int, query: dict[str, str]) -> tuple[list[bytes], int]:
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        if version < self.oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            return [_line("ERROR", status)], -1
        lines = [
            _line(kind, found)
            for at, where, kind, found in self.history
            if at > version and where == collection and wanted.items() <= found["metadata"].get("labels", {}).items()
        ]
        return lines, self.version

    def _store(self, collection: str, kind: str, found: Object) -> Object:
        self.objects.setdefault(collection, {})[found["metadata"]["name"]] = found
        self._record(collection, kind, found)
        return found

    def _record(self, collection: str, kind: str, found: Object) -> None:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, collection, kind, copy.deepcopy(found)))
        self.lock.notify_all()


def _handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            what = f"{self.command}{' watch' if 'watch' in query else ''}"
            with cluster.lock:
                cluster.calls.append(f"{what} {url.path}")
                fault = cluster.faults(what, url.path)
            try:
                if isinstance(fault, Answer) or (isinstance(fault, Lost) and not fault.after):
                    raise fault
                if "watch" in query:
                    self.watch(_split(url.path)[0], query)
                elif url.path.endswith("/log"):
                    log = cluster.logs.get(url.path.split("/")[-2])
                    if log is None:
                        raise Answer(400, "BadRequest", 'container "trainer" is waiting to start: ContainerCreating')
                    self.answer(200, log[: int(query["limitBytes"])])
                else:
                    answer = json.dumps(cluster.handle(self.command, url.path, query, body)).encode()
                    if isinstance(fault, Lost):
                        raise fault
                    self.answer(201 if self.command == "POST" else 200, answer)
            except Answer as error:
                status = {"kind": "Status", "code": error.code, "reason": error.reason, "message": error.message}
                self.answer(error.code, json.dumps(status).encode(), error.retry_after)
            except Lost:
                self.close_connection = True
                self.connection.close()
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        def answer(self, code: int, content: bytes, retry_after: int | None = None) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            if retry_after is not None:
                self.send_header("Retry-After", str(retry_after))
            self.end_headers()
            self.wfile.write(content)

        def watch(self, collection: str, query: dict[str, str]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            version, epoch = int(query["resourceVersion"]), cluster.watch_epoch
            while version >= 0:
                with cluster.lock:
                    lines, following = cluster.changes_after(collection, version, query)
                    if not lines:
                        cluster.lock.wait(5)
                    ends = cluster.watch_epoch != epoch
                content = b"".join(cluster.garble(lines))
                if content:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
                version = following
                if ends:
                    break
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _split(path: str) -> tuple[str, str]:
    """Collection and name: `/api/v1/namespaces/x/pods/y` → (`/api/v1/namespaces/x/pods`, `y`)."""
    parts = path.split("/")
    first = parts.index("namespaces") + 2 if "namespaces" in parts else (3 if parts[1] == "api" else 4)
    return "/".join(parts[: first + 1]), "/".join(parts[first + 1 :])


def _merged(found: Object, change: Object) -> Object:
    """A merge patch (RFC 7386)."""
    merged = dict(found)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merged(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _line(kind: str, found: Object) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def _kubeconfig(server: str) -> Object:
    context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "contexts": [context],
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": {"token": "secret-token"}}],
    }
