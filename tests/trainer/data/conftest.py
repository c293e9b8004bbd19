from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainer.data.images import Decoder


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    """One decoder for all tests that leave it alive: starting a child takes a fifth of a second."""
    with Decoder() as decoder:
        yield decoder
