"""Names, labels and annotations of what Loramill creates on a cluster: built here, parsed here, nowhere else.

They carry ids and digests only, never a user's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.keys import is_job_id, is_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINER = "trainer"
"""Name of the one container of a trainer's pod."""
IMPORTER = "importer"
"""Name of the one container of an import's pod."""

NAME_LABEL = "app.kubernetes.io/name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
TENANT_LABEL = "loramill.dev/tenant"
JOB_LABEL = "loramill.dev/job"
LAUNCH_LABEL = "loramill.dev/launch"
IMPORTED_BASE_LABEL = "loramill.dev/base"
"""A digest of the base model's id."""
IMPORT_LABEL = "loramill.dev/import"
KUEUE_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
KUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
ASSIGNMENT_ANNOTATION = "loramill.dev/assignment-sha256"
EXPIRE_ANNOTATION = "loramill.dev/credentials-expire"
"""Of a launch's Secret: when its credentials expire, as in RFC 3339; not there where they never do."""

OURS = {NAME_LABEL: "loramill-trainer", MANAGED_BY_LABEL: "loramill"}
"""On every object that belongs to a launch."""

SELECTOR = ",".join(f"{key}={value}" for key, value in OURS.items())
"""The label selector of all of them."""

_LAUNCH = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, order=True)
class LaunchId:
    """What names a launch everywhere."""

    tenant: str
    job: str
    number: int

    def __post_init__(self) -> None:
        if not (is_tenant(self.tenant) and is_job_id(self.job) and _LAUNCH.fullmatch(str(self.number))):
            raise ValueError(f"{self.tenant!r}, {self.job!r}, {self.number!r} do not name a launch")

    @property
    def name(self) -> str:
        """Of its Job and its Secret."""
        return f"loramill-{self.job}-{self.number}"

    @property
    def labels(self) -> dict[str, str]:
        """Of its Job, its pod and its Secret."""
        return {**OURS, TENANT_LABEL: self.tenant, JOB_LABEL: self.job, LAUNCH_LABEL: str(self.number)}


def launch_of_labels(labels: Mapping[str, str]) -> LaunchId | None:
    """The launch that an object with these labels belongs to; None if they are not ours, or not as we write them."""
    if any(labels.get(key) != value for key, value in OURS.items()):
        return None
    number = labels.get(LAUNCH_LABEL, "")
    if not _LAUNCH.fullmatch(number):
        return None
    try:
        return LaunchId(labels.get(TENANT_LABEL, ""), labels.get(JOB_LABEL, ""), int(number))
    except ValueError:
        return None
