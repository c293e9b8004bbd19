"""A trainer's credentials on a real S3 server with sessions: what the grant table says, and nothing else."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import stamina
from botocore.config import Config
from botocore.exceptions import ClientError

from loramill import v1
from service.credential_settings import AssumedRole
from service.keys import BaseKeys, TenantKeys, base_name, dataset_name
from service.pod_manifest import CREDENTIALS_FOLDER
from service.trainer_credentials import CredentialSource, credential_source, is_refresh_due
from store import ObjectStore, StoreUnavailable, open_store
from store.s3 import S3Store
from store.s3_client import make_client
from store.s3_unfinished import abort_unfinished
from tests.cluster import s3_servers
from tests.cluster.s3_verbs import BUCKET_VERBS, DELETE, READ, VERBS, WRITE, Target, is_allowed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "loramill"
"""The one that the trainers' role may use."""

TENANT, STRANGER = "tenant-a", "tenant-ab"
JOB, OTHER_JOB, DATASET, OTHER_DATASET = (digit * 16 for digit in "1234")
LAUNCH = 2
SHORT = timedelta(seconds=10)
"""A lifetime that can be waited for. The shortest that the server is set up to give."""
OWN, OTHERS = TenantKeys(TENANT), TenantKeys(STRANGER)
ADAPTER_FOLDER = f"{OWN.job(OTHER_JOB).run(1).adapters_prefix}final/"

FOLDERS: dict[str, tuple[str, set[str]]] = {
    "its run": (OWN.job(JOB).run(LAUNCH).root, {READ, WRITE, DELETE}),
    "its checkpoints": (f"{OWN.job(JOB).run(LAUNCH).root}checkpoints/000-0000001/", {READ, WRITE, DELETE}),
    "an earlier run": (OWN.job(JOB).run(1).root, {READ}),
    "a run whose number begins alike": (OWN.job(JOB).run(LAUNCH * 10).root, {READ}),
    "control": (OWN.job(JOB).control, {READ}),
    "line": (OWN.job(JOB).line, {READ, WRITE}),
    "its dataset": (OWN.dataset(DATASET).root, {READ}),
    "its dataset's contents": (OWN.dataset(DATASET).blobs, {READ}),
    "its base model": (BaseKeys("mine").files, {READ}),
    "the caches": (OWN.caches, {READ, WRITE, DELETE}),
    "the adapter it goes on from": (ADAPTER_FOLDER, {READ}),
    "other adapters of that run": (f"{OWN.job(OTHER_JOB).run(1).adapters_prefix}000100/", set()),
    "that run": (OWN.job(OTHER_JOB).run(1).root, set()),
    "another job": (OWN.job(OTHER_JOB).root, set()),
    "another job's control": (OWN.job(OTHER_JOB).control, set()),
    "all jobs": (f"{TENANT}/jobs/", set()),
    "another dataset": (OWN.dataset(OTHER_DATASET).root, set()),
    "another base model": (BaseKeys("mine-not").files, set()),
    "its base model's records": (BaseKeys("mine").root, set()),
    "requests": (f"{TENANT}/requests/", set()),
    "active": (OWN.active_prefix, set()),
    "adapters": (OWN.adapters_prefix, set()),
    "audit": (f"{TENANT}/audit/", set()),
    "the tenant": (OWN.root, set()),
    "shared audit": ("_shared/audit/", set()),
    "another tenant": (OTHERS.root, set()),
    "another tenant's job of the same id": (OTHERS.job(JOB).control, set()),
    "another tenant's run of the same number": (OTHERS.job(JOB).run(LAUNCH).root, set()),
    "another tenant's dataset": (OTHERS.dataset(DATASET).root, set()),
    "another tenant's caches": (OTHERS.caches, set()),
    "a way around by ..": (f"{TENANT}/../{OTHERS.caches}", set()),
    "above the root": ("../", set()),
    "the same below another root": (f"../elsewhere/{OWN.job(JOB).run(LAUNCH).root}", set()),
}
"""What the table in service/trainer_grants.py comes to, folder by folder."""

REFUSED_BY_CEPH = {"DELETE of many", "part COPY from", "part COPY to"}
"""Refused to sessions with a policy even where it would be allowed. Trainers use none of them."""


@pytest.fixture(scope="module", autouse=True)
def ceph() -> Iterator[s3_servers.S3Server]:
    """The environment is the service's."""
    server = s3_servers.server("ceph")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def store(ceph: s3_servers.S3Server, service: S3Client) -> Iterator[S3Store]:  # noqa: ARG001 (whose environment it is)
    """A folder of the bucket, with the service's rights."""
    test = f"test-{uuid.uuid4().hex[:8]}/"
    yield S3Store(BUCKET, f"{test}root", service)
    for page in service.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=test):
        for found in page.get("Contents", ()):
            service.delete_object(Bucket=BUCKET, Key=found["Key"])
    abort_unfinished(service, BUCKET, test, datetime.now(UTC) + timedelta(minutes=1))


def source(ceph: s3_servers.S3Server, store: S3Store, lifetime: timedelta) -> CredentialSource:
    assert ceph.role_arn is not None
    return credential_source(AssumedRole(role_arn=ceph.role_arn, lifetime=lifetime), store.uri)


def assignment(store: S3Store) -> v1.Assignment:
    assignment = v1.Assignment(initial_adapter_uri=f"{store.uri}{ADAPTER_FOLDER}a.safetensors")
    assignment.spec.base_model = base_name("mine")
    assignment.spec.dataset.dataset = dataset_name(DATASET)
    return assignment


def client_with(files: Mapping[str, bytes]) -> S3Client:
    keys = json.loads(files["credentials.json"])
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    return session.client("s3", config=Config(signature_version="s3v4"))


@pytest.fixture(scope="module")
def trainer(ceph: s3_servers.S3Server, store: S3Store) -> S3Client:
    """A client with the credentials of launch 2."""
    issued = source(ceph, store, timedelta(hours=1)).issue(TENANT, JOB, LAUNCH, assignment(store))
    return client_with(issued.files)


@pytest.fixture(scope="module")
def service(ceph: s3_servers.S3Server) -> Iterator[S3Client]:  # noqa: ARG001 (whose environment it is made from)
    client = make_client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def root(store: S3Store) -> str:
    return store.uri.removeprefix(f"s3://{BUCKET}/")


def absolute(root: str, folder: str) -> str:
    """The folder in the bucket; `../` leads out of the store's own folder, into one beside it."""
    return f"{root.removesuffix('root/')}{folder[3:]}" if folder.startswith("../") else root + folder


@pytest.fixture(scope="module")
def found(root: str, trainer: S3Client, service: S3Client) -> dict[str, list[str]]:
    """For every folder, what is otherwise than the table says. The folders are tried at once: the server takes its time."""

    def wrong_in(place: str) -> list[str]:
        folder, rights = FOLDERS[place]
        own = f"{root}{OWN.caches}{uuid.uuid4().hex}/"
        return wrong_verbs(Target(trainer, service, BUCKET, absolute(root, folder), own), rights)

    with ThreadPoolExecutor(8) as threads:
        return dict(zip(FOLDERS, threads.map(wrong_in, FOLDERS), strict=True))


def wrong_verbs(target: Target, rights: set[str]) -> list[str]:
    target.service.put_object(**target.source, Body=b"source")
    target.prepare()
    wrong = []
    for name, (right, verb) in VERBS.items():
        allowed = is_allowed(verb, target)
        if allowed != (right in rights and name not in REFUSED_BY_CEPH):
            wrong.append(name)
        if allowed:
            target.prepare()
        elif right != READ and not target.is_untouched():
            wrong.append(f"{name}, which was refused and done")
    return wrong


@pytest.mark.parametrize("place", FOLDERS)
def test_a_trainer_may_do_what_the_table_says_and_nothing_else(place: str, found: dict[str, list[str]]) -> None:
    assert found[place] == []


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        TENANT[:-1],
        TENANT,
        f"{TENANT}/",
        f"{TENANT}/job",
        f"{TENANT}/jobs",
        f"{OWN.job(JOB).root[:-1]}",
        "_",
        STRANGER,
    ]
    + [f"{folder[:-1]}" for folder in (OWN.caches, OWN.dataset(DATASET).root, BaseKeys("mine").files, ADAPTER_FOLDER)],
)
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_listing_does_not_begin_above_what_may_be_read(
    prefix: str, delimiter: str, root: str, trainer: S3Client
) -> None:
    for whole in (root + prefix, prefix):
        with pytest.raises(ClientError, match="AccessDenied"):
            trainer.list_objects_v2(Bucket=BUCKET, Prefix=whole, Delimiter=delimiter)


def test_an_object_with_two_dots_in_its_key_is_not_another_tenants(
    root: str, trainer: S3Client, service: S3Client
) -> None:
    """To S3 `..` is a name like any other, so the object lies in the trainer's own folder, as its key says."""
    theirs = f"{root}{OTHERS.caches}there"
    service.put_object(Bucket=BUCKET, Key=theirs, Body=b"theirs")
    around = f"{root}{OWN.caches}../../{OTHERS.caches}there"
    trainer.put_object(Bucket=BUCKET, Key=around, Body=b"replaced")
    trainer.delete_object(Bucket=BUCKET, Key=around)
    assert service.get_object(Bucket=BUCKET, Key=theirs)["Body"].read() == b"theirs"


@pytest.mark.parametrize("name", BUCKET_VERBS)
def test_a_trainer_may_do_nothing_with_buckets(name: str, trainer: S3Client) -> None:
    with pytest.raises(ClientError) as refused:
        BUCKET_VERBS[name](trainer, BUCKET)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_trainer_sees_nothing_of_other_buckets(trainer: S3Client, service: S3Client) -> None:
    other = s3_servers.new_bucket(service)
    try:
        with pytest.raises(ClientError, match="AccessDenied"):
            trainer.list_objects_v2(Bucket=other)
        with pytest.raises(ClientError, match="AccessDenied"):
            trainer.put_object(Bucket=other, Key="key", Body=b"")
    finally:
        s3_servers.remove_bucket(service, other)


def test_sessions_are_limited_and_the_check_at_the_start_finds_that(ceph: s3_servers.S3Server, store: S3Store) -> None:
    before = [found.key for found in store.list()]
    source(ceph, store, timedelta(hours=1)).check(store, [TENANT, STRANGER])
    assert [found.key for found in store.list()] == before


def test_expired_credentials_are_refused_by_the_server(ceph: s3_servers.S3Server, store: S3Store, root: str) -> None:
    issued = source(ceph, store, SHORT).issue(TENANT, JOB, LAUNCH, assignment(store))
    client, key = client_with(issued.files), f"{root}{OWN.caches}of-an-expired-session"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"in time")
    assert issued.expire_time is not None
    wait_until(issued.expire_time + timedelta(seconds=1))
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=BUCKET, Key=key)


def test_a_run_outlives_three_lifetimes_of_its_credentials_while_they_are_renewed(
    ceph: s3_servers.S3Server, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = source(ceph, store, SHORT)
    renewed = put_credentials(credentials, store, tmp_path)
    run = as_trainer(store, tmp_path, monkeypatch)
    end, step = datetime.now(UTC) + 3 * SHORT, 0
    while (now := datetime.now(UTC)) < end:
        if is_refresh_due(renewed, SHORT, now):
            renewed = put_credentials(credentials, store, tmp_path)
        run.put_new(f"{OWN.job(JOB).run(LAUNCH).root}metrics/{step:06d}", str(now).encode())
        step += 1
    assert len(list(run.list(f"{OWN.job(JOB).run(LAUNCH).root}metrics/"))) == step


def test_a_run_whose_credentials_nobody_renews_says_so(
    ceph: s3_servers.S3Server, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_time = put_credentials(source(ceph, store, SHORT), store, tmp_path)
    run = as_trainer(store, tmp_path, monkeypatch)
    run.put_status(f"{OWN.job(JOB).run(LAUNCH).root}status.json", b"in time")
    wait_until(expire_time + timedelta(seconds=1))
    with stamina.set_testing(True, attempts=2), pytest.raises(StoreUnavailable, match="expired"):
        run.get(f"{OWN.job(JOB).run(LAUNCH).root}status.json")


def put_credentials(credentials: CredentialSource, store: S3Store, folder: Path) -> datetime:
    """Writes the files of a launch's Secret as a kubelet does, whole or not at all; when they expire."""
    issued = credentials.issue(TENANT, JOB, LAUNCH, assignment(store))
    for name, content in issued.files.items():
        (folder / f"{name}.new").write_bytes(content.replace(CREDENTIALS_FOLDER.encode(), str(folder).encode()))
        (folder / f"{name}.new").replace(folder / name)
    assert issued.expire_time is not None
    return issued.expire_time


def as_trainer(store: S3Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store as a trainer's pod opens it: with nothing but the files of its Secret."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    return open_store(store.uri)


def wait_until(moment: datetime) -> None:
    """Until the server's clock, which is ours, has passed it."""
    threading.Event().wait((moment - datetime.now(UTC)).total_seconds())
