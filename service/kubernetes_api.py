"""The API server of a cluster: plain objects in, plain objects out. Nothing else here imports `kubernetes`.

That library finds the address, the certificates and the credentials, and renews them. Its models are not used: they
refuse what a newer API server adds, and reading a thousand pods through them takes seconds. Most of the time of a long list goes
into making objects of fields that nobody reads, which `kept` passes over.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
import stamina
import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration

from service.kubernetes_errors import Refused, Unavailable, error_of
from service.kubernetes_watch import WatchStream
from service.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kubernetes.client.rest import RESTResponse

Object = dict[str, Any]
"""An API object as its JSON says it."""
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Resource:
    """A kind of object, as the paths of the API name it."""

    group_version: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """`namespace` is empty for what belongs to none."""
        root = "/api/" if "/" not in self.group_version else "/apis/"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{self.group_version}{scope}/{self.plural}" + (f"/{name}" if name else "")


JOBS = Resource("batch/v1", "jobs")
PODS = Resource("v1", "pods")
SECRETS = Resource("v1", "secrets")
EVENTS = Resource("v1", "events")
NODES = Resource("v1", "nodes")
LEASES = Resource("coordination.k8s.io/v1", "leases")
TOKEN_REVIEWS = Resource("authentication.k8s.io/v1", "tokenreviews")

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
_CONNECTIONS = 64
"""Connections kept open at most: the threads of a service that ask at once."""
_WATCH_S = 240
"""Seconds after which the API server ends a watch in good order; a random part of it is added."""
_WATCH_SILENCE_S = 120.0
"""Seconds without a word after which a watch counts as broken; bookmarks come every minute."""
_CONNECT_S = 5.0
_STRICT = {"fieldValidation": "Strict"}
"""Unknown and doubled fields are refused."""


class _Page(msgspec.Struct, Generic[Kept]):
    metadata: Object
    items: list[Kept] | None = None


@dataclass(frozen=True)
class Listing:
    """All objects of a kind at one moment."""

    items: list[Object]
    version: str
    """The resourceVersion of that moment; a watch goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long one call is tried. Every call may be repeated: names are given by us, deletions name a UID."""

    attempts: int = 4
    seconds: float = 15.0
    """Of all attempts together; also the longest wait that an API server may ask for."""
    first_wait: float = 0.2
    answer_s: float = 15.0
    """Seconds that one answer may take."""


ONCE = Patience(attempts=1)


class RequestObserver(Protocol):
    """Called from many threads."""

    def answered(self, verb: str, resource: str, answer: str, seconds: float) -> None:
        """Once each attempt; `answer` is an HTTP status, or `none`."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Request:
    verb: str
    """As rights name it."""
    resource: str
    method: str = "GET"
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    accept: str = _JSON
    content_type: str = _JSON

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def api_at(
    kubeconfig: Path | None = None, patience: Patience | None = None, observer: RequestObserver | None = None
) -> KubernetesApi:
    """The API server that a kubeconfig names; without one that of the cluster in which this process runs as a pod.

    Outside of a cluster the user's own kubeconfig is taken. Raises KubernetesError if there is nothing that can be used.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(configuration)
        else:
            path = str(kubeconfig) if kubeconfig is not None else None
            config.load_kube_config(path, client_configuration=configuration, persist_config=False)
    except (config.ConfigException, OSError) as error:
        where = str(kubeconfig or "the service account or kubeconfig of this process")
        raise Refused(where, f"names no API server that can be used: {error}") from error
    configuration.retries = False  # of every repetition this module has to know
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.keep_alive = True
    return KubernetesApi(ApiClient(configuration), patience, observer)


class KubernetesApi:
    """Safe to use from many threads. Every method may raise KubernetesError."""

    def __init__(
        self, client: ApiClient, patience: Patience | None = None, observer: RequestObserver | None = None
    ) -> None:
        self._client = client
        self._observer = observer
        self._patience = patience or Patience()
        self._budget = RetryBudget()

    def get(self, resource: Resource, namespace: str, name: str, patience: Patience | None = None) -> Object:
        path = resource.path(namespace, name)
        return self._ask(_Request(verb="get", resource=resource.plural, path=path), patience)

    def create(self, resource: Resource, namespace: str, body: Object, patience: Patience | None = None) -> Object:
        """Raises AlreadyExists, also where an unanswered attempt of this very call was carried out."""
        request = _Request(
            verb="create",
            resource=resource.plural,
            method="POST",
            path=resource.path(namespace),
            query=_STRICT,
            body=body,
        )
        return self._ask(request, patience)

    def replace(self, resource: Resource, namespace: str, body: Object, patience: Patience | None = None) -> Object:
        """The body carries name and resourceVersion. Raises Conflict if the object has changed since."""
        path = resource.path(namespace, body["metadata"]["name"])
        request = _Request(verb="update", resource=resource.plural, method="PUT", path=path, query=_STRICT, body=body)
        return self._ask(request, patience)

    def patch(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """A merge patch (RFC 7386)."""
        request = _Request(
            verb="patch",
            resource=resource.plural,
            method="PATCH",
            path=resource.path(namespace, name),
            query=_STRICT,
            body=body,
            content_type=_MERGE_PATCH,
        )
        return self._ask(request)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        uid: str,
        *,
        foreground: bool = False,
        at_once: bool = False,
    ) -> Object:
        """Deletes the object with this UID. Raises NotFound, and Conflict if another one has its name now.

        `foreground`: it stays until what it owns is gone. `at_once`: without a time of grace.
        """
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        body["propagationPolicy"] = "Foreground" if foreground else "Background"
        if at_once:
            body["gracePeriodSeconds"] = 0
        path = resource.path(namespace, name)
        return self._ask(_Request(verb="delete", resource=resource.plural, method="DELETE", path=path, body=body))

    def list(
        self,
        resource: Resource,
        namespace: str,
        selector: str = "",
        *,
        metadata_only: bool = False,
        kept: type[Any] = dict,
    ) -> Listing:
        """All objects with these labels, page by page; of each the fields that the TypedDict `kept` has.

        Raises Gone where a page's snapshot is no longer kept: ask again.
        """
        items: list[Object] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        accept = _METADATA_LIST if metadata_only else _JSON
        while True:
            path = resource.path(namespace)
            request = _Request(verb="list", resource=resource.plural, path=path, query=query, accept=accept)
            page = msgspec.json.decode(self._answer(request), type=_Page[kept])  # type: ignore[valid-type]
            items += page.items or ()
            following = page.metadata.get("continue", "")
            if not following:
                return Listing(items, page.metadata["resourceVersion"])
            query = {**query, "continue": following}

    def watch(
        self,
        resource: Resource,
        namespace: str,
        version: str,
        selector: str = "",
        *,
        metadata_only: bool = False,
        kept: type[Any] = dict,
    ) -> WatchStream:
        """What changes after that version, until the API server ends it; of each object the fields that `kept` has.

        Raises Gone if that version is no longer kept.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(round(_WATCH_S * random.uniform(1, 1.5))),
        }
        request = _Request(
            verb="watch",
            resource=resource.plural,
            path=resource.path(namespace),
            query=query,
            accept=_METADATA if metadata_only else _JSON,
        )
        return WatchStream(f"{request}?watch", self._open(request, _WATCH_SILENCE_S).response, kept)

    def read_log(self, namespace: str, pod: str, container: str, offset: int, limit: int) -> bytes:
        """Bytes of a container's log from `offset` on, at most `limit`. The API has no offset: what is before is skipped.

        Raises Refused while the container has not begun, Unavailable where its node does not answer. Not repeated.
        """
        query = {"container": container, "limitBytes": str(offset + limit)}
        path = PODS.path(namespace, pod) + "/log"
        request = _Request(verb="get", resource="pods/log", path=path, query=query, accept="*/*")
        return self._read(request, self._patience.answer_s)[offset:]

    def _ask(self, request: _Request, patience: Patience | None = None) -> Object:
        return msgspec.json.decode(self._answer(request, patience), type=Object)

    def _answer(self, request: _Request, patience: Patience | None = None) -> bytes:
        patient = patience or self._patience
        self._budget.deposit()
        for attempt in stamina.retry_context(
            on=lambda error: self._wait(error, patient),
            attempts=patient.attempts,
            timeout=patient.seconds,
            wait_initial=patient.first_wait,
            wait_jitter=patient.first_wait,
        ):
            with attempt:
                answer = self._read(request, patient.answer_s)
        return answer

    def _wait(self, error: Exception, patience: Patience) -> bool | float:
        """Whether to ask again, and after how many seconds if the API server has said so."""
        if not isinstance(error, Unavailable) or (error.retry_after or 0.0) > patience.seconds:
            return False
        if not self._budget.withdraw():
            return False
        return True if error.retry_after is None else error.retry_after + random.uniform(0, patience.first_wait)

    def _read(self, request: _Request, answer_s: float) -> bytes:
        return _body(request, self._open(request, answer_s))

    def _open(self, request: _Request, answer_s: float) -> RESTResponse:
        """The answer with its body still to be read. Raises what it stands for if it is no success."""
        arguments = self._client.param_serialize(
            request.method,
            request.path,
            query_params=[(name, value) for name, value in request.query.items() if value],
            header_params={"Accept": request.accept, "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        began, answer = time.perf_counter(), "none"
        try:
            response = self._client.call_api(*arguments, _request_timeout=(_CONNECT_S, answer_s))
            answer = str(response.status)
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise _unanswered(request, error) from error
        finally:
            if self._observer is not None:
                self._observer.answered(request.verb, request.resource, answer, time.perf_counter() - began)
        if not 200 <= response.status < 300:
            raise error_of(str(request), response.status, _body(request, response), response.getheader("Retry-After"))
        return response


def _body(request: _Request, response: RESTResponse) -> bytes:
    try:
        content: bytes = response.read()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _unanswered(request, error) from error
    return content


def _unanswered(request: _Request, error: Exception) -> Unavailable:
    return Unavailable(str(request), f"the API server did not answer: {error}")
