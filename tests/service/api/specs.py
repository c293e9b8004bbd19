"""Specs for tests, changed field by field, and what is said of them."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from loramill import v1
from service.validation import violations

BASE = v1.BaseModel(name="baseModels/shapes", family="sd15", resolution=64, prediction_type="epsilon")
DATASET = v1.Dataset(name="datasets/0000000000000000", state=v1.DATASET_STATE_FINALIZED, digest="d")


def valid() -> v1.TrainingSpec:
    spec = v1.TrainingSpec(base_model=BASE.name)
    spec.dataset.dataset = DATASET.name
    spec.concept.activation_tag = "zyx"
    return spec


def put(message: Message, path: str, value: Any) -> None:
    """Sets a field by its path, such as `previews.prompts[0].seed`; missing entries are added."""
    *parents, last = path.replace("[0]", ".0").split(".")
    target: Any = message
    for part in parents:
        if part == "0":
            if not target:
                target.add()
            target = target[0]
        else:
            target = getattr(target, part)
    if isinstance(value, list):
        getattr(target, last).extend(value)
    else:
        setattr(target, last, value)


def found(spec: v1.TrainingSpec, initial: v1.Adapter | None = None) -> dict[str, str]:
    """Reason by field, without the leading `spec.`."""
    seen = violations(spec, BASE, DATASET, initial)
    assert len({violation.field for violation in seen}) == len(seen), "a field is named twice"
    return {violation.field.removeprefix("spec."): violation.reason for violation in seen}


def spec_of(**fields: Any) -> v1.TrainingSpec:
    """A valid spec with fields changed; `__` stands for `.`, and None clears."""
    spec = valid()
    for path, value in fields.items():
        put(spec, path.replace("__", "."), value)
    return spec


def without_sources(spec: v1.TrainingSpec) -> v1.TrainingSpec:
    """A resolved spec without what it says of where its values came from."""
    copy = v1.TrainingSpec()
    copy.CopyFrom(spec)
    del copy.sources[:]
    return copy


def unset(message: Message) -> set[str]:
    """Optional fields and choices, at any depth, that are not set."""
    names = set()
    for field in message.DESCRIPTOR.fields:
        name = f"{message.DESCRIPTOR.name}.{field.name}"
        if field.is_repeated:
            if field.message_type is not None:
                for entry in getattr(message, field.name):
                    names |= unset(entry)
        elif field.message_type is not None and field.message_type.file.package == "loramill.v1":
            names |= unset(getattr(message, field.name))
        elif field.enum_type is not None:
            if not getattr(message, field.name):
                names.add(name)
        elif field.has_presence and not message.HasField(field.name):
            names.add(name)
    return names
