"""A cluster: S3 as the store, Kubernetes Jobs as trainers, callers who prove who they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry

from loramill import v1
from service.auth.authenticator import authenticator
from service.auth.exposure import check_exposure, tenants_of
from service.auth.tls import listeners
from service.auth.token_review import reviews_of
from service.configuration import Configuration
from service.direct_transfers import DirectTransfers, direct_transfers
from service.executors import import_jobs
from service.executors.cluster_cache import ClusterCache
from service.executors.credential_keeper import CredentialKeeper
from service.executors.kubernetes import KubernetesExecutor
from service.importing.settings import ImportSettings
from service.keys import TenantKeys
from service.kubernetes_api import KubernetesApi, api_at
from service.kubernetes_errors import KubernetesError
from service.kubernetes_lease import KubernetesLease
from service.kubernetes_names import LaunchId
from service.lifecycle_check import check_lifecycle
from service.metrics import KubernetesMetrics, StoreMetrics
from service.platforms import ImportJobs, Platform
from service.platforms.opening import emptied, opened
from service.scale_from_zero import unknown_before_a_node
from service.settings import Settings, Unusable
from service.trainer_credentials import CredentialSource, credential_source
from store.object_store import ObjectStore, StoreError
from store.records import read_record

log = structlog.get_logger(__name__)

_LEASE = "loramill-admission"
_LOOK_AGAIN = timedelta(seconds=10)
"""The cluster tells of what happens; only what takes time, such as a limit that passes, is found by looking."""


@contextmanager
def cluster_platform(settings: Settings, configuration: Configuration) -> Iterator[Platform]:
    """Strives for the Lease until it is left. Raises Unusable."""
    check_exposure(settings.host, configuration.authentication, configuration.tls, configuration.tenants)
    served = listeners(settings.port, configuration.authentication, configuration.tls)
    for warning in (each for offered in configuration.compute.classes for each in unknown_before_a_node(offered)):
        log.warning(warning)
    registry = CollectorRegistry()
    store = opened(configuration.store, StoreMetrics(registry))
    check_lifecycle(store, configuration.lifecycle_rules)
    api = _api(KubernetesMetrics(registry))
    executor = _executor(configuration, api, store)
    lease = KubernetesLease(api, _own_namespace(), _LEASE, os.environ.get("POD_NAME") or socket.gethostname())
    try:
        yield Platform(
            store=store,
            executor=executor,
            following=executor.following,
            leads=lease.held,
            classes=configuration.compute,
            tenants=tenants_of(configuration.authentication, configuration.tls, configuration.tenants),
            jobs_at_once=configuration.jobs_at_once,
            look_again=_LOOK_AGAIN,
            identify=authenticator(
                configuration.authentication, configuration.tls, configuration.tenants, reviews_of(api)
            ),
            host=settings.host,
            listeners=served,
            health_port=settings.health_port,
            staging=emptied(settings.data / "staging"),
            imports=ImportSettings(folders=settings.import_root, largest=settings.import_limit),
            import_jobs=_import_jobs(configuration, api),
            direct=_direct(configuration, store),
            retention=configuration.retention,
            registry=registry,
        )
    finally:
        lease.release()


def _direct(configuration: Configuration, store: ObjectStore) -> DirectTransfers | None:
    try:
        return direct_transfers(store, configuration.direct_transfers)
    except StoreError as error:
        raise Unusable(f"The object store's addresses could not be tried: {error}") from error


def _api(observer: KubernetesMetrics) -> KubernetesApi:
    try:
        return api_at(observer=observer)
    except KubernetesError as error:
        raise Unusable(f"The cluster cannot be used: {error}; run as a pod, or set KUBECONFIG.") from error


def _executor(configuration: Configuration, api: KubernetesApi, store: ObjectStore) -> KubernetesExecutor:
    def assignment_of(launch: LaunchId) -> v1.Assignment | None:
        return read_record(store, TenantKeys(launch.tenant).job(launch.job).launch(launch.number), v1.Assignment)

    pods = configuration.trainers
    cache = ClusterCache(api, pods.namespace)
    keeper = CredentialKeeper(api, cache, _credentials(configuration, store), pods, assignment_of)
    return KubernetesExecutor(api, cache, keeper, pods, configuration.compute)


def _credentials(configuration: Configuration, store: ObjectStore) -> CredentialSource:
    try:
        source = credential_source(configuration.trainer_credentials, store.uri)
        source.check(store, {grant.tenant for grant in configuration.tenants})
        return source
    except StoreError as error:
        raise Unusable(f"Trainers cannot be given credentials of the store: {error}") from error


def _import_jobs(configuration: Configuration, api: KubernetesApi) -> ImportJobs | None:
    settings = configuration.imports
    if settings is None:
        return None
    launcher = import_jobs.ImportJobs(api, configuration.store, settings, configuration.trainers)
    return ImportJobs(launcher, settings.allowed)


def _own_namespace() -> str:
    """Of this pod, where the Lease is."""
    return os.environ.get("POD_NAMESPACE") or "loramill"
