"""Rules of a bucket that take records away are seen, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from service.lifecycle_check import check_lifecycle
from service.settings import Unusable
from store.lifecycle import LifecycleRule
from store.object_store import AccessRefused, UnsuitableStore
from store.s3 import S3Store
from store.s3_client import make_client
from store.s3_lifecycle import rules_that_take_away
from tests.moto_s3 import moto_keys, moto_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAYS = {"Expiration": {"Days": 90}}
ALL: dict[str, Any] = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}}


@pytest.mark.parametrize(
    ("rule", "reached"),
    [
        (ALL | DAYS, ""),
        (ALL | DAYS | {"Filter": {}}, ""),
        ({"ID": "old", "Status": "Enabled", "Prefix": "room/"} | DAYS, ""),  # as rules were written before filters
        (ALL | DAYS | {"Filter": {"Prefix": "ro"}}, ""),
        (ALL | DAYS | {"Filter": {"Prefix": "room/art/caches/"}}, "art/caches/"),
        (ALL | DAYS | {"Filter": {"And": {"Prefix": "room/art/", "ObjectSizeGreaterThan": 5}}}, "art/"),
        (ALL | DAYS | {"Filter": {"Prefix": "rooms/"}}, None),
        (ALL | DAYS | {"Filter": {"Prefix": "other/"}}, None),
        (ALL | DAYS | {"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, None),
        (ALL | DAYS | {"Filter": {"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}]}}}, None),
        (ALL | DAYS | {"Status": "Disabled"}, None),
        (ALL | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, None),
        (ALL | {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}, None),
        (ALL | {"Expiration": {"ExpiredObjectDeleteMarker": True}}, None),
        (ALL | {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]}, None),
        (ALL | {"Transitions": [{"Days": 30, "StorageClass": "DEEP_ARCHIVE"}]}, ""),
    ],
)
def test_which_rules_take_records_away(rule: Any, reached: str | None) -> None:
    found = rules_that_take_away([rule], "room/")
    assert [each.prefix for each in found] == ([] if reached is None else [reached])


def test_what_a_rule_does_is_told() -> None:
    rules: Any = [
        {"Status": "Enabled", "Expiration": {"Date": datetime(2027, 1, 1, tzinfo=UTC)}},
        ALL | DAYS | {"Transitions": [{"Days": 3, "StorageClass": "GLACIER"}]},
    ]
    assert rules_that_take_away(rules, "") == [
        LifecycleRule("number 1", "", "removes objects on 2027-01-01"),
        LifecycleRule(
            "old", "", "removes objects after 90 days and moves objects to GLACIER, where they cannot be read"
        ),
    ]


@pytest.fixture(scope="module")
def client() -> Iterator[S3Client]:
    with moto_s3() as address, moto_keys():
        client = make_client(address)
        client.create_bucket(Bucket="records")
        yield client


def test_a_bucket_with_a_foreign_rule_is_refused_by_the_rules_name_or_warned_of(client: S3Client) -> None:
    store = S3Store("records", "room", client=client)
    check_lifecycle(store, "refuse")  # it has none
    rules: Any = [ALL | DAYS | {"Filter": {"Prefix": "room/art/caches/"}, "ID": "caches"}]
    client.put_bucket_lifecycle_configuration(Bucket="records", LifecycleConfiguration={"Rules": rules})
    check_lifecycle(store, "refuse")  # what can be made again may expire
    rules.append(ALL | DAYS)
    client.put_bucket_lifecycle_configuration(Bucket="records", LifecycleConfiguration={"Rules": rules})
    with pytest.raises(Unusable, match=r"rule 'old' removes objects after 90 days\. Remove them"):
        check_lifecycle(store, "refuse")
    check_lifecycle(store, "warn")


@pytest.mark.parametrize("error", [AccessRefused("not yours"), UnsuitableStore("not implemented")])
def test_a_store_that_does_not_tell_is_taken_as_it_is(
    client: S3Client, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: S3Store) -> None:
        raise error

    monkeypatch.setattr(S3Store, "lifecycle_rules", refuse)
    check_lifecycle(S3Store("records", client=client), "refuse")
