"""The grant table of a launch, and the session policy that it is rendered into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loramill import v1
from service.keys import base_name, dataset_name
from service.trainer_grants import MAX_POLICY_CHARACTERS, Grants, grants_of, largest_grants, session_policy
from store import InvalidKey

STORE = "s3://bucket/prod/"
JOB, OTHER_JOB, DATASET = "1" * 16, "2" * 16, "3" * 16
JOB_FOLDER = f"tenant-a/jobs/{JOB}/"


def assignment(initial_adapter_uri: str = "") -> v1.Assignment:
    assignment = v1.Assignment(initial_adapter_uri=initial_adapter_uri)
    assignment.spec.base_model = base_name("shapes")
    assignment.spec.dataset.dataset = dataset_name(DATASET)
    return assignment


def grants(initial_adapter_uri: str = "") -> Grants:
    return grants_of(STORE, "tenant-a", JOB, 2, assignment(initial_adapter_uri))


def test_the_table() -> None:
    assert grants() == Grants(
        read=(JOB_FOLDER, f"tenant-a/datasets/{DATASET}/", "_shared/bases/shapes/files/", "tenant-a/caches/"),
        write=(f"{JOB_FOLDER}line/",),
        change=(f"{JOB_FOLDER}runs/2/", "tenant-a/caches/"),
    )


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        (f"jobs/{OTHER_JOB}/runs/1/adapters/final/my%20style.safetensors", f"jobs/{OTHER_JOB}/runs/1/adapters/final/"),
        (f"uploaded-adapters/{OTHER_JOB}-upload/*.safetensors", f"uploaded-adapters/{OTHER_JOB}-upload/"),
    ],
)
def test_the_adapter_to_go_on_from_is_granted_by_its_folder_so_that_no_users_text_is_in_a_policy(
    key: str, folder: str
) -> None:
    assert grants(f"{STORE}tenant-a/{key}").read == (*grants().read, f"tenant-a/{folder}")


@pytest.mark.parametrize(
    "uri",
    [
        f"{STORE}tenant-ab/uploaded-adapters/x/a.safetensors",
        "s3://bucket/prod-b/tenant-a/uploaded-adapters/x/a.safetensors",
        "s3://other/prod/tenant-a/uploaded-adapters/x/a.safetensors",
        f"{STORE}_shared/bases/shapes/files/a.safetensors",
    ],
)
def test_an_adapter_of_anybody_else_is_never_granted(uri: str) -> None:
    with pytest.raises(ValueError, match="is not one of tenant 'tenant-a'"):
        grants(uri)


def test_what_climbs_out_of_the_tenants_folder_is_never_granted() -> None:
    with pytest.raises(InvalidKey):
        grants(f"{STORE}tenant-a/../tenant-ab/uploaded-adapters/x/a.safetensors")


@pytest.mark.parametrize("prefix", ["tenant-a", "tenant-a*/", "tenant-?/", "${aws:username}/"])
def test_what_a_policy_would_read_as_more_than_a_folder_is_never_granted(prefix: str) -> None:
    with pytest.raises(ValueError, match="cannot be granted"):
        Grants(read=(prefix,), write=(), change=())


def test_a_damaged_assignment_is_not_granted() -> None:
    with pytest.raises(ValueError, match="no resource names"):
        grants_of(STORE, "tenant-a", JOB, 2, v1.Assignment())


def statement(actions: list[str], *keys: str, **more: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": actions,
        "Resource": [f"arn:aws:s3:::bucket{'/prod/' if key else ''}{key}" for key in keys],
        **more,
    }


def test_the_policy() -> None:
    read = [
        f"{JOB_FOLDER}*",
        f"tenant-a/datasets/{DATASET}/*",
        "_shared/bases/shapes/files/*",
        "tenant-a/caches/*",
    ]
    writing = ["s3:PutObject", "s3:AbortMultipartUpload"]
    policy = session_policy(grants(), "bucket", "prod/")
    assert json.loads(policy) == {
        "Version": "2012-10-17",
        "Statement": [
            statement(["s3:GetObject"], *read),
            statement(writing, f"{JOB_FOLDER}line/*"),
            statement([*writing, "s3:DeleteObject"], f"{JOB_FOLDER}runs/2/*", "tenant-a/caches/*"),
            statement(["s3:ListBucket"], "", Condition={"StringLike": {"s3:prefix": [f"prod/{key}" for key in read]}}),
        ],
    }
    assert " " not in policy  # Ceph RGW 16 refuses it otherwise


def test_the_policy_is_of_the_roles_own_cloud() -> None:
    assert "arn:aws-cn:s3:::bucket/tenant-a" in session_policy(grants(), "bucket", "", "aws-cn")


def test_a_policy_for_the_longest_names_fits_and_one_that_does_not_says_what_to_shorten() -> None:
    uri = "s3://a-bucket-of-a-company/"
    assert len(session_policy(largest_grants(uri, "x" * 63), uri[5:-1], "")) <= MAX_POLICY_CHARACTERS
    with pytest.raises(ValueError, match="use a shorter bucket name, folder in it, or tenant name"):
        session_policy(largest_grants(uri, "x" * 63), "b" * 63, "")


def test_a_root_that_a_policy_would_read_as_a_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be granted: choose one without"):
        session_policy(grants(), "bucket", "prod*/")
