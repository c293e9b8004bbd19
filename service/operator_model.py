"""What all models of the operator's configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class OperatorModel(BaseModel):
    """Frozen, and closed: a field that is not known is a fault. Numbers may stand where text is meant (`cpu: 4`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
