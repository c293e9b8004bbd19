"""A bucket's lifecycle configuration → the rules that would take records away. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from store.lifecycle import LifecycleRule

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef

_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be brought back before they can be read, for hours."""


def rules_that_take_away(rules: Sequence[LifecycleRuleOutputTypeDef], root: str) -> list[LifecycleRule]:
    """Of the enabled ones those that reach keys below `root`, which is empty for the whole bucket or ends with `/`.

    Rules about noncurrent versions, delete markers and unfinished uploads take no record away; those that ask for a tag reach
    nothing, because no object of ours has one.
    """
    found = []
    for place, rule in enumerate(rules, 1):
        prefix = _reached(rule, root)
        if prefix is None or rule.get("Status") != "Enabled":
            continue
        deeds = list(_deeds(rule))
        if deeds:
            found.append(LifecycleRule(rule.get("ID") or f"number {place}", prefix, " and ".join(deeds)))
    return found


def _reached(rule: LifecycleRuleOutputTypeDef, root: str) -> str | None:
    """The prefix below `root` of what the rule is about; None where that is nothing."""
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    if "Tag" in chosen or both.get("Tags"):
        return None
    prefix = chosen.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or ""
    if prefix.startswith(root):
        return prefix.removeprefix(root)
    return "" if root.startswith(prefix) else None


def _deeds(rule: LifecycleRuleOutputTypeDef) -> Iterator[str]:
    expiration = rule.get("Expiration", {})
    if "Days" in expiration:
        yield f"removes objects after {expiration['Days']} days"
    elif "Date" in expiration:
        yield f"removes objects on {expiration['Date']:%Y-%m-%d}"
    for transition in rule.get("Transitions", ()):
        storage = transition.get("StorageClass", "")
        if storage in _ARCHIVES:
            yield f"moves objects to {storage}, where they cannot be read"
