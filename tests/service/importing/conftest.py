"""What the tests of imports share."""

from __future__ import annotations

import pytest
from huggingface_hub import constants


@pytest.fixture(autouse=True)
def _not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers forbid themselves every hub, and one may have run in this process before."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
