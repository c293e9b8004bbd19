"""Where trainers' credentials come from, what is in their files, and which stores are refused at the start."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import TypeAdapter, ValidationError

from loramill import v1
from service.credential_settings import (
    ACKNOWLEDGEMENT,
    AssumedRole,
    StaticKey,
    TrainerCredentialSettings,
    WorkloadIdentity,
)
from service.keys import base_name, dataset_name
from service.trainer_credentials import CredentialSource, credential_source, is_refresh_due
from store import StoreUnavailable, UnsuitableStore
from store.s3 import S3Store
from store.s3_client import make_client
from tests.moto_s3 import moto_keys, moto_s3

JOB = "1" * 16
ROLE = "arn:aws:iam::123456789012:role/trainer"


def assignment() -> v1.Assignment:
    assignment = v1.Assignment()
    assignment.spec.base_model = base_name("shapes")
    assignment.spec.dataset.dataset = dataset_name("2" * 16)
    return assignment


def issued(source: CredentialSource) -> dict[str, bytes]:
    return dict(source.issue("tenant-a", JOB, 1, assignment()).files)


@pytest.fixture(scope="module")
def store() -> Iterator[S3Store]:
    """moto's: it opens sessions with a policy, and then lets them do everything."""
    with moto_s3() as endpoint, moto_keys() as environment:
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        client = make_client()
        client.create_bucket(Bucket="bucket")
        yield S3Store("bucket", client=client)


@pytest.fixture
def sessions(store: S3Store) -> CredentialSource:
    return credential_source(AssumedRole(role_arn=ROLE), store.uri)


def test_the_files_are_what_every_sdk_of_aws_understands(sessions: CredentialSource) -> None:
    files = issued(sessions)
    credentials = json.loads(files["credentials.json"])
    assert (sorted(credentials), credentials["Version"]) == (
        ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"],
        1,
    )
    assert datetime.fromisoformat(credentials["Expiration"]) - datetime.now(UTC) > timedelta(minutes=59)
    assert files["config"].decode() == (
        "[default]\ncredential_process = cat /var/run/loramill/credentials/credentials.json\n"
    )


def test_no_secret_is_ever_shown(sessions: CredentialSource, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "store")
    with structlog.testing.capture_logs() as logged:
        of_session = sessions.issue("tenant-a", JOB, 1, assignment())
        shared = credential_source(StaticKey(kind="static", key_file=key_file, acknowledge=ACKNOWLEDGEMENT), "")
        of_shared = shared.issue("tenant-a", JOB, 1, assignment())
    keys = json.loads(of_session.files["credentials.json"])
    shown = "".join([repr(of_session), repr(of_shared), repr(sessions), repr(shared), repr(logged), caplog.text])
    for secret in (keys["SecretAccessKey"], keys["SessionToken"], "shared secret"):
        assert secret not in shown


def test_a_store_that_ignores_session_policies_is_refused_by_name(store: S3Store, sessions: CredentialSource) -> None:
    with pytest.raises(
        UnsuitableStore, match=r"^s3://bucket/ does not keep to session policies: a trainer could "
    ) as found:
        sessions.check(store, ["tenant-a"])
    for could in ("read objects", "list everything", "create objects", "replace objects", "delete objects"):
        assert could in str(found.value)
    assert list(store.list()) == []


def test_names_that_are_too_long_for_a_policy_are_found_at_the_start(store: S3Store) -> None:
    source = credential_source(AssumedRole(role_arn=ROLE), f"s3://bucket/{'x' * 200}/")
    with pytest.raises(UnsuitableStore, match=r"cannot be granted to trainers: .* use a shorter bucket name"):
        source.check(store, ["tenant-a"])


def test_a_store_without_sessions_is_unavailable_with_the_remedy(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    source = credential_source(AssumedRole(role_arn=ROLE), store.uri)
    with pytest.raises(StoreUnavailable, match=f"no session of {ROLE} could be opened at http://127.0.0.1:9: .*STS"):
        source.check(store, ["tenant-a"])


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text('{"Version": 1, "AccessKeyId": "shared", "SecretAccessKey": "shared secret"}')
    return path


def test_a_shared_key_is_read_anew_for_every_launch_and_never_expires(key_file: Path) -> None:
    settings = StaticKey(kind="static", key_file=key_file, acknowledge=ACKNOWLEDGEMENT)
    source = credential_source(settings, "s3://bucket/")
    assert source.lifetime is None
    assert json.loads(issued(source)["credentials.json"]) == json.loads(key_file.read_text())
    key_file.write_text('{"AccessKeyId": "newer", "SecretAccessKey": "other"}')
    assert json.loads(issued(source)["credentials.json"])["AccessKeyId"] == "newer"


@pytest.mark.parametrize("content", [None, "", "secret", '{"AccessKeyId": "secret"}'])
def test_a_key_file_without_a_key_pair_is_refused_at_the_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    settings = StaticKey(kind="static", key_file=tmp_path / "key.json", acknowledge=ACKNOWLEDGEMENT)
    with pytest.raises(StoreUnavailable, match=r"the trainers' key file .*key\.json (cannot be read|must be)") as found:
        credential_source(settings, "s3://bucket/")
    assert "secret" not in str(found.value)


def test_pods_with_an_identity_of_their_own_get_no_files() -> None:
    source = credential_source(WorkloadIdentity(kind="workload-identity", acknowledge=ACKNOWLEDGEMENT), "s3://bucket/")
    assert issued(source) == {}


@pytest.mark.parametrize("words", [{}, {"acknowledge": ""}, {"acknowledge": "yes"}])
@pytest.mark.parametrize("kind", [{"kind": "workload-identity"}, {"kind": "static", "key_file": "/key.json"}])
def test_rights_that_all_trainers_share_need_the_operators_words(kind: dict[str, Any], words: dict[str, Any]) -> None:
    settings: TypeAdapter[TrainerCredentialSettings] = TypeAdapter(TrainerCredentialSettings)
    with pytest.raises(ValidationError, match=f"do not keep tenants apart; write `acknowledge: {ACKNOWLEDGEMENT}`"):
        settings.validate_python(kind | words)
    settings.validate_python(kind | {"acknowledge": ACKNOWLEDGEMENT})


@pytest.mark.parametrize(
    ("minutes_left", "due"), [(60, False), (21, False), (20, False), (19, True), (0, True), (-5, True)]
)
def test_credentials_are_renewed_when_less_than_a_third_of_their_life_is_left(minutes_left: int, due: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert is_refresh_due(now + timedelta(minutes=minutes_left), timedelta(hours=1), now) == due
