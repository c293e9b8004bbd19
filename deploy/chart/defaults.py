"""The values' model → values.yaml: every value with its default, below its description. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deploy.chart.values import Values
from service.configuration import Configuration

_HEADER = """\
# Values of the chart loramill. Written by `python -m deploy.chart` from deploy/chart/values.py, as is docs/helm-values.md.
# What has no default stands here as a comment; `operator` is the operator's file (docs/kubernetes.md).
"""
_WIDTH = 116


def values_yaml() -> str:
    return _HEADER + "\n" + "\n".join(_lines(Values, "")) + "\n"


def _lines(model: type[BaseModel], indent: str) -> Iterator[str]:
    for place, (name, field) in enumerate(model.model_fields.items()):
        if place and not indent:
            yield ""
        yield from _field(field.alias or name, field, indent)


def _field(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    part = field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) else None
    text = field.description or (_first_line(part) if part else "")
    for line in textwrap.wrap(text, _WIDTH - len(indent)):
        yield f"{indent}# {line}"
    if part is Configuration:
        yield f"{indent}# operator:"
        yield from (f"{indent}#   {line}" for line in _OPERATOR)
    elif part is not None and (field.is_required() or not _is_scalar(field)):
        yield f"{indent}{name}:"
        yield from _lines(_with_defaults(part, field), indent + "  ")
    elif field.is_required():
        yield f"{indent}# {name}:"
    elif field.default is None:
        yield f"{indent}# {name}: null"
    else:
        yield from (indent + line for line in _dumped(name, field.default).splitlines())


_OPERATOR = (
    "store: s3://bucket/",
    "trainer_credentials: {kind: assume-role, role_arn: …}",
    "compute: {classes: [{name: l4, gpus: 1, gpu_memory_gib: 24, cpu: 4, memory: 16Gi}]}",
    "authentication: {service_accounts: {audience: loramill}}",
    "tenants: [{tenant: art, role: editor, service_account: art-team/pipeline}]",
)


def _is_scalar(field: FieldInfo) -> bool:
    return not isinstance(field.default, BaseModel)


def _with_defaults(part: type[BaseModel], field: FieldInfo) -> type[BaseModel]:
    """The part, with the defaults that this place gives it instead of its own."""
    if not isinstance(field.default, BaseModel):
        return part
    given = field.default
    fields: dict[str, Any] = {}
    for name, own in part.model_fields.items():
        info = FieldInfo.merge_field_infos(own, default=getattr(given, name))
        info.annotation = own.annotation
        fields[name] = info
    # Only its fields are looked at.
    return type(part.__name__, (), {"model_fields": fields, "__doc__": part.__doc__})


def _first_line(part: type[BaseModel]) -> str:
    return (part.__doc__ or "").strip().splitlines()[0]


def _dumped(name: str, value: object) -> str:
    plain = _plain(value)
    text: str = yaml.safe_dump({name: plain}, sort_keys=False, width=_WIDTH, default_flow_style=False)
    return text


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value
