"""Which tests run, and in which order: those in `cluster` need a cluster, and `make test-cluster` says where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

collect_ignore = [] if "LORAMILL_CLUSTER" in os.environ else ["cluster"]

_LONGEST_FIRST = ("end_to_end", "trainer", "interop", "chart")
"""Folders whose files take longest: begun first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return _LONGEST_FIRST.index(folder) if folder in _LONGEST_FIRST else len(_LONGEST_FIRST)
