"""The operator's file: how a service on a cluster works. Read once, with everything that is wrong with it said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from service.auth.settings import Authentication, Grant, Tls
from service.compute_classes import ComputeClasses
from service.credential_settings import TrainerCredentialSettings
from service.direct_transfers import DirectTransferSettings
from service.import_job_settings import ImportJobSettings
from service.lifecycle_check import LifecyclePolicy
from service.operator_model import OperatorModel
from service.pod_settings import PodSettings
from service.retention import Retention
from service.settings import Unusable

_LARGEST = 1 << 20

_REMEDIES = {
    "extra_forbidden": "there is no such setting; remove it, or correct its name",
    "missing": "it must be set",
}
"""By pydantic's name of a fault, where its own words do not say what to do."""


class Configuration(OperatorModel):
    """One field for each part of the file; the parts' own models tell what they hold."""

    store: str = Field(pattern=r"^s3://[^/]+/?", description="the object store, s3://bucket/prefix/")
    jobs_at_once: Annotated[int, Field(ge=1, le=100_000)] = Field(
        100, description="jobs under way at once, of all tenants"
    )
    trainers: PodSettings
    trainer_credentials: TrainerCredentialSettings
    compute: ComputeClasses = Field(description="where jobs run")
    tenants: tuple[Grant, ...] = Field(min_length=1, description="who belongs to which tenant, and what they may do")
    authentication: Authentication = Authentication()
    tls: Tls | None = None
    imports: ImportJobSettings | None = Field(
        None, description="how base models are imported from elsewhere; not if unset"
    )
    direct_transfers: DirectTransferSettings = DirectTransferSettings()
    retention: Retention = Retention()
    lifecycle_rules: LifecyclePolicy = Field(
        "refuse",
        description="what follows from rules of the bucket that remove or archive records: refuse to start, or warn",
    )

    @model_validator(mode="after")
    def _credentials_reach_pods(self) -> Self:
        kind = self.trainer_credentials.kind
        if self.trainers.mount_credentials != (kind != "workload-identity"):
            raise ValueError(
                "trainers.mount_credentials must be false where trainer_credentials.kind is workload-identity, else true; "
                f"it is {str(self.trainers.mount_credentials).lower()} and {kind}"
            )
        return self


def read_configuration(path: Path) -> Configuration:
    """Raises Unusable with every fault of the file."""
    try:
        content = path.read_bytes()[:_LARGEST]
        return Configuration.model_validate(yaml.safe_load(content) or {})
    except OSError as error:
        raise Unusable(
            f"The operator's file {path} cannot be read: {error.strerror}; name another with --config."
        ) from error
    except yaml.YAMLError as error:
        place = " ".join(str(error).split())
        raise Unusable(f"The operator's file {path} is no YAML: {place}; correct it there.") from error
    except ValidationError as error:
        faults = "; ".join(map(_sentence, _faults(error)))
        raise Unusable(f"The operator's file {path} cannot be used: {faults}.") from error


def _faults(error: ValidationError) -> list[ErrorDetails]:
    """All faults, but for lists that only seem too short because what stands in them is faulty."""
    faults = error.errors()

    def seems(fault: ErrorDetails) -> bool:
        place = fault["loc"]
        below = (other["loc"] for other in faults if other["loc"] != place)
        return fault["type"] == "too_short" and any(other[: len(place)] == place for other in below)

    return [fault for fault in faults if not seems(fault)]


def _sentence(fault: ErrorDetails) -> str:
    """`compute.classes[2].gpus is -1: must be greater than or equal to 0`; only plain values are shown."""
    value = fault["input"]
    shown = f" is {value!r}" if isinstance(value, str | int | float) else ""
    problem = _REMEDIES.get(fault["type"], fault["msg"].removeprefix("Value error, ").replace("Input should", "must"))
    return f"{_place(fault['loc'])}{shown}: {problem}"


def _place(parts: tuple[int | str, ...]) -> str:
    """`compute.classes[2].gpus`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the file"
