"""What a trainer may do in the object store: the one table, and the session policy that it becomes. Pure.

| below                                      | read, list | write | delete | why                                          |
|--------------------------------------------|------------|-------|--------|----------------------------------------------|
| `<tenant>/jobs/<job>/`                     | yes        |       |        | control records; checkpoints of earlier runs |
| `<tenant>/jobs/<job>/runs/<n>/`            | yes        | yes   | yes    | its own run; a half-written file gives way   |
| `<tenant>/jobs/<job>/line/`                | yes        | yes   |        | what runs open for all runs of the job       |
| `<tenant>/datasets/<dataset>/`             | yes        |       |        | what it trains on                            |
| `_shared/bases/<base>/files/`              | yes        |       |        | what it trains                               |
| folder of the adapter that it goes on from | yes        |       |        | where there is one                           |
| `<tenant>/caches/`                         | yes        | yes   | yes    | content-addressed; a damaged entry is dropped |

Nothing else, and nothing of any other kind: no rights on the bucket, no access lists, no tags, no versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from loramill import v1
from service.keys import BaseKeys, TenantKeys, base_name, base_of_name, dataset_name, dataset_of_name
from store.key_rules import check_key
from store.uris import encoded

MAX_POLICY_CHARACTERS = 2048
"""What AssumeRole takes as an inline session policy (AWS STS API reference, `Policy`)."""

_PATTERN_SIGNS = re.compile(r"[*?$]")
"""Signs that mean something else in a policy than themselves."""

_WRITING = ["s3:PutObject", "s3:AbortMultipartUpload"]


@dataclass(frozen=True)
class Grants:
    """Prefixes of keys. Each ends with `/`, so that `tenant-a/` never reaches `tenant-ab/`."""

    read: tuple[str, ...]
    """Objects below may be read, and listed."""
    write: tuple[str, ...]
    """Objects below may be created and replaced."""
    change: tuple[str, ...]
    """Objects below may be created, replaced and deleted."""

    def __post_init__(self) -> None:
        for prefix in (*self.read, *self.write, *self.change):
            check_key(prefix.removesuffix("/"))
            if not prefix.endswith("/") or _PATTERN_SIGNS.search(prefix):
                raise ValueError(f"{prefix!r} cannot be granted: expected a folder of keys without '*', '?' and '$'.")


def grants_of(store_uri: str, tenant: str, job: str, number: int, assignment: v1.Assignment) -> Grants:
    """What launch `number` of the job may do; `store_uri` is the root that the assignment's addresses begin with.

    The tenant is the launch's own: an assignment that names another tenant's adapter raises ValueError.
    """
    keys = TenantKeys(tenant)
    job_keys, spec = keys.job(job), assignment.spec
    base, dataset = base_of_name(spec.base_model), dataset_of_name(spec.dataset.dataset)
    if base is None or dataset is None:
        raise ValueError(
            f"The assignment names {spec.base_model!r} and {spec.dataset.dataset!r}: no resource names; it is damaged."
        )
    own = job_keys.run(number).root
    read = [job_keys.root, keys.dataset(dataset).root, BaseKeys(base).files, keys.caches]
    if assignment.initial_adapter_uri:
        read.append(_adapter_folder(store_uri, keys, assignment.initial_adapter_uri))
    return Grants(read=tuple(read), write=(job_keys.line,), change=(own, keys.caches))


def largest_grants(store_uri: str, tenant: str) -> Grants:
    """What a launch of the tenant needs at most, with the longest names there can be of all else."""
    an_id, number = "0" * 16, 9999
    adapter = TenantKeys(tenant).job(an_id).run(number).adapters_prefix
    assignment = v1.Assignment(initial_adapter_uri=f"{store_uri}{adapter}{'0' * 7}/adapter.safetensors")
    assignment.spec.base_model, assignment.spec.dataset.dataset = base_name("x" * 63), dataset_name(an_id)
    return grants_of(store_uri, tenant, an_id, number, assignment)


def _adapter_folder(store_uri: str, keys: TenantKeys, uri: str) -> str:
    """The folder that the file of that address lies in, as a prefix of keys. Ids alone stand in it, so nothing is encoded."""
    folder = uri.rpartition("/")[0].removeprefix(store_uri) + "/"
    if not uri.startswith(store_uri + encoded(keys.root)):
        raise ValueError(f"The adapter to go on from, {uri}, is not one of tenant {keys.tenant!r}; it is not granted.")
    return folder


def session_policy(grants: Grants, bucket: str, root: str, partition: str = "aws") -> str:
    """The grants as an inline session policy, in compact JSON (Ceph RGW 16 refuses any other).

    Keys lie below `root` in the bucket (empty, or with `/` at its end). Raises ValueError if it is longer than STS takes,
    or if `root` has signs that a policy would read as a pattern.
    """
    if _PATTERN_SIGNS.search(root):
        raise ValueError(f"Folder {root!r} of the bucket cannot be granted: choose one without '*', '?' and '$'.")
    bucket_name = f"arn:{partition}:s3:::{bucket}"

    def allow(actions: list[str], prefixes: Iterable[str]) -> dict[str, object]:
        resources = [f"{bucket_name}/{root}{prefix}*" for prefix in prefixes]
        return {"Effect": "Allow", "Action": actions, "Resource": resources}

    policy = {
        "Version": "2012-10-17",
        "Statement": [
            allow(["s3:GetObject"], grants.read),
            allow(_WRITING, grants.write),
            allow([*_WRITING, "s3:DeleteObject"], grants.change),
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [bucket_name],
                "Condition": {"StringLike": {"s3:prefix": [f"{root}{prefix}*" for prefix in grants.read]}},
            },
        ],
    }
    text = json.dumps(policy, separators=(",", ":"))
    if len(text) > MAX_POLICY_CHARACTERS:
        raise ValueError(
            f"The session policy of a trainer has {len(text)} characters, {MAX_POLICY_CHARACTERS} are allowed: "
            "use a shorter bucket name, folder in it, or tenant name."
        )
    return text
