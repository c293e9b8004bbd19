"""The syntax of Kubernetes' names, labels and quantities, as types of the operator's configuration. Pure.

Source: the pages "Object Names and IDs", "Labels and Selectors" and "Resource Management" of Kubernetes' documentation, and
`k8s.io/apimachinery/pkg/util/validation`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator

_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(_NAME)
_DNS_SUBDOMAIN = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_LABEL_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_CPU = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?|[0-9]{1,9}m")
_BYTES = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[kMGTP]|[KMGTP]i|)")
_UNITS: dict[str, int] = {
    "": 1,
    **{letter: 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGTP", 1)},
}


def is_dns_label(text: str) -> bool:
    """RFC 1123: at most 63 lower-case letters, digits and '-', first and last a letter or digit."""
    return _DNS_LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """DNS labels with '.' between them, at most 253 characters."""
    return len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """`name` or `prefix/name`, the prefix a DNS subdomain."""
    prefix, slash, name = text.rpartition("/")
    return _LABEL_PART.fullmatch(name) is not None and (not slash or is_dns_subdomain(prefix))


def is_label_value(text: str) -> bool:
    return text == "" or _LABEL_PART.fullmatch(text) is not None


def cpus_of(quantity: str) -> Decimal:
    """`1500m` → 1.5 CPUs. The quantity must be valid."""
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


def bytes_of(quantity: str) -> int:
    """`2Gi` → 2147483648 bytes. The quantity must be valid."""
    match = _BYTES.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no quantity of bytes")
    return int(match["number"]) * _UNITS[match["unit"]]


def _dns_label(text: str) -> str:
    if not is_dns_label(text):
        raise ValueError("must be 1 to 63 lower-case letters, digits and '-', first and last a letter or digit")
    return text


def _dns_subdomain(text: str) -> str:
    if not is_dns_subdomain(text):
        raise ValueError(
            "must be at most 253 lower-case letters, digits, '-' and '.', first and last of each part a letter or digit"
        )
    return text


def _label_key(text: str) -> str:
    if not is_label_key(text):
        raise ValueError("must be a label's key, such as topology.kubernetes.io/zone")
    return text


def _label_value(text: str) -> str:
    if not is_label_value(text):
        raise ValueError("must be at most 63 letters, digits, '-', '_' and '.', first and last a letter or digit")
    return text


def _cpu(text: str) -> str:
    if _CPU.fullmatch(text) is None or not cpus_of(text):
        raise ValueError("must be CPUs above 0, such as 4, 0.5 or 500m")
    return text


def _byte_quantity(text: str) -> str:
    if _BYTES.fullmatch(text) is None or not bytes_of(text):
        raise ValueError("must be bytes above 0 in a whole number with unit, such as 16Gi or 500M")
    return text


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
DnsSubdomain = Annotated[str, AfterValidator(_dns_subdomain)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
CpuQuantity = Annotated[str, AfterValidator(_cpu)]
ByteQuantity = Annotated[str, AfterValidator(_byte_quantity)]
