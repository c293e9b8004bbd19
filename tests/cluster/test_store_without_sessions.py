"""A real store that has no sessions: refused at the start, unless the operator says the words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.credential_settings import ACKNOWLEDGEMENT, AssumedRole, StaticKey
from service.pod_manifest import CREDENTIALS_FOLDER
from service.trainer_credentials import credential_source
from store import StoreUnavailable, open_store
from store.s3 import S3Store
from tests.cluster import s3_servers


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> s3_servers.S3Server:
    server = s3_servers.server("versitygw")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def store(server: s3_servers.S3Server) -> Iterator[S3Store]:
    client = s3_servers.client_of(server)
    bucket = s3_servers.new_bucket(client)
    yield S3Store(bucket, client=client)
    s3_servers.remove_bucket(client, bucket)


def test_it_is_refused_at_the_start_with_the_remedy(store: S3Store) -> None:
    source = credential_source(
        AssumedRole(role_arn="arn:aws:iam:::role/trainer", lifetime=timedelta(hours=1)), store.uri
    )
    with pytest.raises(StoreUnavailable, match=r"no session of .*; the store must have STS"):
        source.check(store, ["tenant-a"])
    assert list(store.list()) == []


def test_with_the_operators_words_trainers_share_one_key(
    server: s3_servers.S3Server, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"Version": 1, "AccessKeyId": server.access_key_id, "SecretAccessKey": server.secret_access_key}
    (tmp_path / "key.json").write_text(json.dumps(pair))
    settings = StaticKey(kind="static", key_file=tmp_path / "key.json", acknowledge=ACKNOWLEDGEMENT)
    source = credential_source(settings, store.uri)
    source.check(store, ["tenant-a"])
    for name, content in source.issue("tenant-a", "1" * 16, 1, v1.Assignment()).files.items():
        (tmp_path / name).write_bytes(content.replace(CREDENTIALS_FOLDER.encode(), str(tmp_path).encode()))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    open_store(store.uri).put_new("tenant-a/key", b"content")
    assert store.get("tenant-a/key") == b"content"
