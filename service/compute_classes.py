"""The kinds of machine that the operator offers to jobs: compute classes, as the configuration describes them.

A class is a closed form: what it can say about pods is listed here, and nothing else of a pod can be set.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from service.kubernetes_syntax import (
    ByteQuantity,
    CpuQuantity,
    DnsLabel,
    DnsSubdomain,
    LabelKey,
    LabelValue,
    bytes_of,
)
from service.operator_model import OperatorModel

LOCAL = "local"
"""What local mode calls its one machine, in the place of a compute class."""

GRACE_SECONDS = 30
SPOT_GRACE_SECONDS = 25
"""The longest that pods get on the spot nodes of GKE Autopilot."""

LONGEST_GRACE_SECONDS = 110
"""A spot node of EC2 is gone two minutes after the notice."""

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]


class NodeRequirement(OperatorModel):
    """What a label of the node must be like."""

    key: LabelKey = Field(description="the label's key")
    operator: Operator = Field("In", description="how the label is compared with the values")
    values: tuple[LabelValue, ...] = Field(
        (),
        description="values; one whole number for Gt and Lt; none for Exists and DoesNotExist",
        validate_default=True,
    )

    @field_validator("values")
    @classmethod
    def _as_the_operator_takes_them(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        operator = info.data.get("operator")
        if operator in ("In", "NotIn") and not values:
            raise ValueError(f"must be one value or more with operator {operator}")
        if operator in ("Exists", "DoesNotExist") and values:
            raise ValueError(f"must be left out with operator {operator}")
        if operator in ("Gt", "Lt") and not (len(values) == 1 and _WHOLE_NUMBER.fullmatch(values[0])):
            raise ValueError(f"must be one whole number with operator {operator}")
        return values


class Toleration(OperatorModel):
    """A taint that does not keep the class's pods away."""

    key: LabelKey = Field(description="the taint's key")
    operator: Literal["Equal", "Exists"] = Field("Exists", description="whether the taint's value matters")
    value: LabelValue = Field("", description="the taint's value, with Equal", validate_default=True)
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="the taint's effect; empty means every one"
    )

    @field_validator("value")
    @classmethod
    def _only_with_equal(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("operator") == "Exists":
            raise ValueError("must be left out with operator Exists")
        return value


class ComputeClass(OperatorModel):
    """A kind of machine, and what one launch gets of it."""

    name: DnsLabel = Field(description="as specs name it")
    description: str = Field("", max_length=500, description="for people")
    gpus: int = Field(ge=0, le=16, description="GPUs of one launch; 0 trains on CPUs")
    gpu_resource: LabelKey = Field("nvidia.com/gpu", description="name of the GPUs' extended resource")
    gpu_memory_gib: int = Field(0, ge=0, le=1024, description="memory of each GPU in GiB; 0 where it is not known")
    cpu: CpuQuantity = Field(description="CPUs, requested and at most")
    memory: ByteQuantity = Field(description="memory, requested and at most")
    ephemeral_storage: ByteQuantity = Field("20Gi", description="disk for downloads and scratch, requested and at most")
    shm: ByteQuantity = Field(
        "64Mi", description="size of /dev/shm, which is part of the memory", validate_default=True
    )
    node_selector: dict[LabelKey, LabelValue] = Field({}, description="labels of the nodes")
    node_affinity: tuple[NodeRequirement, ...] = Field((), description="what else nodes must be like, all of it")
    tolerations: tuple[Toleration, ...] = Field((), description="taints that do not keep pods away")
    spot: bool = Field(False, description="whether its nodes may be taken away at any time")
    priority_class_name: DnsSubdomain | None = Field(None, description="PriorityClass of the pods")
    runtime_class_name: DnsSubdomain | None = Field(None, description="RuntimeClass of the pods")
    termination_grace_seconds: int | None = Field(
        None, ge=1, le=LONGEST_GRACE_SECONDS, description="between SIGTERM and SIGKILL; 30, or 25 for spot, if unset"
    )
    price_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="what an hour of one launch costs"
    )
    queue_name: DnsLabel | None = Field(
        None, description="Kueue's LocalQueue for this class, instead of the general one"
    )

    @field_validator("gpu_resource")
    @classmethod
    def _extended(cls, name: str) -> str:
        if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
            raise ValueError("must be an extended resource with its vendor's domain, such as nvidia.com/gpu")
        return name

    @field_validator("gpu_memory_gib")
    @classmethod
    def _only_of_gpus(cls, gib: int, info: ValidationInfo) -> int:
        if gib and info.data.get("gpus") == 0:
            raise ValueError("must be left out where gpus is 0")
        return gib

    @field_validator("shm")
    @classmethod
    def _within_memory(cls, shm: str, info: ValidationInfo) -> str:
        memory = info.data.get("memory")
        if memory and bytes_of(shm) > bytes_of(memory):
            raise ValueError(f"must be at most the memory, {memory}, because it is part of it")
        return shm

    @property
    def grace_seconds(self) -> int:
        """Seconds between SIGTERM and SIGKILL."""
        if self.termination_grace_seconds is not None:
            return self.termination_grace_seconds
        return SPOT_GRACE_SECONDS if self.spot else GRACE_SECONDS

    @property
    def price(self) -> float:
        """Per hour; infinite where the operator did not say, so that what has a price comes first."""
        return float("inf") if self.price_per_hour is None else self.price_per_hour


def _each_with_its_own_name(classes: tuple[ComputeClass, ...]) -> tuple[ComputeClass, ...]:
    doubled = [name for name, count in Counter(offered.name for offered in classes).items() if count > 1]
    if doubled:
        raise ValueError(f"each class must have a name of its own, but {', '.join(doubled)} stands more than once")
    return classes


OfferedClasses = Annotated[tuple[ComputeClass, ...], AfterValidator(_each_with_its_own_name)]
Currency = Annotated[str, Field(max_length=16, description="of the prices, such as USD; for people")]


class ComputeClasses(OperatorModel):
    """All classes of an installation."""

    classes: OfferedClasses = Field(min_length=1, description="the compute classes")
    currency: Currency = ""

    @property
    def cheapest_first(self) -> tuple[ComputeClass, ...]:
        """By price, then name; those without a price last."""
        return tuple(sorted(self.classes, key=lambda offered: (offered.price, offered.name)))

    @property
    def names(self) -> tuple[str, ...]:
        """What specs may name, cheapest first."""
        return tuple(offered.name for offered in self.cheapest_first) or (LOCAL,)

    def find(self, name: str) -> ComputeClass | None:
        return next((offered for offered in self.classes if offered.name == name), None)


LOCAL_MODE = ComputeClasses.model_construct(classes=(), currency="")
"""No classes, as no operator can have it: this machine alone trains."""
