"""How trainers get their rights in the object store, as the operator configures it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.operator_model import OperatorModel

ACKNOWLEDGEMENT = "every-trainer-can-read-and-write-every-tenant"
"""What an operator has to write who gives all trainers the same rights."""


def _acknowledged(words: str) -> str:
    if words != ACKNOWLEDGEMENT:
        raise ValueError(
            f"these credentials do not keep tenants apart; write `acknowledge: {ACKNOWLEDGEMENT}` if that is meant, "
            "else use kind assume-role"
        )
    return words


Acknowledged = Annotated[str, Field(validate_default=True), AfterValidator(_acknowledged)]


class AssumedRole(OperatorModel):
    """Each launch gets a session of its own (STS AssumeRole) that reaches only what it needs: `service.trainer_grants`."""

    kind: Literal["assume-role"] = "assume-role"
    role_arn: str = Field(
        pattern=r"^arn:[a-z-]+:iam::[^:]*:role/.+$",
        description="role that trainers' sessions are of; the service must be allowed to assume it",
    )
    lifetime: timedelta = Field(
        timedelta(hours=1),
        ge=timedelta(seconds=10),
        le=timedelta(hours=12),
        description="lifetime of a session; AWS takes 15 minutes at least, and 1 hour at most if the service runs as a role",
    )


class WorkloadIdentity(OperatorModel):
    """Trainers' pods have the cloud role of their service account (`trainers.service_account_name`); Loramill issues nothing."""

    kind: Literal["workload-identity"]
    acknowledge: Acknowledged = Field("", description=f"must be {ACKNOWLEDGEMENT}")


class StaticKey(OperatorModel):
    """All trainers share one key pair: for stores without session policies."""

    kind: Literal["static"]
    key_file: Path = Field(
        description="JSON file with Version 1, AccessKeyId and SecretAccessKey, as AWS's credential_process prints it"
    )
    acknowledge: Acknowledged = Field("", description=f"must be {ACKNOWLEDGEMENT}")


TrainerCredentialSettings = Annotated[AssumedRole | WorkloadIdentity | StaticKey, Field(discriminator="kind")]
